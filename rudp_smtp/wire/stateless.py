"""What a server says and reads without a connection: RETRY, VERSION_NEGOTIATION, and the head of an INITIAL packet.

RFC 9000 s8.1.2 and s17.2.5, s6 and s17.2.1; RFC 8999 for what every version must share: here the first octet, the
version, both connection IDs and the check sum. The figures are in `packet`.
"""

from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from zlib import crc32

from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.wire.packet import (
    INITIAL_HEADER_SIZE,
    MAX_DATAGRAM_SIZE,
    RETRY,
    TRAILER_SIZE,
    VERSION,
    VERSION_NEGOTIATION,
    seal,
)
from rudp_smtp.wire.token import MAX_TOKEN_SIZE, TOKEN, TokenFrame

RETRY_TAG_SIZE = 16
VERSIONS_MAX = 64  # that a client reads

_LONG_HEADER = Struct(">BIQQ")  # what all versions share
_RETRY_HEADER = Struct(">BIQ")
_VERSION = Struct(">I")
_CRC = Struct(">I")
_ID = Struct(">Q")


@dataclass(frozen=True, slots=True)
class InitialHead:
    """An INITIAL packet as far as a server reads it before it decides; `token` is empty where there is none."""

    version: int
    destination_connection_id: int
    source_connection_id: int
    token: bytes


@dataclass(frozen=True, slots=True)
class VersionNegotiation:
    """The server's answer to a version it does not speak. The IDs are the client's, the other way round."""

    destination_connection_id: int
    source_connection_id: int
    versions: tuple[int, ...]


def read_initial_head(data: bytes) -> InitialHead:
    """Check and read the head of a datagram that begins as INITIAL packets do, of any version."""
    _checked(data, INITIAL_HEADER_SIZE)
    _, version, destination, source = _LONG_HEADER.unpack_from(data)
    token = b""
    if version == VERSION and data[INITIAL_HEADER_SIZE] == TOKEN:
        token = TokenFrame.decode(data[:-TRAILER_SIZE], INITIAL_HEADER_SIZE)[0].token
    return InitialHead(version, destination, source, token)


def encode_version_negotiation(answer: VersionNegotiation) -> bytes:
    header = _LONG_HEADER.pack(VERSION_NEGOTIATION, 0, answer.destination_connection_id, answer.source_connection_id)
    return seal([header, *map(_VERSION.pack, answer.versions)])


def decode_version_negotiation(data: bytes) -> VersionNegotiation:
    body = _checked(data, _LONG_HEADER.size)
    _, version, destination, source = _LONG_HEADER.unpack_from(body)
    count, rest = divmod(len(body) - _LONG_HEADER.size, _VERSION.size)
    if version or rest or count > VERSIONS_MAX:
        raise PacketDecodeError("not a list of versions")
    versions = tuple(value for (value,) in _VERSION.iter_unpack(body[_LONG_HEADER.size :]))
    return VersionNegotiation(destination, source, versions)


def encode_retry(client_id: int, original_id: int, token: bytes) -> bytes:
    """`client_id` is what the client calls itself; `original_id`, what it calls the server, is in the tag alone."""
    body = _RETRY_HEADER.pack(RETRY, VERSION, client_id) + token
    return seal([body, _retry_tag(body, original_id)])


def decode_retry(data: bytes, original_id: int) -> bytes:
    """The token. Whoever did not see the client's first packet cannot have made the tag (s17.2.5)."""
    body = _checked(data, _RETRY_HEADER.size + RETRY_TAG_SIZE)
    body, tag = body[:-RETRY_TAG_SIZE], body[-RETRY_TAG_SIZE:]
    if not compare_digest(tag, _retry_tag(body, original_id)):
        raise PacketDecodeError("this RETRY answers nothing of ours", trigger="integrity_check_failed")
    token = body[_RETRY_HEADER.size :]
    if _RETRY_HEADER.unpack_from(body)[1] != VERSION or len(token) > MAX_TOKEN_SIZE:
        raise PacketDecodeError("a RETRY that cannot be obeyed")
    return token


def answered_connection_id(data: bytes) -> int | None:
    """Peek at which client a RETRY or VERSION_NEGOTIATION is for, unchecked."""
    if len(data) < _RETRY_HEADER.size or data[0] not in (RETRY, VERSION_NEGOTIATION):
        return None
    value: int = _RETRY_HEADER.unpack_from(data)[2]
    return value


def _retry_tag(body: bytes, original_id: int) -> bytes:
    """No secret, as QUIC's is none: what an attacker off the path lacks is the original ID."""
    return blake2b(_ID.pack(original_id) + body, digest_size=RETRY_TAG_SIZE, person=b"rudp-retry-1").digest()


def _checked(data: bytes, header_size: int) -> bytes:
    """A datagram without its check sum, which is right, and with something behind its header."""
    if not header_size + TRAILER_SIZE < len(data) <= MAX_DATAGRAM_SIZE:
        raise PacketDecodeError(f"{len(data)} octets cannot be a packet")
    body = data[:-TRAILER_SIZE]
    if _CRC.unpack_from(data, len(body))[0] != crc32(body):
        raise PacketDecodeError("the check sum is wrong", trigger="integrity_check_failed")
    return body
