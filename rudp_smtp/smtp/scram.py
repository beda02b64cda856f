"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides as small machines. RFC 5802, RFC 7677.

Neither side ever shows the password, and each proves to the other that it knows it. With -PLUS the proof holds for one
TLS channel only, so nobody can sit between.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from enum import Enum, auto

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp.credentials import (
    ITERATIONS,
    SALT_OCTETS,
    Credentials,
    Entropy,
    ScramKeys,
    derive_keys,
    saslprep,
)
from rudp_smtp.smtp.sasl import Challenge, ClientStep, Denied, Granted, Refused, Response, ServerStep

Binding = Callable[[str], bytes | None]  # the kind of channel binding -> what it is here

NONCE_OCTETS = 18
ITERATIONS_MAX = 1_000_000  # what a client lets a server ask of it

_CLIENT_FIRST = re.compile(r"(n|y|p=([A-Za-z0-9.-]+)),(?:a=([^,]+))?,(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+))(?:,.*)?")
_SERVER_FIRST = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,8})(?:,.*)?")
_CLIENT_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[^,]*)*?),p=([A-Za-z0-9+/=]+)")
_SAFE_NAME = re.compile(r"(?:[^=,]|=2C|=3D)+")


class _Stage(Enum):
    FIRST = auto()
    FINAL = auto()
    CONFIRMED = auto()


class ScramServer:
    """One exchange at the server. A name that nobody has is told apart by nothing but its failure at the end."""

    def __init__(
        self,
        credentials: Credentials,
        entropy: Entropy,
        binding: Binding,
        decoy_key: bytes,
        *,
        is_bound: bool,
        is_plus_offered: bool,
    ) -> None:
        self._credentials = credentials
        self._entropy = entropy
        self._binding = binding
        self._decoy_key = decoy_key
        self._is_bound = is_bound
        self._is_plus_offered = is_plus_offered
        self._stage = _Stage.FIRST
        self._name = ""
        self._keys: ScramKeys | None = None
        self._nonce = ""
        self._header = b""
        self._said = ""  # client-first-message-bare "," server-first-message

    def respond(self, response: bytes | None) -> ServerStep:
        if response is None:
            return Challenge(b"")
        try:
            text = response.decode("utf-8")
        except UnicodeDecodeError:
            return Denied("not UTF-8")
        match self._stage:
            case _Stage.FIRST:
                return self._on_first(text)
            case _Stage.FINAL:
                return self._on_final(text)
            case _Stage.CONFIRMED:
                return Denied("nothing is left to be said") if text else Granted(self._name)

    def _on_first(self, text: str) -> ServerStep:
        fields = _CLIENT_FIRST.fullmatch(text)
        if fields is None or _SAFE_NAME.fullmatch(fields[5]) is None:
            return Denied("malformed client-first-message")
        flag, kind, identity, bare, name, nonce = fields.groups()
        if (kind is not None) != self._is_bound or (flag == "y" and self._is_plus_offered):
            # RFC 5802 section 6: "y" to a server that offers -PLUS means that somebody took the offer out.
            return Denied("channel binding does not agree with the mechanism")
        bound = self._binding(kind) if kind is not None else b""
        if bound is None:
            return Denied(f"channel binding {kind} is not to be had here")
        try:
            self._name = saslprep(_unescape(name))
        except LocalProtocolError:
            return Denied("malformed name")
        if identity is not None and _unescape(identity) != self._name:
            return Denied("acting for somebody else is not allowed")
        self._header = f"{flag},{f'a={identity}' if identity else ''},".encode() + bound
        stored = self._credentials.find(self._name)
        self._keys = stored.scram if stored is not None else None
        salt, iterations = (self._keys.salt, self._keys.iterations) if self._keys else (self._decoy_salt(), ITERATIONS)
        self._nonce = nonce + base64.b64encode(self._entropy(NONCE_OCTETS)).decode()
        first = f"r={self._nonce},s={base64.b64encode(salt).decode()},i={iterations}"
        self._said = f"{bare},{first}"
        # `bare` is without the extensions of RFC 5802 section 7, of which there are none: with one, no proof agrees.
        self._stage = _Stage.FINAL
        return Challenge(first.encode())

    def _decoy_salt(self) -> bytes:
        return hmac.digest(self._decoy_key, self._name.encode(), "sha256")[:SALT_OCTETS]

    def _on_final(self, text: str) -> ServerStep:
        fields = _CLIENT_FINAL.fullmatch(text)
        if fields is None:
            return Denied("malformed client-final-message")
        without_proof, header, nonce, proof = fields.groups()
        try:
            is_same_channel = hmac.compare_digest(base64.b64decode(header, validate=True), self._header)
            proven = base64.b64decode(proof, validate=True)
        except binascii.Error:
            return Denied("malformed base64")
        if not is_same_channel or nonce != self._nonce or self._keys is None:
            return Denied("the proof does not hold")
        said = f"{self._said},{without_proof}".encode()
        signature = hmac.digest(self._keys.stored_key, said, "sha256")
        key = _xor(proven, signature)
        if not hmac.compare_digest(hashlib.sha256(key).digest(), self._keys.stored_key):
            return Denied("the proof does not hold")
        self._stage = _Stage.CONFIRMED
        own = hmac.digest(self._keys.server_key, said, "sha256")
        return Challenge(b"v=" + base64.b64encode(own))


class ScramClient:
    """One exchange at the client. It is not content before the server has proven that it knows the password too."""

    def __init__(self, name: str, password: str, nonce: str, *, kind: str = "", bound: bytes = b"") -> None:
        """`kind` and `bound`: the channel binding of -PLUS; without it, nothing."""
        self._password = saslprep(password)
        self._nonce = nonce
        self._bare = f"n={_escape(saslprep(name))},r={nonce}"
        # "n", not "y": a client that could bind and is offered no -PLUS would say "y" (RFC 5802 section 6).
        self._flag = f"p={kind},," if kind else "n,,"
        self._bound = bound
        self._stage = _Stage.FIRST
        self._proof = b""  # of the server, that we expect

    def respond(self, challenge: bytes | None) -> ClientStep:
        match self._stage:
            case _Stage.FIRST:
                self._stage = _Stage.FINAL
                return Response(f"{self._flag}{self._bare}".encode())
            case _Stage.FINAL:
                return self._on_first(challenge or b"")
            case _Stage.CONFIRMED:
                if not hmac.compare_digest(challenge or b"", b"v=" + base64.b64encode(self._proof)):
                    return Refused("the server does not know the password")
                self._proof = b""
                return Response(b"")

    @property
    def is_satisfied(self) -> bool:
        return self._stage is _Stage.CONFIRMED and not self._proof

    def _on_first(self, challenge: bytes) -> ClientStep:
        text = challenge.decode("ascii", "replace")
        fields = _SERVER_FIRST.fullmatch(text)
        if fields is None or not fields[1].startswith(self._nonce) or fields[1] == self._nonce:
            return Refused("malformed server-first-message")
        iterations = int(fields[3])
        if not ITERATIONS <= iterations <= ITERATIONS_MAX:
            return Refused(f"{iterations} iterations are not between {ITERATIONS} and {ITERATIONS_MAX}")
        try:
            salt = base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            return Refused("malformed salt")
        client_key, server_key = derive_keys(self._password, salt, iterations)
        header = base64.b64encode(self._flag.encode() + self._bound).decode()
        without_proof = f"c={header},r={fields[1]}"
        said = f"{self._bare},{text},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
        proof = base64.b64encode(_xor(client_key, signature)).decode()
        self._proof = hmac.digest(server_key, said, "sha256")
        self._stage = _Stage.CONFIRMED
        return Response(f"{without_proof},p={proof}".encode())


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


def _escape(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")


def _unescape(name: str) -> str:
    return name.replace("=2C", ",").replace("=3D", "=")
