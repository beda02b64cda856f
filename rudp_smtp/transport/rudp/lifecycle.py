"""Lifecycle: how a connection begins and ends, and when (RFC 9000 s10)."""

from rudp_smtp.errors import ErrorCode
from rudp_smtp.machine import Machine
from rudp_smtp.recovery.rtt import RttEstimator
from rudp_smtp.trace import ConnectionStateUpdated, VantagePoint
from rudp_smtp.transport import Closed
from rudp_smtp.transport.rudp.events import Events
from rudp_smtp.transport.rudp.keep_alive import KeepAlive
from rudp_smtp.transport.rudp.outbox import Outbox
from rudp_smtp.transport.rudp.state import ENDING, TRANSITIONS, Input, State
from rudp_smtp.units import SECOND
from rudp_smtp.wire.frames import ConnectionCloseFrame

DRAIN_TIMEOUTS = 3  # RFC 9000 section 10.2: this many probe time-outs; our CONNECTION_CLOSE is repeated at each
IDLE_TIMEOUTS_MIN = 3  # RFC 9000 section 10.1: an idle timeout is at least this many probe time-outs
HANDSHAKE_TIMEOUT = 30 * SECOND  # of silence, where no idle timeout is agreed: a half-open connection must end


class Lifecycle:
    """Owns the state, the deadlines that end a connection, and the CONNECTION_CLOSE still to be sent."""

    __slots__ = (
        "_close_deadline",
        "_close_frame",
        "_drain_deadline",
        "_events",
        "_has_sent_since_receipt",
        "_idle_since",
        "_idle_timeout",
        "_idle_timeout_agreed",
        "_keep_alive",
        "_late_packets",
        "_max_ack_delay",
        "_quiet_max",
        "_rtt",
        "_untold",
        "_vantage",
        "machine",
    )

    def __init__(
        self,
        *,
        rtt: RttEstimator,
        max_idle_timeout: int,
        max_ack_delay: int,
        keep_alive: int,
        outbox: Outbox,
        events: Events,
        vantage: VantagePoint,
    ) -> None:
        self.machine = Machine(TRANSITIONS, State.IDLE)  # others read its state
        self._rtt = rtt
        self._idle_timeout_agreed = max_idle_timeout  # 0: none
        self._idle_timeout = max_idle_timeout or HANDSHAKE_TIMEOUT  # in force
        self._keep_alive = KeepAlive(keep_alive, outbox)
        self._quiet_max = self._idle_timeout  # silence of this length asks for something to be done; 0: never does
        self._max_ack_delay = max_ack_delay  # the peer's, once it is known
        self._events = events
        self._vantage = vantage
        self._idle_since = 0
        self._has_sent_since_receipt = False
        self._drain_deadline = 0
        self._close_deadline: int | None = None  # when CONNECTION_CLOSE is due, the first time or again
        self._close_frame = ConnectionCloseFrame(ErrorCode.NO_ERROR, "", False)
        self._late_packets = 0
        self._untold: Closed | None = None  # what the application hears when the peer knows

    @property
    def is_ending(self) -> bool:
        """Nothing but CONNECTION_CLOSE is sent or listened to any more."""
        return self.machine.state in ENDING

    # Beginnings

    def start(self, now: int) -> None:
        self._idle_since = now
        self._advance(Input.START, now)

    def on_peer_limits(self, max_idle_timeout: int, max_ack_delay: int) -> None:
        """s10.1: the smaller of both sides' idle timeouts, where 0 is none."""
        agreed = self._idle_timeout_agreed
        if max_idle_timeout and (not agreed or max_idle_timeout < agreed):
            self._idle_timeout = self._idle_timeout_agreed = self._quiet_max = max_idle_timeout
        self._max_ack_delay = max_ack_delay

    def on_peer_confirmed(self, now: int) -> None:
        self._idle_timeout = self._idle_timeout_agreed
        self._quiet_max = self._keep_alive.start(self._idle_timeout)
        self._advance(Input.PEER_CONFIRMED, now)

    # Traffic

    def on_packet_received(self, now: int) -> None:
        self._idle_since = now
        self._has_sent_since_receipt = False

    def on_ack_eliciting_sent(self, now: int) -> None:
        """s10.1: the first since something arrived gives the peer the whole timeout to answer."""
        if not self._has_sent_since_receipt:
            self._has_sent_since_receipt = True
            self._idle_since = now

    # Ends

    def close(self, now: int) -> None:
        self._advance(Input.CLOSE, now)

    def on_flushed(self, now: int) -> None:
        """All is delivered. The application hears of the end when the peer has, or had its time to."""
        self._advance(Input.FLUSHED, now)
        self._untold = Closed("local", 0, "")
        self._begin_closing(now)

    def abort(self, frame: ConnectionCloseFrame, cause: str, now: int) -> None:
        """End at once. The application hears of it now: nothing that happens later is of use to it."""
        if not self._advance(Input.ABORT, now):
            return
        self._close_frame = frame
        self._events.push(Closed(cause, int(frame.error_code), frame.reason))
        if self.machine.state is State.CLOSING:
            self._begin_closing(now)

    def on_version_refused(self, reason: str, now: int) -> None:
        """The server speaks no version of ours: it has no connection that could be told of the end."""
        self._advance(Input.VERSION_REFUSED, now)
        self._events.push(Closed("version_negotiation", int(ErrorCode.VERSION_NEGOTIATION_ERROR), reason))

    def on_peer_closed(self, frame: ConnectionCloseFrame, now: int) -> None:
        """Answer the first, so that the peer knows (s10.2.2 allows that), unless it is an answer itself."""
        was_closing = self.machine.state is State.CLOSING
        if not self._advance(Input.PEER_CLOSED, now):
            self._answer_rarely(now)
        elif was_closing:
            self._tell()
        else:
            self._events.push(Closed("peer", frame.error_code, frame.reason))
            self._begin_closing(now)

    def on_late_packet(self, now: int) -> None:
        """Answer what arrives after we closed with CONNECTION_CLOSE again, ever more rarely (s10.2.1)."""
        if self.machine.state is State.CLOSING:
            self._answer_rarely(now)

    def take_close(self, now: int) -> ConnectionCloseFrame | None:
        """The CONNECTION_CLOSE that is due."""
        if self._close_deadline is None or self._close_deadline > now:
            return None
        following = now + self._probe_timeout()
        is_repeated = self.machine.state is State.CLOSING and following < self._drain_deadline
        self._close_deadline = following if is_repeated else None
        return self._close_frame

    # The clock

    def handle_timeout(self, now: int) -> None:
        state = self.machine.state
        if state is State.CLOSING or state is State.DRAINING:
            if now >= self._drain_deadline:
                self._close_deadline = None
                self._advance(Input.DRAIN_TIMEOUT, now)
                self._tell()
        elif state is not State.CLOSED and self._quiet_max:
            if self._idle_timeout and now >= self._idle_deadline():
                self._advance(Input.IDLE_TIMEOUT, now)
                self._events.push(Closed("idle_timeout", 0, ""))
            elif not self._has_sent_since_receipt:
                self._keep_alive.on_quiet(self._idle_since, now)

    def next_timeout(self, other: int | None) -> int | None:
        """The earlier of `other` and when this is due."""
        if self.machine.state in ENDING:
            return self._end_deadline()  # recovery's deadlines mean nothing any more
        if not self._quiet_max or (other is not None and other <= self._idle_since + self._quiet_max):
            return other
        times = [other] if other is not None else []
        if self._idle_timeout:
            times.append(self._idle_deadline())
        if not self._has_sent_since_receipt and self._keep_alive.interval:
            times.append(self._keep_alive.deadline(self._idle_since))
        return min(times, default=None)

    def _end_deadline(self) -> int | None:
        if self.machine.state is State.CLOSED:
            return None
        if self._close_deadline is None:
            return self._drain_deadline
        return min(self._close_deadline, self._drain_deadline)

    def _idle_deadline(self) -> int:
        return self._idle_since + max(self._idle_timeout, IDLE_TIMEOUTS_MIN * self._probe_timeout())

    def _probe_timeout(self) -> int:
        """Never backed off, whatever timer repairs losses."""
        return self._rtt.probe_timeout(self._max_ack_delay)

    def _begin_closing(self, now: int) -> None:
        self._close_deadline = now
        self._drain_deadline = now + DRAIN_TIMEOUTS * self._probe_timeout()

    def _answer_rarely(self, now: int) -> None:
        self._late_packets += 1
        if self._late_packets & (self._late_packets - 1) == 0:
            self._close_deadline = now

    def _tell(self) -> None:
        if self._untold is not None:
            self._events.push(self._untold)
            self._untold = None

    def _advance(self, given: Input, now: int) -> bool:
        is_change = self.machine.advance(given)
        vantage = self._vantage
        if is_change and vantage.sink is not None:
            state = self.machine.state.value
            vantage.sink.emit(ConnectionStateUpdated(now, vantage.host, vantage.connection, state))
        return is_change
