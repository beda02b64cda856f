"""Paths: where datagrams go, and whether what lives there is the peer (RFC 9000 sections 8.2 and 9).

Only a client moves: its NAT gives it another port, or it its network another address. The server follows the newest
packet, sends little to the new address until it has answered a challenge, and goes back if it does not. Whoever only
copies packets to us from an address of his own gains three times what he sent, for as long as one probe time-out
lasts three times.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rudp_smtp.datagram import is_same_host
from rudp_smtp.draws import DrawKey
from rudp_smtp.recovery.recovery import PathEstimates, Recovery
from rudp_smtp.trace import MigrationStateUpdated, VantagePoint
from rudp_smtp.transport import Address, TransportStats
from rudp_smtp.transport.rudp.ecn import Marking
from rudp_smtp.transport.rudp.handshake import AMPLIFICATION_FACTOR
from rudp_smtp.transport.rudp.mtu import PathMtu
from rudp_smtp.wire.frames import Frame, PaddingFrame, PathChallengeFrame, PathResponseFrame, PingFrame
from rudp_smtp.wire.hello import MIN_DATAGRAM_SIZE

VALIDATION_TIMEOUTS = 3  # section 8.2.4: probe time-outs, of this path or of one nothing is known of
PATH_DATAGRAM_SIZE_MIN = 32  # octets: header, a frame of nine, PING and the check
CHALLENGES_RESERVED = 4 * PATH_DATAGRAM_SIZE_MIN  # octets of what an address may be sent that only challenges may use
RESPONSES_KEPT = 4  # challenges to be answered, the newest: who sends more at a time has to repeat himself

_PROBING = (PathChallengeFrame, PathResponseFrame, PaddingFrame)  # section 9.1; we have no NEW_CONNECTION_ID


@dataclass(slots=True)
class PathDatagram:
    """Frames that go alone: `size` is what to pad to."""

    frames: list[Frame]
    size: int


@dataclass(slots=True)
class Challenge:
    """An address that is to prove itself, by deadline; repeated as a lost INITIAL packet would be (section 8.2.1)."""

    target: Address
    due: int  # when it is sent, the first time or again
    interval: int
    give_up_time: int
    is_brief: bool  # the next is as small as can be
    tokens: list[int] = field(default_factory=list)  # each repetition has its own
    short_tokens: list[int] = field(default_factory=list)  # of these, sent in datagrams too small to prove the MTU


class Paths:
    """Owns the peer's address, the one to fall back to, challenges sent and responses owed."""

    __slots__ = (
        "_challenges",
        "_draw_count",
        "_draws",
        "_fallback",
        "_former",
        "_fresh_estimates",
        "_marking",
        "_max_ack_delay",
        "_mtu",
        "_octets_left",
        "_recovery",
        "_responses",
        "_stats",
        "_vantage",
        "arrival",
        "deadline",
        "is_due",
        "is_restricted",
        "remote",
        "target",
    )

    def __init__(
        self,
        *,
        remote: Address,
        max_ack_delay: int,
        fresh_estimates: Callable[[], PathEstimates],
        recovery: Recovery,
        mtu: PathMtu,
        marking: Marking,
        stats: TransportStats,
        vantage: VantagePoint,
        draws: DrawKey,
    ) -> None:
        self.remote = remote
        self.target = remote  # of the next datagram handed out
        self.arrival: tuple[Address, int] | None = (
            None  # whence the packet in hand came and its size, if from elsewhere
        )
        self.is_restricted = False  # the address has not answered yet
        self.is_due = False  # a datagram of ours waits
        self.deadline: int | None = None
        self._max_ack_delay = max_ack_delay
        self._fresh_estimates = fresh_estimates
        self._recovery = recovery
        self._mtu = mtu
        self._marking = marking
        self._stats = stats
        self._vantage = vantage
        self._draws = draws
        self._draw_count = 0
        self._octets_left = 0  # that may go to an address that has not answered
        self._fallback: Address | None = None  # the last address that was proven, while `remote` is not
        self._former: PathEstimates | None = None  # what was known of the way there, if `remote` is another host
        self._challenges: list[Challenge] = []  # at most one for `remote` and one for `_fallback`
        self._responses: deque[tuple[int, Address, int]] = deque(maxlen=RESPONSES_KEPT)  # token, whither, size

    # What arrives

    def on_peer_moved(self, remote: Address, size: int, now: int) -> None:
        """The newest packet, and no mere probe, came from another address (section 9.3)."""
        if remote == self._fallback:
            self._return(now)
            return
        former = self.remote
        self._octets_left = AMPLIFICATION_FACTOR * size
        is_hop = self.is_restricted  # who moves on without having proven where he was gets no full datagram for it
        if not self.is_restricted:
            self._fallback, self._former = former, None
        self._challenges = [challenge for challenge in self._challenges if challenge.target == self._fallback]
        if not is_same_host(former, remote):  # section 9.4: a NAT that gave out another port has not moved the path
            known = self._recovery.change_path(self._fresh_estimates(), now)
            if self._former is None:
                self._former = known
            self._mtu.restart(now)
        self.remote = self.target = remote
        self.is_restricted = True
        self._stats.migrations += 1
        self._marking.start(now)
        self._challenge(remote, now, is_brief=is_hop)
        # Section 9.3.3: if the peer still lives where it did, somebody else sent us its packet.
        assert self._fallback is not None
        if len(self._challenges) == 1:
            self._challenge(self._fallback, now)
        self._emit("migration_started", now)

    def on_received(self, size: int) -> None:
        """Only while restricted: what came from the address adds to what may go there."""
        self._octets_left += AMPLIFICATION_FACTOR * size

    def on_challenge(self, token: int) -> None:
        """Section 8.2.2: answer on the path it came by, once."""
        if self.arrival is None:
            self._responses.append((token, self.remote, MIN_DATAGRAM_SIZE))
        else:
            remote, size = self.arrival
            self._responses.append((token, remote, min(MIN_DATAGRAM_SIZE, AMPLIFICATION_FACTOR * size)))
        self.is_due = True

    def on_response(self, token: int, now: int) -> None:
        """Section 8.2.3: by whatever way it came. What answers no challenge of ours is an answer that came late."""
        for challenge in self._challenges:
            if token not in challenge.tokens:
                continue
            self._challenges.remove(challenge)
            if challenge.target == self.remote:
                self.is_restricted = False
                if token in challenge.short_tokens:
                    self._challenge(self.remote, now)  # section 8.2.1: and does it take datagrams of the base size?
                else:
                    self._complete(now)
            break
        self._set_deadline()

    # The clock

    def on_timeout(self, now: int) -> None:
        """Repeat challenges that are due; give up those that were not answered in time."""
        for challenge in self._challenges[:]:
            if now >= challenge.give_up_time:
                self._challenges.remove(challenge)
                if challenge.target == self.remote:
                    self._emit("migration_abandoned", now)
                    self._return(now)
                    break
            elif now >= challenge.due:
                self.is_due = True
        self._set_deadline()

    # What leaves

    @property
    def allowance(self) -> int:
        """Octets that may go to the address; only while restricted."""
        return self._octets_left

    @property
    def spare_allowance(self) -> int:
        """Of these, what repetitions of the challenge can do without: the address stays unproven if they are lost, and
        a peer that only listens says nothing that would allow us more."""
        return self._octets_left - CHALLENGES_RESERVED

    def on_sent(self, size: int) -> None:
        """Only while restricted."""
        if self.target == self.remote:
            self._octets_left -= size

    def take(self, now: int) -> PathDatagram | None:
        """The next datagram of this connection's paths, if one is due; it goes to `target`."""
        while self._responses:
            token, target, size = self._responses[0]
            frames: list[Frame] = [PathResponseFrame(token)]
            if target == self.remote:
                size = self._affordable(size)
                frames.append(PingFrame())  # section 9.3.3: no mere probe, so it brings us back if we were led astray
            if not self._has_room(size):
                break
            self._responses.popleft()
            if size >= PATH_DATAGRAM_SIZE_MIN:
                self.target = target
                return PathDatagram(frames, size)
        for challenge in self._challenges:
            if challenge.due <= now:
                challenge.due = now + challenge.interval
                size = self._challenge_size(challenge)
                if size:
                    challenge.interval *= 2
                    return self._take_challenge(challenge, size)
        self.is_due = bool(self._responses)
        self.target = self.remote
        self._set_deadline()
        return None

    def _has_room(self, size: int) -> bool:
        """Section 8.2.2: congestion control may hold answers back, until an acknowledgement makes room for them before
        anything else. Challenges leave as probes do (RFC 9002 section 6.2.4), by their timer and two at a time at most:
        what fills the window may be lost with the path it went by."""
        recovery = self._recovery
        return recovery.sent.bytes_in_flight + size <= recovery.congestion.congestion_window

    def _take_challenge(self, challenge: Challenge, size: int) -> PathDatagram:
        token = self._draws.draw(self._draw_count)
        self._draw_count += 1
        challenge.tokens.append(token)
        if size < MIN_DATAGRAM_SIZE:
            challenge.short_tokens.append(token)
        self.target = challenge.target
        return PathDatagram([PathChallengeFrame(token)], size)

    def _challenge_size(self, challenge: Challenge) -> int:
        """Section 8.2.1: as large as the path must carry. Where that much may not be sent, padding buys nothing, and
        takes away what repetitions need; 0 where nothing may be sent."""
        if challenge.target == self.remote and self.is_restricted:
            if self._octets_left < PATH_DATAGRAM_SIZE_MIN:
                return 0
            if challenge.is_brief or self._octets_left < MIN_DATAGRAM_SIZE:
                challenge.is_brief = False
                return PATH_DATAGRAM_SIZE_MIN
        return MIN_DATAGRAM_SIZE

    def _affordable(self, size: int) -> int:
        return min(size, self._octets_left) if self.is_restricted else size

    # Steps

    def _challenge(self, target: Address, now: int, *, is_brief: bool = False) -> None:
        timeout = self._recovery.rtt.probe_timeout(self._max_ack_delay)
        unknown = self._fresh_estimates().rtt.probe_timeout(self._max_ack_delay)
        give_up_time = now + VALIDATION_TIMEOUTS * max(timeout, unknown)
        self._challenges.append(Challenge(target, now, timeout, give_up_time, is_brief))
        self.is_due = True
        self._set_deadline()

    def _complete(self, now: int) -> None:
        self._fallback = self._former = None
        self._emit("migration_complete", now)

    def _return(self, now: int) -> None:
        """Back to the last address that was proven; nothing has to be proven again (section 9.3)."""
        assert self._fallback is not None
        self.remote = self.target = self._fallback
        self.is_restricted = False
        self._challenges = []
        if self._former is not None:
            self._recovery.change_path(self._former, now)
            self._mtu.restart(now)
        self._fallback = self._former = None
        self._marking.start(now)
        self._set_deadline()

    def _set_deadline(self) -> None:
        times = [min(challenge.due, challenge.give_up_time) for challenge in self._challenges]
        self.deadline = min(times, default=None)

    def _emit(self, state: str, now: int) -> None:
        vantage = self._vantage
        if vantage.sink is not None:
            vantage.sink.emit(MigrationStateUpdated(now, vantage.host, vantage.connection, state))


def is_probing(frames: list[Frame]) -> bool:
    """Whether a packet only asks whether a path works, and moves nobody (section 9.1)."""
    return all(isinstance(frame, _PROBING) for frame in frames)
