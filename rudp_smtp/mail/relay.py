"""Who is tried next, where and when, and what a reply means. Decides only: no clock, no sockets, no files.

RFC 5321 section 4.5.4.1 is the frame: a recipient that was put off is tried again with growing delays and given up
after days; a destination that does not answer is not asked again for each message; recipients of one message that go
the same way share a transaction.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.mail.dsn import Action
from rudp_smtp.mail.queued import DueRecipient, Result
from rudp_smtp.mail.state import RecipientInput
from rudp_smtp.smtp.events import DeliveryReport, Outcome
from rudp_smtp.smtp.replies import SERVICE_CLOSING, Reply
from rudp_smtp.units import SECOND

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
DOUBLINGS_MAX = 32
TOO_MANY_RECIPIENTS = (452, 552)  # RFC 5321 section 4.5.3.1.10: the others go in another transaction
EXPIRED = "4.4.7"  # RFC 3463 section 3.5: delivery time expired
NO_ANSWER = "4.4.1"
ANOTHER_SESSION = "4.5.3"  # the client's word for those whom the server's limit on a session leaves for the next
UNREADABLE = "4.3.0"  # RFC 3463 section 3.4: other or undefined mail system status

Route = Callable[[str], str]  # a forward-path -> the next hop, whatever the driver calls it
Way = tuple[str, bool]  # a next hop, and whether TLS may fail there: what comes of the one says nothing of the other


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """Delays double from the first to the longest; a draw lengthens each, so that what failed together parts."""

    delay_first: int = 5 * MINUTE
    delay_max: int = 4 * HOUR
    jitter_percent: int = 25
    give_up_after: int = 5 * 24 * HOUR  # RFC 5321 section 4.5.4.1: generally at least 4-5 days
    warn_after: int = 4 * HOUR

    def delay(self, attempt: int, draws: DrawKey) -> int:
        """How long to wait after the attempt of this number, the first is 1."""
        delay = min(self.delay_first << min(attempt - 1, DOUBLINGS_MAX), self.delay_max)
        return delay + draws.below(attempt, delay * self.jitter_percent // 100 + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    attempts: int = 500  # at one time
    attempts_per_hop: int = 100  # over a few sessions, which is how many a driver holds
    recipients: int = 100  # in one transaction: RFC 5321 section 4.5.3.1.8, what every server must take


@dataclass(frozen=True, slots=True)
class Attempt:
    """One transaction to be tried now."""

    hop: str
    message_id: int
    recipients: tuple[DueRecipient, ...]

    @property
    def is_tls_optional(self) -> bool:
        return self.recipients[0].is_tls_optional

    @property
    def way(self) -> Way:
        return self.hop, self.is_tls_optional


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a recipient, for the queue, and what a notice may have to say of it."""

    message_id: int
    result: Result
    action: Action | None = None  # None: no notice, whatever was asked for
    status: str = ""
    hop: str = ""
    is_local: bool = False  # nobody said the result's reply: it is what we found


@dataclass(frozen=True, slots=True)
class Plan:
    """`fates`: of those who are not tried because their destination is down."""

    attempts: tuple[Attempt, ...]
    fates: tuple[Fate, ...]


@dataclass(slots=True)
class _Hop:
    attempts: int = 0  # under way
    failures: int = 0  # to reach it, one after another
    retry_at: int = 0
    last: "_Judgement | None" = None  # of the failures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    happening: RecipientInput
    reply: str
    status: str
    is_local: bool
    is_next_at_once: bool = False


class Relay:
    """Owns what is under way and what is known of each next hop. Times are ns since the Unix epoch.

    `plan` says what to try; each Attempt is answered by `on_report` or `on_unreachable`, once. The driver gives the
    fates to the queue before it asks for another plan.
    """

    def __init__(
        self, *, route: Route, draws: DrawKey, schedule: RetrySchedule | None = None, limits: RelayLimits | None = None
    ) -> None:
        self._route = route
        self._draws = draws
        self._schedule = schedule or RetrySchedule()
        self._limits = limits or RelayLimits()
        self._hops: dict[Way, _Hop] = {}
        self._under_way: set[int] = set()  # recipients

    @property
    def attempts_under_way(self) -> int:
        return sum(hop.attempts for hop in self._hops.values())

    def plan(self, due: Iterable[DueRecipient], now: int) -> Plan:
        """What to try of those who are due, in their order, as far as the limits go."""
        self._forget_hops(now)
        groups: dict[tuple[str, int], list[DueRecipient]] = {}
        fates = []
        for recipient in due:
            if recipient.recipient_id in self._under_way:
                continue
            name = self._route(recipient.forward_path)
            hop = self._hops.get((name, recipient.is_tls_optional))
            if hop is not None and hop.failures and now < hop.retry_at:
                fates.append(self._put_off(recipient, name, hop, now))
            else:
                groups.setdefault((name, recipient.message_id), []).append(recipient)
        attempts: list[Attempt] = []
        for (name, message_id), recipients in groups.items():
            for start in range(0, len(recipients), self._limits.recipients):
                attempt = Attempt(name, message_id, tuple(recipients[start : start + self._limits.recipients]))
                if self._has_room(attempt.way):
                    attempts.append(self._begin(attempt))
        return Plan(tuple(attempts), tuple(fates))

    def on_report(
        self, attempt: Attempt, report: DeliveryReport, now: int, *, success: Action | None
    ) -> tuple[Fate, ...]:
        """What the next hop said. `success`: what a notice of success says, None if the next hop sends it."""
        is_lost = report.outcome in (Outcome.UNSENT, Outcome.UNCONFIRMED) or report.reply.code == SERVICE_CLOSING
        is_lost = is_lost and not _is_for_another_session(report)
        whole = self._judge(report.reply, report, is_local=report.is_local)
        self._end(attempt, whole if is_lost else None, now)
        judgements = {
            path: self._judge(reply, report, is_local=path in report.refused_here) for path, reply in report.refused
        }
        return tuple(
            self._fate(attempt, recipient, judgements.get(recipient.forward_path, whole), now, success)
            for recipient in attempt.recipients
        )

    def on_unreachable(self, attempt: Attempt, reason: str, now: int) -> tuple[Fate, ...]:
        """No session with the next hop came about."""
        judgement = _found(reason, NO_ANSWER)
        self._end(attempt, judgement, now)
        return tuple(self._fate(attempt, recipient, judgement, now, None) for recipient in attempt.recipients)

    def on_unreadable(self, attempt: Attempt, reason: str, now: int) -> tuple[Fate, ...]:
        """Our own disk did not give the message: no word against the next hop."""
        self._release(attempt)
        judgement = _found(reason, UNREADABLE)
        return tuple(self._fate(attempt, recipient, judgement, now, None) for recipient in attempt.recipients)

    def on_gone(self, attempt: Attempt) -> None:
        """An operator has removed the message since the plan was made."""
        self._release(attempt)

    def _judge(self, reply: Reply, report: DeliveryReport, *, is_local: bool) -> _Judgement:
        is_next_at_once = is_local and reply.status == ANOTHER_SESSION
        status = reply.status
        if report.outcome in (Outcome.UNSENT, Outcome.UNCONFIRMED):
            # The session is over: what was said of single recipients before counts if it is for good. A host that will
            # not even hear of the mail may be mended before that is given up: Postfix's smtp_skip_5xx_greeting.
            is_final = reply.is_permanent and not is_local and not report.refuses_service
            happening = RecipientInput.FAIL if is_final else RecipientInput.DEFER
        elif reply.code in TOO_MANY_RECIPIENTS and report.outcome is Outcome.ACCEPTED:
            happening, status, is_next_at_once = RecipientInput.DEFER, reply.status or "4.5.3", True
        elif reply.is_positive:
            happening = RecipientInput.DELIVER
        else:
            happening = RecipientInput.FAIL if reply.is_permanent else RecipientInput.DEFER
        status = status or f"{reply.code // 100}.0.0"
        if happening is RecipientInput.DEFER:  # RFC 3463 section 2: not permanent, whatever the reply says of it
            status = f"4{status[1:]}"
        return _Judgement(
            happening=happening, reply=str(reply), status=status, is_local=is_local, is_next_at_once=is_next_at_once
        )

    def _fate(
        self, attempt: Attempt, recipient: DueRecipient, judgement: _Judgement, now: int, success: Action | None
    ) -> Fate:
        name = attempt.hop
        if judgement.happening is RecipientInput.DEFER:
            wait = self._schedule.delay(recipient.attempts + 1, self._draws.derive(str(recipient.recipient_id)))
            next_attempt = now if judgement.is_next_at_once else now + wait
            return self._defer(recipient, name, judgement, now, next_attempt)
        action = Action.FAILED if judgement.happening is RecipientInput.FAIL else success
        result = Result(recipient.recipient_id, judgement.happening, judgement.reply)
        return Fate(
            message_id=recipient.message_id,
            result=result,
            action=action,
            status=judgement.status,
            hop=name,
            is_local=judgement.is_local,
        )

    def _put_off(self, recipient: DueRecipient, name: str, hop: _Hop, now: int) -> Fate:
        assert hop.last is not None, "it has failed"
        return self._defer(recipient, name, hop.last, now, hop.retry_at, is_attempt=False)

    def _defer(
        self,
        recipient: DueRecipient,
        name: str,
        judgement: _Judgement,
        now: int,
        next_attempt: int,
        *,
        is_attempt: bool = True,
    ) -> Fate:
        """Try again later, for the last time when its time is over; then give up."""
        over = recipient.arrived_at + self._schedule.give_up_after
        happening, action, status, is_delay_told = RecipientInput.DEFER, None, judgement.status, False
        if now >= over:
            happening, action, status = RecipientInput.FAIL, Action.FAILED, EXPIRED
        elif now >= recipient.arrived_at + self._schedule.warn_after and not recipient.is_delay_told:
            action, is_delay_told = Action.DELAYED, True
        result = Result(
            recipient.recipient_id,
            happening,
            judgement.reply,
            min(next_attempt, over),
            is_attempt=is_attempt,
            is_delay_told=is_delay_told,
        )
        return Fate(
            message_id=recipient.message_id,
            result=result,
            action=action,
            status=status,
            hop=name,
            is_local=judgement.is_local,
        )

    def retried_until(self, arrived_at: int) -> int:
        """When a message that came at this time is given up."""
        return arrived_at + self._schedule.give_up_after

    def _has_room(self, way: Way) -> bool:
        """One that did not answer the last time gets one attempt, and all of them when that went well."""
        hop = self._hops.get(way)
        if self.attempts_under_way >= self._limits.attempts:
            return False
        return hop is None or hop.attempts < (1 if hop.failures else self._limits.attempts_per_hop)

    def _begin(self, attempt: Attempt) -> Attempt:
        self._hops.setdefault(attempt.way, _Hop()).attempts += 1
        self._under_way.update(recipient.recipient_id for recipient in attempt.recipients)
        return attempt

    def _end(self, attempt: Attempt, failure: _Judgement | None, now: int) -> None:
        hop = self._release(attempt)
        hop.last = failure
        if failure is None:
            hop.failures = 0
        elif not hop.failures or now >= hop.retry_at:  # what failed together failed once
            hop.failures += 1
            hop.retry_at = now + self._schedule.delay(hop.failures, self._draws.derive("hop", attempt.hop))

    def _release(self, attempt: Attempt) -> _Hop:
        hop = self._hops[attempt.way]
        hop.attempts -= 1
        self._under_way.difference_update(recipient.recipient_id for recipient in attempt.recipients)
        return hop

    def _forget_hops(self, now: int) -> None:
        """Those that answer, and those that nobody has asked for longer than any delay."""
        old = now - self._schedule.delay_max
        self._hops = {
            way: hop for way, hop in self._hops.items() if hop.attempts or (hop.failures and hop.retry_at > old)
        }


def _found(reason: str, status: str) -> _Judgement:
    """Nobody was asked: we could not."""
    return _Judgement(happening=RecipientInput.DEFER, reply=reason, status=status, is_local=True)


def _is_for_another_session(report: DeliveryReport) -> bool:
    """The server takes no more messages in this one (RFC 9422 section 4.1): no word against it."""
    return report.is_local and report.outcome is Outcome.UNSENT and report.reply.status == ANOTHER_SESSION
