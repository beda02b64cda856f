"""What SASL machines say to whoever runs them (RFC 4422), and how a line of SMTP carries it (RFC 4954 section 4)."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Protocol

from rudp_smtp.errors import SmtpSyntaxError


@dataclass(frozen=True, slots=True)
class Challenge:
    octets: bytes


@dataclass(frozen=True, slots=True)
class Granted:
    """The client is who it says, by the name that `saslprep` made of it."""

    name: str


@dataclass(frozen=True, slots=True)
class Denied:
    """`reason` is for the operator: a client is told no more than that it failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Response:
    octets: bytes = field(repr=False)  # a password may be in them


@dataclass(frozen=True, slots=True)
class Refused:
    """The client breaks off."""

    reason: str


ServerStep = Challenge | Granted | Denied
ClientStep = Response | Refused


class ServerMechanism(Protocol):
    """One exchange, at the server."""

    def respond(self, response: bytes | None) -> ServerStep:
        """What follows on a response; None: the client sent none with AUTH."""


class ClientMechanism(Protocol):
    """One exchange, at the client."""

    def respond(self, challenge: bytes | None) -> ClientStep:
        """What follows on a challenge; None: what may be sent with AUTH."""

    @property
    def is_satisfied(self) -> bool:
        """The server may say that it is done: everything that it had to prove is proven."""


def encode_octets(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def encode_initial(octets: bytes) -> str:
    """RFC 4954 section 4: an initial response that is empty is "=", or it could not be told from none."""
    return encode_octets(octets) or "="


def decode_octets(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SmtpSyntaxError("malformed base64") from None
