"""ArqEndpoint: datagram -> connection, by peer and connection ID; accepts new ones."""

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.trace import Sink
from rudp_smtp.transport import Address
from rudp_smtp.transport.arq.connection import ArqConnection
from rudp_smtp.transport.arq.frame import SYN, Frame, decode_frame
from rudp_smtp.transport.arq.parameters import ArqParameters
from rudp_smtp.transport.round_robin import CONNECTIONS_MAX, RoundRobinEndpoint

HALF_OPEN_MAX = 256


class ArqEndpoint(RoundRobinEndpoint[ArqConnection]):
    """A connection's ID, and the host it is with, say which connection a datagram belongs to."""

    def __init__(
        self, parameters: ArqParameters, *, host: str, accepts: bool, draws: DrawKey, sink: Sink | None
    ) -> None:
        super().__init__(host=host, sink=sink)
        self._parameters = parameters
        self._accepts = accepts
        self._draws = draws
        self._draw_count = 0
        self._by_id: dict[tuple[Address, int], ArqConnection] = {}

    def connect(self, remote: Address, now: int) -> ArqConnection:
        connection_id = self._draws.draw(self._draw_count)
        self._draw_count += 1
        return self._make(connection_id, remote, now, is_client=True)

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        try:
            frame = decode_frame(data)
        except PacketDecodeError as error:
            self._drop(len(data), error.trigger, now)
            return
        connection = self._by_id.get((remote, frame[1]))
        if connection is None:
            refusal = self._refusal(frame)
            if refusal is not None:
                self._drop(len(data), refusal, now)
                return
            connection = self._make(frame[1], remote, now, is_client=False)
        connection.receive(frame, len(data), now)

    def _refusal(self, frame: Frame) -> str | None:
        """Why a datagram that belongs to no connection opens none."""
        kind, _, sequence_bits, window, name = frame
        parameters = self._parameters
        if kind != SYN or not self._accepts:
            return "unknown_connection_id"
        if (sequence_bits, window, name) != (
            parameters.sequence_bits,
            parameters.window_frames,
            parameters.name.encode(),
        ):
            return "unsupported_version"
        if len(self._connections) >= CONNECTIONS_MAX:
            return "connection_limit"
        if sum(connection.is_half_open for connection in self._connections) >= HALF_OPEN_MAX:
            return "half_open_limit"
        return None

    def _make(self, connection_id: int, remote: Address, now: int, *, is_client: bool) -> ArqConnection:
        connection = ArqConnection(
            self._parameters,
            connection_id=connection_id,
            remote=remote,
            is_client=is_client,
            vantage=self._vantage(),
            awake=self._awake,
            now=now,
        )
        self._connections[connection] = None
        self._by_id[remote, connection_id] = connection
        return connection

    def _forget(self, connection: ArqConnection) -> None:
        del self._by_id[connection.remote, connection.connection_id]
