"""RFC 5321 over any ordered byte stream, without IO: the public names of both sides."""

from rudp_smtp.smtp.auth import Authentication, Login
from rudp_smtp.smtp.body import MailSource
from rudp_smtp.smtp.client import Client
from rudp_smtp.smtp.config import Extensions, Limits, StrayOctets
from rudp_smtp.smtp.credentials import Credentials, MemoryCredentials, StoredPassword, decode_password, store_password
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import (
    ClientEvent,
    DeliveryReport,
    MailAborted,
    MailData,
    MailReceived,
    MailStarted,
    Outcome,
    ServerEvent,
    SessionEnded,
    SessionReady,
)
from rudp_smtp.smtp.parameters import BodyType, Notify, RecipientDsn, Ret
from rudp_smtp.smtp.replies import Reply
from rudp_smtp.smtp.server import Server
from rudp_smtp.smtp.tls import ClientTls, ServerTls, TlsUse
from rudp_smtp.smtp.transaction import Peer, RecipientPolicy
from rudp_smtp.smtp.transcript import Said, Watch

__all__ = [
    "Authentication",
    "BodyType",
    "Client",
    "ClientEvent",
    "ClientTls",
    "Credentials",
    "DeliveryReport",
    "Envelope",
    "Extensions",
    "Limits",
    "Login",
    "MailAborted",
    "MailData",
    "MailReceived",
    "MailSource",
    "MailStarted",
    "MemoryCredentials",
    "Notify",
    "Outcome",
    "Peer",
    "RecipientDsn",
    "RecipientPolicy",
    "Reply",
    "Ret",
    "Said",
    "Server",
    "ServerEvent",
    "ServerTls",
    "SessionEnded",
    "SessionReady",
    "StoredPassword",
    "StrayOctets",
    "TlsUse",
    "Watch",
    "decode_password",
    "store_password",
]
