"""RFC 5321 over any ordered byte stream, without IO: the public names of both sides."""

from rudp_smtp.smtp.client import Client
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import (
    ClientEvent,
    DeliveryReport,
    MailReceived,
    Outcome,
    ServerEvent,
    SessionEnded,
    SessionReady,
)
from rudp_smtp.smtp.replies import Reply
from rudp_smtp.smtp.server import Limits, RecipientPolicy, Server, StrayOctets

__all__ = [
    "Client",
    "ClientEvent",
    "DeliveryReport",
    "Envelope",
    "Limits",
    "MailReceived",
    "Outcome",
    "RecipientPolicy",
    "Reply",
    "Server",
    "ServerEvent",
    "SessionEnded",
    "SessionReady",
    "StrayOctets",
]
