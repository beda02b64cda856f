"""PeerConnection: our commands and events around somebody else's connection."""

from abc import abstractmethod
from collections import deque
from typing import Self

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.trace import VantagePoint
from rudp_smtp.transport import (
    Address,
    Closed,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    TransportStats,
    require_error_code,
)
from rudp_smtp.transport.books import Books
from rudp_smtp.transport.round_robin import RoundRobinConnection

WRITABLE_THRESHOLD = 64 * 1024  # when this much waited, the application is told once three quarters of it have left
STREAM_STEP = 4  # RFC 9000 section 2.1: the low two bits say who opened it; all of ours go both ways


class _Outlet:
    """Our side of a stream: how much was written, how much of it a packet has carried, and who has ended it."""

    __slots__ = ("has_peer_ended", "is_ended", "is_stopped", "most_unsent", "sent", "written")

    def __init__(self) -> None:
        self.written = 0
        self.sent = 0
        self.most_unsent = 0
        self.is_ended = False
        self.has_peer_ended = False
        self.is_stopped = False  # the peer does not want it: what is written goes nowhere


class PeerConnection(RoundRobinConnection):
    """Owns the accounts of its streams."""

    def __init__(
        self,
        *,
        remote: Address,
        is_client: bool,
        vantage: VantagePoint,
        untold: frozenset[str],
        awake: "deque[Self]",
    ) -> None:
        super().__init__(remote=remote, vantage=vantage, awake=awake)
        self.is_client = is_client
        self.books = Books(vantage, TransportStats(untold=untold))
        self._outlets: dict[int, _Outlet] = {}
        self._next_stream_id = 0 if is_client else 1
        self._is_over = False  # Closed is told, or on its way

    # Commands

    @property
    def stats(self) -> TransportStats:
        return self.books.stats

    def open_stream(self) -> int:
        self._require_not_left()
        stream_id = self._next_stream_id
        self._next_stream_id += STREAM_STEP
        self._outlets[stream_id] = _Outlet()
        if not self._is_over:
            self._open(stream_id)
            self.wake()
        return stream_id

    def send(self, stream_id: int, data: bytes, fin: bool = False, *, is_replay_safe: bool = False) -> None:
        """Queue octets. The adapters resume nothing, so it is no matter which are replay-safe."""
        self._require_not_left()
        outlet = self._known(stream_id)
        if outlet.is_ended:
            raise LocalProtocolError(f"stream {stream_id} takes no more: it was ended")
        outlet.is_ended = fin
        if self._is_over or outlet.is_stopped:  # the application is yet to hear of it
            return
        outlet.written += len(data)
        unsent = outlet.written - outlet.sent
        if unsent > outlet.most_unsent and unsent >= WRITABLE_THRESHOLD:
            outlet.most_unsent = unsent
        self._write(stream_id, data, fin)
        self.wake()

    def unsent_bytes(self, stream_id: int) -> int:
        outlet = self._known(stream_id)
        return 0 if outlet.is_stopped else outlet.written - outlet.sent

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        self._require_not_left()
        require_error_code(error_code)
        outlet = self._known(stream_id)
        outlet.is_ended = True
        if not self._is_over and not outlet.is_stopped:
            outlet.is_stopped = True
            self._reset_stream(stream_id, error_code)
            self.wake()

    def stop_sending(self, stream_id: int, error_code: int) -> None:
        self._require_not_left()
        require_error_code(error_code)
        outlet = self._known(stream_id)
        if not self._is_over and not outlet.has_peer_ended:
            self._stop_sending(stream_id, error_code)
            self.wake()

    def close(self, now: int) -> None:
        self._require_not_left()
        self._is_left = True
        self.wake()

    def reset(self, error_code: int, reason: str, now: int) -> None:
        require_error_code(error_code)
        self._is_left = True
        if not self._is_over:
            self._reset(error_code, reason)
            self.end(Closed("local", error_code, reason))

    # What the adapters do

    @abstractmethod
    def _open(self, stream_id: int) -> None:
        """Let the peer learn that there is a new stream."""

    @abstractmethod
    def _write(self, stream_id: int, data: bytes, fin: bool) -> None: ...

    @abstractmethod
    def _reset_stream(self, stream_id: int, error_code: int) -> None: ...

    @abstractmethod
    def _stop_sending(self, stream_id: int, error_code: int) -> None: ...

    @abstractmethod
    def _reset(self, error_code: int, reason: str) -> None: ...

    # What the adapters tell

    def end(self, closed: Closed) -> None:
        """The last event."""
        if not self._is_over:
            self._is_over = True
            self.events.append(closed)
        self.wake()

    def on_opened(self, stream_id: int) -> None:
        """The peer opened a stream."""
        self._outlets[stream_id] = _Outlet()
        self.events.append(StreamOpened(stream_id))

    def on_stream_data(self, stream_id: int, data: bytes, fin: bool) -> None:
        self._outlets[stream_id].has_peer_ended |= fin
        if data or fin:
            self.stats.stream_bytes_delivered += len(data)
            self.events.append(StreamData(stream_id, data, fin))

    def on_reset(self, stream_id: int, error_code: int) -> None:
        """The peer gave the stream up."""
        self._outlets[stream_id].has_peer_ended = True
        self.events.append(StreamReset(stream_id, error_code))

    def on_stopped(self, stream_id: int, error_code: int) -> None:
        """The peer does not want what is written to the stream."""
        self._outlets[stream_id].is_stopped = True
        self.events.append(StreamStopped(stream_id, error_code))

    def on_range_sent(self, stream_id: int, start: int, stop: int) -> bool:
        """A packet carried these octets of the stream; whether some of them had left before."""
        outlet, stats = self._outlets[stream_id], self.stats
        fresh = max(stop - max(start, outlet.sent), 0)
        stats.stream_bytes_sent += fresh
        stats.stream_bytes_retransmitted += stop - start - fresh
        outlet.sent += fresh
        if outlet.most_unsent and (outlet.written - outlet.sent) * 4 <= outlet.most_unsent:
            outlet.most_unsent = 0
            if not self._is_left:
                self.events.append(StreamWritable(stream_id))
        return fresh < stop - start

    def is_known(self, stream_id: int) -> bool:
        return stream_id in self._outlets

    def has_ended(self, stream_id: int) -> bool:
        """The peer says no more on the stream."""
        return self._outlets[stream_id].has_peer_ended

    def is_ours(self, stream_id: int) -> bool:
        """Whether a stream of this number is one that we open."""
        return stream_id % 2 == (0 if self.is_client else 1)

    def _known(self, stream_id: int) -> _Outlet:
        outlet = self._outlets.get(stream_id)
        if outlet is None:
            raise LocalProtocolError(f"no stream {stream_id}")
        return outlet
