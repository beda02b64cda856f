"""TLS without IO: an SSLObject between two memory buffers, the same for both sides. RFC 3207, RFC 8314, RFC 5929.

Nothing here opens a socket: octets come in, octets go out, and whoever moves them does so as if they were plain.
"""

import hashlib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

READ_OCTETS = 64 * 1024
BINDING_END_POINT = "tls-server-end-point"  # RFC 5929 section 4: a hash of the server's certificate
BINDING_UNIQUE = "tls-unique"  # RFC 5929 section 3; not defined for TLS 1.3

# RFC 5929 section 4.1: the hash is the certificate's signature's own, SHA-256 in the place of MD5 and SHA-1. A
# signature without exactly one (EdDSA, RSASSA-PSS by its parameters) leaves the binding undefined.
_SIGNATURE_HASHES = {
    "2a864886f70d010104": "sha256",  # md5WithRSAEncryption
    "2a864886f70d010105": "sha256",  # sha1WithRSAEncryption
    "2a864886f70d01010b": "sha256",
    "2a864886f70d01010c": "sha384",
    "2a864886f70d01010d": "sha512",
    "2a8648ce3d0401": "sha256",  # ecdsa-with-SHA1
    "2a8648ce3d040302": "sha256",
    "2a8648ce3d040303": "sha384",
    "2a8648ce3d040304": "sha512",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """How a server encrypts. `certificate`: its own, in DER, for SCRAM-SHA-256-PLUS; b"" if that is not offered."""

    context: ssl.SSLContext
    certificate: bytes = b""
    is_implicit: bool = False  # from the first octet, RFC 8314 section 3.3; or else by STARTTLS
    is_required: bool = (
        False  # no mail without: RFC 3207 section 4 forbids it to a server that the whole world sends to
    )


class TlsUse(Enum):
    """When a client encrypts."""

    IMPLICIT = auto()  # from the first octet
    REQUIRED = auto()  # by STARTTLS, or not at all
    OPPORTUNISTIC = auto()  # by STARTTLS where it is offered; whoever sits between can take the offer away


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How a client encrypts, and whom it expects to find: the context says what proves it."""

    context: ssl.SSLContext
    server_name: str
    use: TlsUse = TlsUse.REQUIRED

    @property
    def is_verifying(self) -> bool:
        return self.context.verify_mode is ssl.CERT_REQUIRED and self.context.check_hostname


class TlsChannel:
    """Owns one TLS connection: what is sent in, what comes out, and how it ended."""

    def __init__(self, tls: ServerTls | ClientTls) -> None:
        self.failure = ""  # why nothing can be read or sent any more
        self.is_established = False
        self.is_over = False  # the peer will send no more
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = bytearray()
        self._is_closed = False
        if isinstance(tls, ServerTls):
            self._certificate = tls.certificate
            self._tls = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        else:
            self._certificate = b""
            self._tls = tls.context.wrap_bio(self._incoming, self._outgoing, server_hostname=tls.server_name)
            self._shake_hands()

    def receive(self, data: bytes | memoryview) -> bytes:
        """What the peer said, of what the wire brought."""
        self._incoming.write(data)
        if not self.is_established:
            self._shake_hands()
        if not self.is_established or self.failure:
            return b""
        self._send_rest()
        return self._read()

    def send(self, data: bytes) -> None:
        self._unsent += data
        if self.is_established:
            self._send_rest()

    def close(self) -> None:
        """Say that no more will be sent (close_notify), so that the peer can tell the end from a cut."""
        if self.is_established and not self.failure and not self._is_closed:
            self._is_closed = True
            with suppress(ssl.SSLError):  # what the peer has to say to it, nobody waits for
                self._tls.unwrap()

    def octets_to_send(self) -> bytes:
        return self._outgoing.read()

    def binding(self, kind: str) -> bytes | None:
        """What ties an authentication to this very channel; None where it has no such thing."""
        if not self.is_established:
            return None
        if kind == BINDING_UNIQUE:
            return None if self._tls.version() == "TLSv1.3" else self._tls.get_channel_binding(BINDING_UNIQUE)
        if kind == BINDING_END_POINT:
            certificate = self._certificate if self._tls.server_side else self._tls.getpeercert(binary_form=True)
            return end_point_binding(certificate) if certificate else None
        return None

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            self._fail(error)
            return
        self.is_established = True
        self._send_rest()

    def _send_rest(self) -> None:
        while self._unsent and not self.failure:
            try:
                del self._unsent[: self._tls.write(self._unsent)]
            except ssl.SSLWantReadError:
                return  # TLS 1.2 negotiates anew
            except ssl.SSLError as error:
                self._fail(error)

    def _read(self) -> bytes:
        pieces = []
        while not self.is_over and not self.failure:
            try:
                piece = self._tls.read(READ_OCTETS)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                piece = b""
            except ssl.SSLError as error:
                self._fail(error)
                break
            self.is_over = not piece
            pieces.append(piece)
        return b"".join(pieces)

    def _fail(self, error: ssl.SSLError) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            self.failure = f"certificate verify failed: {error.verify_message}"
        else:
            self.failure = (error.reason or "TLS error").replace("_", " ").lower()


class Wire:
    """Octets to and from the peer: as they are, until TLS begins."""

    __slots__ = ("_plain", "channel")

    def __init__(self) -> None:
        self.channel: TlsChannel | None = None
        self._plain: list[bytes] = []

    @property
    def is_encrypted(self) -> bool:
        return self.channel is not None and self.channel.is_established

    def start_tls(self, tls: ServerTls | ClientTls) -> None:
        """Encrypt what is sent from now on; what was sent before leaves as it is."""
        self.channel = TlsChannel(tls)

    def receive(self, data: bytes | memoryview) -> bytes | memoryview:
        return data if self.channel is None else self.channel.receive(data)

    def send(self, data: bytes) -> None:
        if self.channel is None:
            self._plain.append(data)
        else:
            self.channel.send(data)

    def octets_to_send(self, *, is_last: bool = False) -> bytes:
        data = b"".join(self._plain)
        self._plain.clear()
        if self.channel is None:
            return data
        if is_last:
            self.channel.close()
        return data + self.channel.octets_to_send()


def end_point_binding(certificate: bytes) -> bytes | None:
    """The hash of a certificate (DER) that RFC 5929 section 4.1 asks for, None where it defines none."""
    try:
        body = _element(certificate, 0)
        signed = _element(certificate, body[0])
        algorithm = _element(certificate, signed[1])
        identifier = _element(certificate, algorithm[0])
    except IndexError:
        return None
    name = _SIGNATURE_HASHES.get(certificate[identifier[0] : identifier[1]].hex())
    return None if name is None else hashlib.new(name, certificate).digest()


def _element(der: bytes, position: int) -> tuple[int, int]:
    """Where the contents of the element at a position begin and end (X.690 section 8.1)."""
    length, start = der[position + 1], position + 2
    if length >= 0x80:
        octets = length & 0x7F
        length, start = int.from_bytes(der[start : start + octets], "big"), start + octets
    if start + length > len(der):
        raise IndexError(position)
    return start, start + length
