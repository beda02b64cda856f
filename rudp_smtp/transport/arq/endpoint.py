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
        self._half_open: list[ArqConnection] = []  # some may be so no more: they are sorted out when it is full

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
            refusal = self._refusal(frame, remote)
            if refusal is not None:
                self._drop(len(data), refusal, now)
                return
            connection = self._make(frame[1], remote, now, is_client=False)
            self._half_open.append(connection)
        connection.receive(frame, len(data), now)

    def _refusal(self, frame: Frame, remote: Address) -> str | None:
        """Why a datagram that belongs to no connection opens none."""
        kind, connection_id, sequence_bits, window, name = frame
        parameters = self._parameters
        # Behind a late copy of a SYN late copies of its data may come, which nothing tells from new.
        if kind != SYN or not self._accepts or (remote, connection_id) in self._ended:
            return "unknown_connection_id"
        if (sequence_bits, window, name) != (
            parameters.sequence_bits,
            parameters.window_frames,
            parameters.name.encode(),
        ):
            return "unsupported_version"
        if len(self._connections) >= CONNECTIONS_MAX:
            return "connection_limit"
        if len(self._half_open) >= HALF_OPEN_MAX:
            self._half_open = [connection for connection in self._half_open if connection.is_half_open]
        return "half_open_limit" if len(self._half_open) >= HALF_OPEN_MAX else None

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
        key = connection.remote, connection.connection_id
        del self._by_id[key]
        self._remember(key)
