"""WorkloadNode: what all workloads share. An endpoint plus a role: datagrams and time in, events to the role."""

from abc import ABC, abstractmethod
from hashlib import shake_128

from rudp_smtp.datagram import NOT_ECT
from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import nearest
from rudp_smtp.transport import Address, Closed, Endpoint, Event, Transport, TransportStats
from rudp_smtp.workload import Application

MULTIPLEX = ("connection", "stream")  # what is done side by side has a connection each, or a stream each
PATTERN_PERIOD = 65_521  # prime: octets that went astray by a packet or a power of two do not match


class Role(ABC):
    """What one host does with its connections. It commands them; the node drains what comes of it."""

    is_done: bool  # read after every event, so it is kept and not computed
    wake_at: int | None = None  # when `on_wake` is wanted; the role clears or moves it there

    @abstractmethod
    def on_event(self, connection: Transport, event: Event, now: int) -> None: ...

    def start(self, now: int) -> None:
        """Open what has to be opened; a server waits to be called."""
        return

    def on_wake(self, now: int) -> None:
        """Go on; only a role that sets `wake_at` is asked to."""
        raise AssertionError("woken without having asked for it")


class WorkloadNode(Application):
    """Owns the order: input to the endpoint, its events to the role, until there are none."""

    __slots__ = ("_endpoint", "_is_started", "_role", "_start")

    def __init__(self, endpoint: Endpoint, role: Role, start: int = 0) -> None:
        self._endpoint = endpoint
        self._role = role
        self._start = start
        self._is_started = False

    def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
        endpoint = self._endpoint
        endpoint.receive_datagram(data, remote, now, ecn)
        while (happened := endpoint.next_event()) is not None:
            self._role.on_event(happened[0], happened[1], now)

    def handle_timeout(self, now: int) -> None:
        endpoint, role = self._endpoint, self._role
        if not self._is_started:
            self._is_started = True
            role.start(now)
        deadline = endpoint.next_timeout()
        if deadline is not None and deadline <= now:
            endpoint.handle_timeout(now)
        while (happened := endpoint.next_event()) is not None:
            role.on_event(happened[0], happened[1], now)
        if role.wake_at is None or role.wake_at > now:
            return
        role.on_wake(now)
        while (happened := endpoint.next_event()) is not None:
            role.on_event(happened[0], happened[1], now)

    def next_datagram(self, now: int) -> tuple[bytes, Address, int] | None:
        return self._endpoint.next_datagram(now)

    def next_timeout(self) -> int | None:
        if not self._is_started:
            return self._start
        deadline, wake_at = self._endpoint.next_timeout(), self._role.wake_at
        if wake_at is None or (deadline is not None and deadline < wake_at):
            return deadline
        return wake_at

    @property
    def done(self) -> bool:
        return self._role.is_done

    def stats(self) -> TransportStats:
        return self._endpoint.total_stats()


class Pattern:
    """Octets that are known by their position, so that a stream can be made and checked without being kept."""

    __slots__ = ("_octets",)

    def __init__(self, draws: DrawKey) -> None:
        period = shake_128(draws.draw(0).to_bytes(8, "big")).digest(PATTERN_PERIOD)
        self._octets = period + period  # so that a piece never has to be put together

    def piece(self, offset: int, count: int) -> bytes:
        """The `count` octets from `offset` on, a period at most."""
        assert count <= PATTERN_PERIOD
        start = offset % PATTERN_PERIOD
        return self._octets[start : start + count]

    def matches(self, offset: int, data: bytes) -> bool:
        """Say whether these are the octets from `offset` on."""
        start = offset % PATTERN_PERIOD
        if len(data) <= PATTERN_PERIOD:
            return self._octets[start : start + len(data)] == data
        return self.matches(offset, data[:PATTERN_PERIOD]) and self.matches(
            offset + PATTERN_PERIOD, data[PATTERN_PERIOD:]
        )


def check_multiplex(given: str) -> None:
    """Refuse what is no way to multiplex."""
    if given not in MULTIPLEX:
        raise ConfigError(f"no way to multiplex is {given!r}; {nearest(given, MULTIPLEX)}", key="multiplex")


def describe_end(end: Closed) -> str:
    """Why a connection is over, for a row."""
    detail = end.reason or (f"error {end.error_code}" if end.error_code else "")
    return f"connection closed: {end.cause}" + (f" ({detail})" if detail else "")
