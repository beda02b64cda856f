"""What the relay decides, and a queue that it empties over virtual days."""

from collections.abc import Callable
from email import message_from_bytes
from itertools import count
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.mail.dsn import Action
from rudp_smtp.mail.notices import Notifier
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import DueRecipient, Recipient, Submission
from rudp_smtp.mail.relay import EXPIRED, HOUR, MINUTE, Attempt, Fate, Relay, RelayLimits, RetrySchedule
from rudp_smtp.mail.spool import Receipt
from rudp_smtp.mail.state import RecipientInput
from rudp_smtp.smtp.events import DeliveryReport, Outcome
from rudp_smtp.smtp.replies import Reply
from rudp_smtp.units import SECOND

NOW = 1_700_000_000 * SECOND
DAY = 24 * HOUR
DELIVER, DEFER, FAIL = RecipientInput.DELIVER, RecipientInput.DEFER, RecipientInput.FAIL
OK = Reply(250, ("2.0.0 ok",))
LATER = Reply(450, ("4.2.1 later",))
NEVER = Reply(550, ("5.1.1 no such user",))
CLOSED = Reply(421, ("4.3.2 closing",))
STEADY = RetrySchedule(jitter_percent=0)


def domain(forward_path: str) -> str:
    return forward_path.partition("@")[2]


def relay(schedule: RetrySchedule = STEADY, **limits: int) -> Relay:
    return Relay(route=domain, draws=DrawKey(1, "relay"), schedule=schedule, limits=RelayLimits(**limits))


def due(
    number: int,
    path: str = "u@b.example",
    *,
    message: int = 1,
    attempts: int = 0,
    age: int = 0,
    is_tls_optional: bool = False,
) -> DueRecipient:
    return DueRecipient(
        message_id=message,
        recipient_id=number,
        forward_path=path,
        attempts=attempts,
        next_attempt=NOW,
        arrived_at=NOW - age,
        is_delay_told=False,
        is_tls_optional=is_tls_optional,
    )


def report(attempt: Attempt, decision: Reply, **refused: Reply) -> DeliveryReport:
    """As the client makes it: who is named by his local part was refused at RCPT."""
    replies = {r.forward_path: refused.get(r.forward_path[0], decision) for r in attempt.recipients}
    outcome = (
        Outcome.ACCEPTED if decision.is_positive else Outcome.DEFERRED if decision.is_transient else Outcome.REFUSED
    )
    accepted = tuple(path for path, reply in replies.items() if reply.is_positive)
    return DeliveryReport(
        0, outcome, accepted, tuple((p, r) for p, r in replies.items() if not r.is_positive), decision
    )


def lost(attempt: Attempt, outcome: Outcome) -> DeliveryReport:
    reply = Reply(451, ("4.4.2 the session ended",))
    paths = tuple(recipient.forward_path for recipient in attempt.recipients)
    return DeliveryReport(0, outcome, (), tuple((path, reply) for path in paths), reply, True, paths)


def happenings(fates: tuple[Fate, ...]) -> list[RecipientInput]:
    return [fate.result.happening for fate in fates]


def test_a_login_that_is_refused_is_no_word_about_the_mail() -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1)], NOW).attempts
    refusal = Reply(535, ("5.7.8 credentials invalid",))
    unsent = DeliveryReport(0, Outcome.UNSENT, (), (("u@b.example", refusal),), refusal)
    (fate,) = subject.on_report(attempt, unsent, NOW, success=None)
    assert (fate.result.happening, fate.result.reply) == (DEFER, "535 5.7.8 credentials invalid")
    assert subject.plan([due(2)], NOW + SECOND).attempts == (), "nor is another message tried with it at once"


def test_a_host_that_refuses_service_is_no_word_about_the_mail() -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1, age=4 * HOUR)], NOW).attempts
    refusal = Reply(554, ("5.3.2 no service",))
    unsent = DeliveryReport(0, Outcome.UNSENT, (), (("u@b.example", refusal),), refusal)
    (fate,) = subject.on_report(attempt, unsent, NOW, success=None)
    assert (fate.result.happening, fate.result.reply, fate.is_local) == (DEFER, "554 5.3.2 no service", False)
    assert (fate.action, fate.status) == (Action.DELAYED, "4.3.2"), "its first digit says that it is tried again"
    put_off = subject.plan([due(2, age=4 * HOUR)], NOW + SECOND)
    assert put_off.attempts == (), "nor is another message tried at once"
    (fate,) = put_off.fates
    assert (fate.result.reply, fate.status, fate.is_local) == ("554 5.3.2 no service", "4.3.2", False)
    (attempt,) = subject.plan([due(1, age=5 * DAY)], NOW + HOUR).attempts
    (fate,) = subject.on_report(attempt, unsent, NOW + HOUR, success=None)
    assert (fate.action, fate.status, fate.result.reply) == (Action.FAILED, EXPIRED, "554 5.3.2 no service")


def test_where_tls_fails_what_can_do_without_is_tried_all_the_same() -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1)], NOW).attempts
    (fate,) = subject.on_report(attempt, lost(attempt, Outcome.UNSENT), NOW, success=None)
    assert fate.result.happening is DEFER
    plan = subject.plan([due(2, message=2), due(3, message=3, is_tls_optional=True)], NOW + SECOND)
    assert [attempt.message_id for attempt in plan.attempts] == [3]
    assert [fate.message_id for fate in plan.fates] == [2]
    subject.on_report(plan.attempts[0], report(plan.attempts[0], OK), NOW + SECOND, success=None)
    assert subject.plan([due(2, message=2)], NOW + 2 * SECOND).attempts == (), "and its way says nothing of the other"


def test_recipients_of_a_message_that_go_one_way_share_a_transaction() -> None:
    recipients = [
        due(1, "a@b.example"), due(2, "c@d.example"), due(3, "e@b.example"), due(4, "f@b.example", message=2)
    ]  # fmt: skip
    attempts = relay().plan(recipients, NOW).attempts
    assert [(a.hop, a.message_id, [r.recipient_id for r in a.recipients]) for a in attempts] == [
        ("b.example", 1, [1, 3]),
        ("d.example", 1, [2]),
        ("b.example", 2, [4]),
    ]


def test_a_transaction_has_no_more_recipients_than_the_limit() -> None:
    attempts = relay(recipients=2).plan([due(number) for number in range(5)], NOW).attempts
    assert [len(attempt.recipients) for attempt in attempts] == [2, 2, 1]


def test_no_more_attempts_than_the_limits_and_nobody_twice_at_one_time() -> None:
    subject = relay(attempts=3, attempts_per_hop=2)
    recipients = [due(number, message=number) for number in range(3)] + [
        due(number, "u@d.example", message=number) for number in range(3, 6)
    ]
    first = subject.plan(recipients, NOW).attempts
    assert [attempt.message_id for attempt in first] == [0, 1, 3]
    assert subject.plan(recipients, NOW).attempts == ()
    subject.on_report(first[0], report(first[0], OK), NOW, success=None)
    assert [attempt.message_id for attempt in subject.plan(recipients[1:], NOW).attempts] == [2]
    assert subject.attempts_under_way == 3


@pytest.mark.parametrize(
    ("decision", "happening", "status"),
    [
        (OK, DELIVER, "2.0.0"),
        (LATER, DEFER, "4.2.1"),
        (NEVER, FAIL, "5.1.1"),
        (Reply(299), DELIVER, "2.0.0"),
        (Reply(499), DEFER, "4.0.0"),
        (Reply(599), FAIL, "5.0.0"),
        (CLOSED, DEFER, "4.3.2"),
    ],
)
def test_a_reply_means_what_its_first_digit_means(decision: Reply, happening: RecipientInput, status: str) -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1)], NOW).attempts
    (fate,) = subject.on_report(attempt, report(attempt, decision), NOW, success=None)
    assert (fate.result.happening, fate.status) == (happening, status)
    assert fate.result.reply == str(decision)
    assert fate.hop == "b.example"


def test_each_recipient_is_judged_by_its_own_reply() -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1, "a@b.example"), due(2, "l@b.example"), due(3, "n@b.example")], NOW).attempts
    fates = subject.on_report(attempt, report(attempt, OK, l=LATER, n=NEVER), NOW, success=Action.RELAYED)
    assert happenings(fates) == [DELIVER, DEFER, FAIL]
    assert [fate.action for fate in fates] == [Action.RELAYED, None, Action.FAILED]


@pytest.mark.parametrize("code", [452, 552])
def test_who_was_too_many_goes_in_the_next_transaction_at_once(code: int) -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1, "a@b.example"), due(2, "x@b.example")], NOW).attempts
    _, fate = subject.on_report(attempt, report(attempt, OK, x=Reply(code)), NOW, success=None)
    assert (fate.result.happening, fate.result.next_attempt) == (DEFER, NOW)
    (alone,) = subject.plan([due(2, "x@b.example")], NOW).attempts
    (fate,) = subject.on_report(alone, report(alone, Reply(code)), NOW, success=None)
    assert fate.result.next_attempt > NOW or fate.result.happening is FAIL


@pytest.mark.parametrize("outcome", [Outcome.UNSENT, Outcome.UNCONFIRMED])
def test_a_session_that_broke_off_is_tried_again_later(outcome: Outcome) -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1)], NOW).attempts
    (fate,) = subject.on_report(attempt, lost(attempt, outcome), NOW, success=None)
    assert (fate.result.happening, fate.result.next_attempt) == (DEFER, NOW + 5 * MINUTE)


@pytest.mark.parametrize("outcome", [Outcome.UNSENT, Outcome.UNCONFIRMED])
@pytest.mark.parametrize("ended_by", [Reply(451, ("4.4.2 the session ended",)), CLOSED])
def test_who_was_refused_for_good_before_the_session_broke_off_is_not_tried_again(
    outcome: Outcome, ended_by: Reply
) -> None:
    subject = relay()
    (attempt,) = subject.plan([due(1, "n@b.example"), due(2, "u@b.example")], NOW).attempts
    refused = (("n@b.example", NEVER), ("u@b.example", ended_by))
    is_local = ended_by is not CLOSED
    broken = DeliveryReport(0, outcome, (), refused, ended_by, is_local, ("u@b.example",) if is_local else ())
    fates = subject.on_report(attempt, broken, NOW, success=None)
    assert [(fate.result.happening, fate.status) for fate in fates] == [(FAIL, "5.1.1"), (DEFER, ended_by.status)]
    assert [fate.action for fate in fates] == [Action.FAILED, None]


def test_who_is_left_for_another_session_goes_in_it_at_once_whatever_became_of_the_others() -> None:
    subject = relay()
    paths = ("a@b.example", "n@b.example", "u@b.example")
    (attempt,) = subject.plan([due(number, path) for number, path in enumerate(paths)], NOW).attempts
    limit = Reply(451, ("4.5.3 the server takes no more than 1 messages in a session",))
    refused = (("n@b.example", Reply(550, ("no",))), ("u@b.example", limit))
    told = DeliveryReport(0, Outcome.ACCEPTED, paths[:1], refused, OK, False, paths[2:])
    fates = subject.on_report(attempt, told, NOW, success=None)
    assert happenings(fates) == [DELIVER, FAIL, DEFER]
    assert fates[1].status == "5.0.0"
    assert fates[2].result.next_attempt == NOW


def test_a_destination_that_does_not_answer_is_asked_once_at_growing_distances() -> None:
    subject = relay()
    moment, waits = NOW, []
    for _ in range(9):
        waiting = [due(number, message=number, attempts=1) for number in range(4)]
        plan = subject.plan(waiting, moment)
        assert [attempt.message_id for attempt in plan.attempts] == ([0, 1, 2, 3] if moment == NOW else [0])
        for attempt in plan.attempts[1:]:
            subject.on_report(attempt, report(attempt, LATER), moment, success=None)
        subject.on_unreachable(plan.attempts[0], "no answer", moment)
        put_off = subject.plan(waiting[1:], moment + SECOND)
        assert put_off.attempts == ()
        assert [(fate.result.is_attempt, fate.result.reply) for fate in put_off.fates] == [(False, "no answer")] * 3
        assert all(fate.is_local for fate in put_off.fates), "nobody has said so"
        (until,) = {fate.result.next_attempt for fate in put_off.fates}
        waits.append((until - moment) // MINUTE)
        moment = until
    assert waits == [5, 10, 20, 40, 80, 160, 240, 240, 240]
    (attempt,) = subject.plan([due(9)], moment).attempts
    subject.on_report(attempt, report(attempt, OK), moment, success=None)
    assert len(subject.plan([due(n, message=n) for n in range(10, 14)], moment).attempts) == 4


def test_what_failed_together_does_not_come_back_together_and_the_draws_are_the_callers() -> None:
    def next_attempts(seed: int) -> list[int]:
        subject = Relay(route=domain, draws=DrawKey(seed, "relay"))
        plan = subject.plan([due(number, message=number, attempts=3) for number in range(5)], NOW)
        fates = [subject.on_report(a, report(a, LATER), NOW, success=None)[0] for a in plan.attempts]
        return [fate.result.next_attempt for fate in fates]

    times = next_attempts(1)
    assert len(set(times)) == 5
    assert all(NOW + 40 * MINUTE <= time <= NOW + 50 * MINUTE for time in times)
    assert next_attempts(1) == times
    assert next_attempts(2) != times


def test_who_waited_too_long_is_told_and_given_up_in_the_end() -> None:
    subject = relay()

    def deferred(age: int) -> Fate:
        (attempt,) = subject.plan([due(1, age=age)], NOW).attempts
        (fate,) = subject.on_report(attempt, report(attempt, LATER), NOW, success=None)
        return fate

    assert deferred(4 * HOUR - 1).action is None
    warned = deferred(4 * HOUR)
    assert (warned.action, warned.result.is_delay_told, warned.result.happening) == (Action.DELAYED, True, DEFER)
    last = deferred(5 * DAY - MINUTE)
    assert last.result.next_attempt == NOW + MINUTE
    over = deferred(5 * DAY)
    assert (over.action, over.status, over.result.happening) == (Action.FAILED, EXPIRED, FAIL)
    assert over.result.reply == "450 4.2.1 later"


class Outside:
    """The queue, the relay, and a world of next hops that answer as they are told; time is a number."""

    def __init__(self, path: Path, answer: Callable[[Attempt, int], DeliveryReport | str]) -> None:
        tokens = count()
        self.now = NOW
        self.answer = answer
        self.queue = Queue(path, identity="test")
        self.relay = relay()
        self.notifier = Notifier(
            self.queue, self.relay, domain="mx.example", token=lambda: f"token{next(tokens)}", host_of=str
        )
        self.delivered: list[tuple[str, str, bytes]] = []

    def send(self, sender: str, *recipients: Recipient) -> None:
        draft = self.queue.begin(Submission(reverse_path=sender, recipients=recipients, returns="FULL"))
        draft.write(b"Subject: x\r\n\r\ntext\r\n")
        (outcome,) = self.queue.commit([draft], self.now)
        assert isinstance(outcome, Receipt)

    def run(self) -> None:
        """Until the queue is empty."""
        while (moment := self.queue.index.next_due()) is not None:
            self.now = max(self.now, moment)
            plan = self.relay.plan(self.queue.index.due(self.now), self.now)
            fates = list(plan.fates)
            for attempt in plan.attempts:
                fates += self._try(attempt)
            self.notifier.settle(fates, self.now)

    def _try(self, attempt: Attempt) -> tuple[Fate, ...]:
        said = self.answer(attempt, self.now)
        if isinstance(said, str):
            return self.relay.on_unreachable(attempt, said, self.now)
        mail = self.queue.index.mail(attempt.message_id)
        assert mail is not None
        body = b"".join(self.queue.index.body(attempt.message_id))
        self.delivered += [(mail.submission.reverse_path, path, body) for path in said.accepted]
        return self.relay.on_report(attempt, said, self.now, success=Action.RELAYED)


def actions(octets: bytes) -> list[tuple[str, str, str]]:
    message = message_from_bytes(octets)
    return [(str(b["Final-Recipient"]), str(b["Action"]), str(b["Status"])) for b in message.walk() if b["Action"]]


def test_a_message_with_every_kind_of_recipient_ends_with_one_notice_of_each_kind(tmp_path: Path) -> None:
    def answer(attempt: Attempt, now: int) -> DeliveryReport | str:
        if attempt.hop == "a.example":
            return report(attempt, OK)
        return report(attempt, OK, n=NEVER, l=OK if now >= NOW + 6 * HOUR else LATER)

    outside = Outside(tmp_path / "q", answer)
    both = ("SUCCESS", "FAILURE", "DELAY")
    recipients = [Recipient(path, both) for path in ("o@b.example", "n@b.example", "m@b.example", "l@b.example")]
    outside.send("s@a.example", *recipients, Recipient("nobody@b.example", ("NEVER",)))
    outside.run()
    told = [actions(body) for sender, path, body in outside.delivered if (sender, path) == ("", "s@a.example")]
    assert told == [
        [("rfc822; n@b.example", "failed", "5.1.1")],
        [("rfc822; o@b.example", "relayed", "2.0.0"), ("rfc822; m@b.example", "relayed", "2.0.0")],
        [("rfc822; l@b.example", "delayed", "4.2.1")],
        [("rfc822; l@b.example", "relayed", "2.0.0")],
    ]
    assert sorted(path[0] for sender, path, _ in outside.delivered if sender) == ["l", "m", "o"]
    assert all(body == b"Subject: x\r\n\r\ntext\r\n" for sender, _, body in outside.delivered if sender)
    assert list((tmp_path / "q" / "bodies").iterdir()) == []
    outside.queue.close()


def test_a_destination_that_stays_down_ends_in_one_warning_and_one_bounce(tmp_path: Path) -> None:
    asked: list[int] = []

    def answer(attempt: Attempt, now: int) -> DeliveryReport | str:
        if attempt.hop == "a.example":
            return report(attempt, OK)
        asked.append(now)
        return "connection refused"

    outside = Outside(tmp_path / "q", answer)
    for _ in range(5):
        outside.send("s@a.example", Recipient("u@down.example"))
    outside.run()
    kinds = [actions(body)[0][1:] for _, path, body in outside.delivered]
    assert kinds.count(("delayed", "4.4.1")) == kinds.count(("failed", EXPIRED)) == 5
    assert len(kinds) == 10
    assert 5 * DAY <= outside.now - NOW <= 5 * DAY + HOUR
    assert len(asked) < 60
    outside.queue.close()


def test_a_bounce_that_cannot_be_delivered_is_not_bounced(tmp_path: Path) -> None:
    outside = Outside(tmp_path / "q", lambda attempt, now: report(attempt, NEVER))
    outside.send("s@a.example", Recipient("u@b.example"))
    outside.send("", Recipient("u@b.example", ("FAILURE",)))
    outside.run()
    assert outside.delivered == []
    assert outside.now == NOW
    assert list(outside.queue.index.listing()) == []
    outside.queue.close()
