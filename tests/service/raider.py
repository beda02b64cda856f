"""Raider: a client over real UDP that opens what it can and fills what it is given, in well-formed packets."""

import socket
import time
from itertools import count

from rudp_smtp.errors import ErrorCode
from rudp_smtp.wire.frames import (
    ConnectionCloseFrame,
    Frame,
    HelloFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    PaddingFrame,
    PingFrame,
    StreamFrame,
    TokenFrame,
)
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, RETRY, Packet, decode_packet, encode_packet
from rudp_smtp.wire.stateless import decode_retry

HELLO = HelloFrame(initial_max_data=1 << 20, initial_max_stream_data=1 << 20, initial_max_streams=100)
STREAMS = 8  # of a connection that is filled
TRIES, PATIENCE = 20, 0.5


class Raid:
    """One connection: `refusal` is why it is none, `window` what the server lets it send, `used` what it has used."""

    def __init__(self, own_id: int) -> None:
        self.own_id = own_id
        self.original_id = own_id ^ 0xFFFF
        self.server_id: int | None = None
        self.token = b""
        self.refusal = ""
        self.is_over = False
        self.window = 0
        self.tops = [0] * STREAMS
        self.limits = [0] * STREAMS
        self.packet_numbers = count()

    @property
    def used(self) -> int:
        return sum(self.tops)


class Raider:
    """Owns a socket at `host` and all connections from there. It acknowledges nothing."""

    def __init__(self, server: tuple[str, int], host: str = "127.0.0.1", first_id: int = 1 << 40) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((host, 0))
        self._socket.connect(server)
        self._socket.settimeout(PATIENCE)
        self._ids = count(first_id)
        self.raids: dict[int, Raid] = {}

    def __enter__(self) -> "Raider":
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    @property
    def standing(self) -> list[Raid]:
        return [raid for raid in self.raids.values() if raid.server_id is not None and not raid.is_over]

    @property
    def refusals(self) -> list[str]:
        return [raid.refusal for raid in self.raids.values() if raid.refusal]

    def open(self, number: int = 1, *, is_filled: bool = False) -> None:
        """Open so many, one after the other: each stands or is refused."""
        for _ in range(number):
            raid = Raid(next(self._ids))
            self.raids[raid.own_id] = raid
            for _ in range(TRIES):
                if raid.server_id is not None or raid.is_over:
                    break
                self._say_hello(raid)
                self._wait_for(raid)
            assert raid.server_id is not None or raid.is_over, "neither answered nor refused"
            if not raid.is_over:
                self.say(raid, PingFrame())
            if is_filled and not raid.is_over:
                self.fill(raid)

    def say(self, raid: Raid, *frames: Frame) -> None:
        assert raid.server_id is not None
        self._socket.send(encode_packet(Packet(ONE_RTT, raid.server_id, next(raid.packet_numbers), list(frames))))

    def fill(self, raid: Raid) -> None:
        """Leave a hole at the beginning of each stream, and say the last octet that the server lets us say."""
        for index in range(STREAMS):
            top = min(raid.limits[index], raid.tops[index] + raid.window - raid.used)
            if top > raid.tops[index]:
                raid.tops[index] = top
                self.say(raid, StreamFrame(4 * index, top - 1, b"x", False))

    def hold(self, seconds: float) -> None:
        """Fill what is granted meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            raid = self._receive()
            if raid is not None and not raid.is_over and raid.used:
                self.fill(raid)

    def leave(self, raid: Raid) -> None:
        self.say(raid, ConnectionCloseFrame(0, "", True))
        raid.is_over = True

    def _say_hello(self, raid: Raid) -> None:
        frames: list[Frame] = [TokenFrame(raid.token), HELLO] if raid.token else [HELLO]
        packet = Packet(INITIAL, raid.original_id, next(raid.packet_numbers), frames, raid.own_id)
        frames.append(PaddingFrame(1200 - len(encode_packet(packet))))
        self._socket.send(encode_packet(packet))

    def _wait_for(self, raid: Raid) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._receive() is raid:
                return

    def _receive(self) -> Raid | None:
        """Read a datagram; the connection it was for."""
        try:
            data = self._socket.recv(65_535)
        except TimeoutError:
            return None
        if data[0] == RETRY:
            raid = self.raids[int.from_bytes(data[5:13])]
            raid.token = raid.token or decode_retry(data, raid.original_id)
            return raid
        packet = decode_packet(data)
        raid = self.raids[packet.destination_connection_id]
        if packet.kind == INITIAL and raid.server_id is None:
            raid.server_id = packet.source_connection_id
        for frame in packet.frames:
            self._hear(raid, frame)
        return raid

    def _hear(self, raid: Raid, frame: Frame) -> None:
        match frame:
            case HelloFrame():
                raid.window = frame.initial_max_data
                raid.limits = [frame.initial_max_stream_data] * STREAMS
            case MaxDataFrame():
                raid.window = max(raid.window, frame.maximum)
            case MaxStreamDataFrame():
                index = frame.stream_id // 4
                raid.limits[index] = max(raid.limits[index], frame.maximum)
            case ConnectionCloseFrame():
                raid.is_over = True
                if frame.error_code == ErrorCode.CONNECTION_REFUSED:
                    raid.refusal = frame.reason
            case _:
                pass
