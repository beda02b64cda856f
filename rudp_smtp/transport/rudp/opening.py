"""Opening: a client's beginnings, its first flight and the answers a server gives without keeping state.

RFC 9000 s6.2 (VERSION_NEGOTIATION) and s17.2.5.2 (RETRY). Neither is authenticated beyond the connection IDs, so each
is believed once at most, and only while nothing else has come from the server.
"""

from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.transport import TransportStats
from rudp_smtp.transport.rudp.handshake import Handshake
from rudp_smtp.transport.rudp.outbox import Carried
from rudp_smtp.transport.rudp.parts import Parts
from rudp_smtp.transport.rudp.state import SHAKING_HANDS
from rudp_smtp.transport.rudp.streams import Streams
from rudp_smtp.wire.frames import StreamFrame, TokenFrame
from rudp_smtp.wire.hello import MIN_DATAGRAM_SIZE
from rudp_smtp.wire.packet import INITIAL_HEADER_SIZE, RETRY, TRAILER_SIZE, VERSION
from rudp_smtp.wire.stateless import decode_retry, decode_version_negotiation

ANNOUNCED_STREAMS_MAX = 16  # in a first flight
FIRST_FLIGHT_SPACE = MIN_DATAGRAM_SIZE - INITIAL_HEADER_SIZE - TRAILER_SIZE


def first_flight(handshake: Handshake, streams: Streams, stats: TransportStats) -> tuple[list[bytes], list[Carried]]:
    """One copy of a client's first flight: token, HELLO, early data, streams' names, and padding to the size that every
    path must carry (RFC 9000 s14.1)."""
    hello = handshake.outbox.take()
    frame = hello.frame()
    assert frame is not None
    pieces = [frame.encode()]
    contents: list[Carried] = [hello]
    if handshake.token:
        pieces.insert(0, TokenFrame(handshake.token).encode())
    names = streams.local_ids(ANNOUNCED_STREAMS_MAX)
    announcements = {stream_id: StreamFrame(stream_id, 0, b"", False).encode() for stream_id in names}
    space = FIRST_FLIGHT_SPACE - sum(map(len, pieces))
    early = handshake.early
    if early is not None:
        pieces += early.pieces(streams, stats, space - sum(map(len, announcements.values())))
        contents += early.ranges
        for sent in early.ranges:
            announcements.pop(sent.stream.stream_id, None)
    space = FIRST_FLIGHT_SPACE - sum(map(len, pieces))
    for announcement in announcements.values():
        if len(announcement) > space:  # opened since the early data took the room: the server hears of it later
            break
        pieces.append(announcement)
        space -= len(announcement)
    pieces.append(bytes(space))
    return pieces, contents


def take_stateless_answer(parts: Parts, data: bytes, now: int) -> None:
    """Obey a RETRY or VERSION_NEGOTIATION; PacketDecodeError says why not."""
    handshake = parts.handshake
    if not handshake.is_client or handshake.peer_id is not None or handshake.has_retried:
        raise PacketDecodeError("the server has said something else before", trigger="unexpected_packet")
    if parts.lifecycle.machine.state not in SHAKING_HANDS:
        raise PacketDecodeError("the connection has ended", trigger="unexpected_packet")
    if data[0] == RETRY:
        _retry(parts, decode_retry(data, handshake.original_id), now)
    else:
        _negotiate(parts, data, now)


def _retry(parts: Parts, token: bytes, now: int) -> None:
    """Begin again with the token. A departure from s17.2.5.2: the connection IDs stay, so that a server that took one
    copy of the first flight and answered another with RETRY has one connection. Early data waits for the HELLO."""
    handshake = parts.handshake
    if handshake.early is not None:
        parts.streams.settle_early(handshake.early.ranges, is_taken=False)
    handshake.on_retry(token)
    parts.recovery.restart(now)


def _negotiate(parts: Parts, data: bytes, now: int) -> None:
    """Give up: we speak one version, so there is none to go on with."""
    handshake = parts.handshake
    answer = decode_version_negotiation(data)
    if (answer.destination_connection_id, answer.source_connection_id) != (handshake.local_id, handshake.original_id):
        raise PacketDecodeError("this answers nothing of ours", trigger="unexpected_packet")
    if not answer.versions or VERSION in answer.versions:  # s6.2: then it is not about what we sent
        raise PacketDecodeError("our version is on offer", trigger="unexpected_packet")
    offered = ", ".join(f"{version:#010x}" for version in answer.versions)
    parts.lifecycle.on_version_refused(f"the server speaks {offered}, not {VERSION:#010x}", now)
