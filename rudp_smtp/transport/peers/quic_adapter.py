"""QuicConnection and QuicEndpoint: aioquic's sans-IO connection behind our protocol.

- A stream's opener sends one octet of its own ahead: QUIC tells a peer of a stream only with something on it, and an
  SMTP server speaks first. Statistics do not count it as a stream's octet; the wire carries it.
- A graceful close waits until nothing is unacknowledged, as aioquic's CONNECTION_CLOSE would cut off what is on its
  way. aioquic says it once: if it is lost, the peer's connection ends with its idle timeout. Which streams still have
  something to send, and whether packets are in flight, aioquic offers no question for: `_is_quiet` looks inside.
- The certificate is made once, from a fixed key, and not verified; Ed25519's signatures have one length. What aioquic
  draws from the operating system (keys, connection IDs) changes what packets contain and neither how long they are nor
  when they leave, so rows of a scenario are the same from run to run.
- aioquic's qlog hooks (`_Trace`, its public configuration) tell which stream octets each packet carries, which packets
  it takes for lost, and its estimates. Probes and spurious losses it does not tell.
- A first flight of a version aioquic does not speak is dropped, and not answered with Version Negotiation.
"""

import ssl
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Any

from aioquic._buffer import Buffer
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.connection import QuicConnection as Aioquic
from aioquic.quic.logger import QuicLogger, QuicLoggerTrace
from aioquic.quic.packet import QuicHeader, QuicPacketType, QuicProtocolVersion, QuicStreamFrame, pull_quic_header
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.errors import ErrorCode
from rudp_smtp.trace import Sink, VantagePoint
from rudp_smtp.transport import Address, Closed, Established
from rudp_smtp.transport.books import Range
from rudp_smtp.transport.peers.connection import PeerConnection
from rudp_smtp.transport.round_robin import CONNECTIONS_MAX, RoundRobinEndpoint
from rudp_smtp.units import MICROSECOND, MILLISECOND, SECOND

if TYPE_CHECKING:
    from rudp_smtp.transport.peers.quic import Quic

OPENING = b"\0"
ALPN = "rudp-smtp"
CONNECTION_ID_LENGTH = 8
KEY = bytes(range(32))  # no secret: it says who speaks in a simulation
VERSIONS = (QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2)
# Of a wake-up, as no event loop is ever on time to the bit: a loss that aioquic expects at sent + delay is one once
# now - delay has reached sent, and in floating point that may not be at the same instant.
LATENESS = MICROSECOND
IDLE = "Idle timeout"  # aioquic's reason
SERIAL_NUMBER = 1
VALID_FROM, VALID_UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)
UNTOLD = frozenset({"packets_spurious", "probes_sent"})


@cache
def identity() -> tuple[x509.Certificate, Ed25519PrivateKey]:
    """A certificate signed by itself, and its key."""
    key = Ed25519PrivateKey.from_private_bytes(KEY)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), SERIAL_NUMBER, VALID_FROM, VALID_UNTIL)
    return builder.sign(key, None), key


class _Trace(QuicLoggerTrace):
    """What aioquic says of a connection; here only what statistics need."""

    def __init__(self, *, is_client: bool, odcid: bytes) -> None:
        super().__init__(is_client=is_client, odcid=odcid)
        self.packets: deque[tuple[int, bool, list[Range]]] = deque()  # size, only acknowledges, what it carries
        self.losses = 0
        self.metrics: dict[str, float] = {}

    def encode_ack_frame(self, ranges: Iterable[range], delay: float) -> dict[str, Any]:
        return _SILENT

    def encode_padding_frame(self) -> dict[str, Any]:
        return _SILENT

    def encode_stream_frame(self, frame: QuicStreamFrame, stream_id: int) -> dict[str, Any]:
        return {"stream": (stream_id, frame.offset, frame.offset + len(frame.data))}

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        if event == "packet_sent":
            frames = data["frames"]
            streams = [frame["stream"] for frame in frames if "stream" in frame]
            self.packets.append((data["raw"]["length"], all(frame is _SILENT for frame in frames), streams))
        elif event == "packet_lost":
            self.losses += 1
        elif event == "metrics_updated":
            self.metrics |= data


_SILENT: dict[str, Any] = {}  # a frame that asks for no acknowledgement, whatever it says


class _Log(QuicLogger):
    """Hands out one trace, to the one connection it is configured for."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: _Trace | None = None

    def start_trace(self, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
        self.trace = _Trace(is_client=is_client, odcid=odcid)
        return self.trace

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        """The connection keeps it."""


class QuicConnection(PeerConnection):
    """aioquic's datagrams are taken packet by packet where it can: one datagram is one look at the trace."""

    def __init__(
        self,
        parameters: "Quic",
        *,
        remote: Address,
        is_client: bool,
        vantage: VantagePoint,
        awake: "deque[QuicConnection]",
        original_id: bytes | None,
    ) -> None:
        super().__init__(remote=remote, is_client=is_client, vantage=vantage, untold=UNTOLD, awake=awake)
        log = _Log()
        certificate, key = identity()
        configuration = QuicConfiguration(
            alpn_protocols=[ALPN],
            congestion_control_algorithm=parameters.congestion,
            connection_id_length=CONNECTION_ID_LENGTH,
            idle_timeout=parameters.max_idle_timeout / SECOND,
            is_client=is_client,
            max_data=parameters.connection_window,
            max_datagram_size=parameters.datagram_size,
            max_stream_data=parameters.stream_window,
            initial_rtt=parameters.initial_rtt / SECOND,
            quic_logger=log,
            certificate=None if is_client else certificate,
            private_key=None if is_client else key,
            verify_mode=ssl.CERT_NONE,
        )
        self.quic = Aioquic(configuration=configuration, original_destination_connection_id=original_id)
        assert log.trace is not None
        self._trace = log.trace
        self.ids: set[bytes] = {self.quic.host_cid} | ({original_id} if original_id else set())
        self.new_ids: list[bytes] = []  # for the endpoint to take
        self._ready: deque[bytes] = deque()
        self._is_established = False
        self._is_close_said = False
        self._is_terminated = False
        self.wake()

    # Commands

    def _open(self, stream_id: int) -> None:
        self.quic.send_stream_data(stream_id, OPENING)

    def _write(self, stream_id: int, data: bytes, fin: bool) -> None:
        self.quic.send_stream_data(stream_id, data, fin)

    def _reset_stream(self, stream_id: int, error_code: int) -> None:
        self.quic.reset_stream(stream_id, error_code)

    def _stop_sending(self, stream_id: int, error_code: int) -> None:
        with suppress(ValueError):  # aioquic has forgotten the stream: it was over
            self.quic.stop_stream(stream_id, error_code)

    def _reset(self, error_code: int, reason: str) -> None:
        self._is_close_said = True
        self.quic.close(error_code=error_code, reason_phrase=reason)

    def close(self, now: int) -> None:
        super().close(now)
        self._close_if_quiet()

    # Inputs

    def receive(self, data: bytes, now: int) -> None:
        self.wake()
        self.books.on_received(len(data), now)
        self.quic.receive_datagram(data, self.remote, now / SECOND)
        self._take_events()
        self._close_if_quiet()

    def handle_timeout(self, now: int) -> None:
        self.quic.handle_timer(now / SECOND)
        self._take_events()
        self._close_if_quiet()

    # Outputs

    def next_datagram(self, now: int) -> bytes | None:
        if not self._ready and not self._is_terminated:
            self._ready.extend(data for data, _ in self.quic.datagrams_to_send(now / SECOND))
            self._note_sent(now)
        return self._ready.popleft() if self._ready else None

    def next_timeout(self) -> int | None:
        seconds = None if self._is_terminated else self.quic.get_timer()
        return None if seconds is None else ceil(seconds * SECOND) + LATENESS

    @property
    def is_gone(self) -> bool:
        return self._is_terminated and not self._ready

    # Inside

    def _is_quiet(self) -> bool:
        """Everything that was written is acknowledged."""
        quic = self.quic
        return quic._loss.bytes_in_flight == 0 and all(
            stream.sender.buffer_is_empty for stream in quic._streams.values()
        )

    def _close_if_quiet(self) -> None:
        if self._is_left and not self._is_close_said and self._is_established and self._is_quiet():
            self._is_close_said = True
            self.quic.close(error_code=ErrorCode.NO_ERROR)
            self.end(Closed("local", ErrorCode.NO_ERROR, ""))

    def _note_sent(self, now: int) -> None:
        """Say which of the packets since the last look are in which of the datagrams."""
        packets, stats = self._trace.packets, self.stats
        for datagram in self._ready:
            size, is_again, is_silent = 0, False, True
            carried: list[Range] = []
            while packets and size < len(datagram):
                length, is_packet_silent, ranges = packets.popleft()
                size += length
                is_silent = is_silent and is_packet_silent
                for stream_id, start, stop in map(self._without_opening, ranges):
                    is_again |= self.on_range_sent(stream_id, start, stop)
                    carried.append((stream_id, start, stop))
            stats.acks_sent += is_silent
            self.books.on_sent(
                len(datagram), now, is_ack_eliciting=not is_silent, is_retransmission=is_again, streams=tuple(carried)
            )
        metrics = self._trace.metrics
        stats.packets_lost = self._trace.losses
        stats.congestion_window = int(metrics.get("cwnd", 0))
        stats.smoothed_rtt = round(metrics.get("smoothed_rtt", 0) * MILLISECOND)
        stats.min_rtt = round(metrics.get("min_rtt", 0) * MILLISECOND)

    def _without_opening(self, carried: Range) -> Range:
        """Offsets as the application counts them."""
        stream_id, start, stop = carried
        ahead = len(OPENING) if self.is_ours(stream_id) else 0
        return stream_id, max(start - ahead, 0), max(stop - ahead, 0)

    def _take_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            match event:
                case quic_events.ConnectionIdIssued(connection_id):
                    self.new_ids.append(connection_id)
                case quic_events.ConnectionTerminated(error_code, _, reason):
                    self._is_terminated = True
                    self._on_terminated(error_code, reason)
                case _ if self._is_over:
                    pass
                case quic_events.HandshakeCompleted():
                    self._is_established = True
                    self.events.append(Established())
                case quic_events.StreamDataReceived(data, is_fin, stream_id):
                    if not self.is_known(stream_id):
                        self.on_opened(stream_id)
                        data = data[len(OPENING) :]
                    self.on_stream_data(stream_id, data, is_fin)
                case quic_events.StreamReset(error_code, stream_id):
                    if not self.is_known(stream_id):
                        self.on_opened(stream_id)
                    self.on_reset(stream_id, error_code)
                case quic_events.StopSendingReceived(error_code, stream_id):
                    if not self.is_known(stream_id):
                        self.on_opened(stream_id)
                    self.on_stopped(stream_id, error_code)

    def _on_terminated(self, error_code: int, reason: str) -> None:
        """It is over; why, if our side did not say it."""
        if reason == IDLE:
            self.end(Closed("idle_timeout", 0, ""))
        else:
            self.end(Closed("peer", error_code, reason))


class QuicEndpoint(RoundRobinEndpoint[QuicConnection]):
    """A datagram's destination connection ID says which connection it belongs to."""

    def __init__(self, parameters: "Quic", *, host: str, accepts: bool, sink: Sink | None) -> None:
        super().__init__(host=host, sink=sink)
        self._parameters = parameters
        self._accepts = accepts
        self._by_id: dict[bytes, QuicConnection] = {}

    def connect(self, remote: Address, now: int) -> QuicConnection:
        connection = self._make(remote, original_id=None)
        connection.quic.connect(remote, now / SECOND)
        return connection

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_LENGTH)
        except ValueError:
            self._drop(len(data), "header_parse_error", now)
            return
        connection = self._by_id.get(header.destination_cid)
        if connection is None:
            refusal = self._refusal(header, len(data))
            if refusal is not None:
                self._drop(len(data), refusal, now)
                return
            connection = self._make(remote, original_id=header.destination_cid)
        connection.receive(data, now)
        for issued in connection.new_ids:
            connection.ids.add(issued)
            self._by_id[issued] = connection
        connection.new_ids.clear()

    def _refusal(self, header: QuicHeader, size: int) -> str | None:
        """Why a datagram that belongs to no connection opens none."""
        is_first = header.packet_type is QuicPacketType.INITIAL and size >= SMALLEST_MAX_DATAGRAM_SIZE
        if not self._accepts or not is_first or header.destination_cid in self._ended:
            return "unknown_connection_id"
        if header.version not in VERSIONS:
            return "unsupported_version"
        return "connection_limit" if len(self._connections) >= CONNECTIONS_MAX else None

    def _make(self, remote: Address, *, original_id: bytes | None) -> QuicConnection:
        connection = QuicConnection(
            self._parameters,
            remote=remote,
            is_client=original_id is None,
            vantage=self._vantage(),
            awake=self._awake,
            original_id=original_id,
        )
        self._connections[connection] = None
        self._by_id |= dict.fromkeys(connection.ids, connection)
        return connection

    def _forget(self, connection: QuicConnection) -> None:
        for known in sorted(connection.ids):
            self._by_id.pop(known, None)
            self._remember(known)
