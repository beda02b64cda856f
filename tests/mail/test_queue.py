"""The queue in good weather: what it keeps, what operators may do, and a plain model of it under random operations."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from rudp_smtp.errors import KeyConflict, LocalProtocolError, MailboxError
from rudp_smtp.mail.queue import Queue, Recovered
from rudp_smtp.mail.queue_index import QueueIndex
from rudp_smtp.mail.queued import QueuedMail, Recipient, Result, Settlement, Submission
from rudp_smtp.mail.spool import SPILL_OCTETS, Draft, Receipt
from rudp_smtp.mail.state import TRANSITIONS, RecipientInput, RecipientState, is_final
from rudp_smtp.units import SECOND
from tests.mail.disks import WeakDisk

NOW = 1_700_000_000 * SECOND
DAY = 86_400 * SECOND
FRONT = b"Received: from here\r\n"


def submission(*paths: str, key: str = "", sender: str = "s@a.example") -> Submission:
    return Submission(reverse_path=sender, recipients=tuple(map(Recipient, paths or ("u@b.example",))), key=key)


def put(queue: Queue, about: Submission, octets: bytes = b"text\r\n", now: int = NOW) -> Receipt | MailboxError:
    draft = queue.begin(about, FRONT)
    draft.write(octets)
    (outcome,) = queue.commit([draft], now)
    return outcome


def only(queue: Queue) -> QueuedMail:
    (mail,) = queue.index.listing()
    return mail


def states(queue: Queue) -> list[tuple[str, str]]:
    return [
        (queued.recipient.forward_path[0], queued.state.value)
        for mail in queue.index.listing()
        for queued in mail.recipients
    ]


def body(queue: Queue, message_id: int) -> bytes:
    return b"".join(queue.index.body(message_id))


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture(name="queue")
def make_queue(path: Path) -> Iterator[Queue]:
    queue = Queue(path, identity="mx.example")
    yield queue
    queue.close()


def test_a_message_is_kept_as_it_came_with_all_that_its_sender_asked_for(queue: Queue) -> None:
    about = Submission(
        reverse_path="s@a.example",
        recipients=(Recipient("u@b.example", ("SUCCESS", "DELAY"), "rfc822;u@c.example"), Recipient("v@b.example")),
        envelope_id="QQ+2B1",
        returns="HDRS",
        parameters=(("BODY", "8BITMIME"), ("SMTPUTF8", "")),
        key="k",
    )
    octets = bytes(range(256)) * 2000  # more than memory keeps
    assert put(queue, about, octets) == Receipt("2.0.0 Queued as 1")
    mail = only(queue)
    assert mail.submission == about
    assert (mail.arrived_at, mail.octets) == (NOW, len(FRONT) + len(octets))
    assert body(queue, mail.message_id) == FRONT + octets
    assert [(queued.state, queued.attempts, queued.next_attempt) for queued in mail.recipients] == [
        (RecipientState.PENDING, 0, NOW)
    ] * 2


def test_ten_small_messages_cost_three_syncs_and_ten_commits_of_one_cost_thirty(path: Path) -> None:
    disk = WeakDisk()
    queue = Queue(path, identity="x", files=disk)

    def syncs(*batches: int) -> int:
        disk.rest()
        for size in batches:
            drafts = [queue.begin(submission()) for _ in range(size)]
            for draft in drafts:
                draft.write(b"text\r\n" * 600)
            assert all(isinstance(outcome, Receipt) for outcome in queue.commit(drafts, NOW))
        return sum(step in ("sync", "sync_directory", "commit") for step in disk.steps)

    assert syncs(10) == 3
    assert syncs(*[1] * 10) == 30
    queue.close()


def test_messages_that_share_a_file_are_read_and_leave_each_for_itself(queue: Queue, path: Path) -> None:
    drafts = [queue.begin(submission()) for _ in range(3)]
    for number, draft in enumerate(drafts):
        draft.write(b"%d" % number * 5)
    queue.commit(drafts, NOW)
    assert len(list((path / "bodies").iterdir())) == 1
    assert queue.index.remove([2]) == 1
    assert [body(queue, number) for number in (1, 3)] == [b"00000", b"22222"]
    with pytest.raises(MailboxError, match="2 is not in the queue"):
        body(queue, 2)
    assert queue.index.remove([1, 3, 3]) == 2
    assert list((path / "bodies").iterdir()) == []


def test_messages_are_written_while_others_are_committed_in_another_thread(queue: Queue) -> None:
    """As a server does it: one commit at a time, and whoever came meanwhile goes with the next."""
    with ThreadPoolExecutor(1) as thread:
        batch: list[Draft[Submission]] = []
        for number in range(5):
            pending = thread.submit(queue.commit, batch, NOW)
            batch = [queue.begin(submission(key=f"{number}.{i}")) for i in range(4)]
            for piece, draft in product(range(8), batch):
                draft.write(b"%d" % piece * (SPILL_OCTETS // 5))
            assert all(isinstance(outcome, Receipt) for outcome in pending.result())
        thread.submit(queue.commit, batch, NOW).result()
    assert {mail.octets for mail in queue.index.listing()} == {8 * (SPILL_OCTETS // 5)}
    assert len(list(queue.index.listing())) == 20


def test_memory_is_bounded_whatever_the_size(queue: Queue, path: Path) -> None:
    draft = queue.begin(submission())
    for _ in range(64):
        draft.write(b"x" * SPILL_OCTETS)
    (file,) = (path / "tmp").iterdir()
    assert file.stat().st_size == 64 * SPILL_OCTETS
    draft.abandon()
    assert list((path / "tmp").iterdir()) == []
    (outcome,) = queue.commit([draft], NOW)
    assert isinstance(outcome, MailboxError)
    assert list(queue.index.listing()) == []


def test_a_repeated_key_gets_the_first_answer_also_after_a_restart_and_after_delivery(queue: Queue, path: Path) -> None:
    assert put(queue, submission(key="k")) == Receipt("2.0.0 Queued as 1")
    assert put(queue, submission(key="k")) == Receipt("2.0.0 Queued as 1", is_repeat=True)
    queue.close()
    again = Queue(path, identity="another")
    assert again.relay_key(1) == "mx.example.1"
    queued = only(again).recipients[0]
    again.settle([Settlement(1, (Result(queued.recipient_id, RecipientInput.DELIVER, "250"),))], NOW)
    assert put(again, submission(key="k"), now=NOW + 7 * DAY - 1) == Receipt("2.0.0 Queued as 1", is_repeat=True)
    assert list(again.index.listing()) == []
    put(again, submission(), now=NOW + 7 * DAY)
    assert put(again, submission(key="k"), now=NOW + 7 * DAY) == Receipt("2.0.0 Queued as 3")
    again.close()


def test_a_key_lasts_as_long_as_its_message_waits(queue: Queue) -> None:
    put(queue, submission(key="k"))
    put(queue, submission(), now=NOW + 30 * DAY)
    assert put(queue, submission(key="k"), now=NOW + 30 * DAY) == Receipt("2.0.0 Queued as 1", is_repeat=True)


def test_recipients_that_the_first_transaction_did_not_have_are_queued_by_the_repeat(queue: Queue) -> None:
    put(queue, submission("a@b.example", key="k"))
    assert put(queue, submission("a@b.example", "c@b.example", key="k")) == Receipt("2.0.0 Queued as 2")
    assert put(queue, submission("a@b.example", "c@b.example", key="k")) == Receipt("2.0.0 Queued as 2", is_repeat=True)
    assert states(queue) == [("a", "pending"), ("c", "pending")]


def test_one_key_twice_in_a_batch_is_stored_once(queue: Queue, path: Path) -> None:
    drafts = [queue.begin(submission(key="k")) for _ in range(2)]
    for draft in drafts:
        draft.write(b"x" * SPILL_OCTETS)
    first, second = queue.commit(drafts, NOW)
    assert (first, second) == (Receipt("2.0.0 Queued as 1"), Receipt("2.0.0 Queued as 1", is_repeat=True))
    assert list((path / "tmp").iterdir()) == []
    assert len(list((path / "bodies").iterdir())) == 1


def test_a_key_that_comes_with_another_message_is_refused(queue: Queue) -> None:
    put(queue, submission(key="k"), b"one")
    assert isinstance(put(queue, submission(key="k"), b"two"), KeyConflict)
    assert only(queue).octets == len(FRONT + b"one")


def test_a_recipient_named_twice_gets_the_message_once(queue: Queue) -> None:
    put(queue, submission("a@b.example", "a@b.example", "c@b.example"))
    assert states(queue) == [("a", "pending"), ("c", "pending")]
    with pytest.raises(LocalProtocolError, match="without recipients"):
        queue.begin(Submission(reverse_path="", recipients=()))


def test_a_row_without_its_octets_was_never_acknowledged_and_its_key_is_free(queue: Queue, path: Path) -> None:
    """What a commit that failed, was undone and was found done after a power cut leaves."""
    put(queue, submission(key="k"))
    put(queue, submission())
    queue.close()
    (path / "bodies" / "1-1").unlink()
    again = Queue(path, identity="x")
    assert again.recovered == Recovered(lost=1, orphans=0, temporary=0)
    assert put(again, submission(key="k")) == Receipt("2.0.0 Queued as 3")
    again.close()


def test_two_servers_do_not_share_a_queue(queue: Queue, path: Path) -> None:
    with pytest.raises(MailboxError, match="another process has the queue"):
        Queue(path, identity="x")
    assert put(queue, submission()) == Receipt("2.0.0 Queued as 1")


def test_an_index_of_another_version_is_not_touched(path: Path) -> None:
    path.mkdir()
    rows = sqlite3.connect(path / "index.sqlite")
    rows.execute("PRAGMA user_version=77")
    rows.close()
    with pytest.raises(MailboxError, match="version 77"):
        Queue(path, identity="x")


def test_what_is_due_comes_in_the_order_of_its_time(queue: Queue) -> None:
    assert queue.index.next_due() is None
    for number in range(3):
        put(queue, submission(f"{number}@b.example"), now=NOW - number)
    assert [due.forward_path[0] for due in queue.index.due(NOW)] == ["2", "1", "0"]
    assert [due.forward_path[0] for due in queue.index.due(NOW - 1)] == ["2", "1"]
    assert [due.forward_path[0] for due in queue.index.due(NOW, limit=1)] == ["2"]
    assert queue.index.next_due() == NOW - 2


def test_an_operator_beside_the_server_holds_releases_and_retries(queue: Queue, path: Path) -> None:
    put(queue, submission("a@b.example", "c@b.example"))
    first, second = only(queue).recipients
    deferred = Result(first.recipient_id, RecipientInput.DEFER, "450 later", NOW + DAY)
    queue.settle([Settlement(1, (deferred, Result(second.recipient_id, RecipientInput.DELIVER, "250 ok")))], NOW)
    beside = QueueIndex(path)
    assert beside.hold([1]) == 1
    assert states(queue) == [("a", "held"), ("c", "delivered")]
    assert queue.index.due(NOW + 2 * DAY) == []
    assert beside.retry([1], NOW) == 0
    assert beside.release([1], NOW + 1) == 1
    assert only(queue).recipients[0].next_attempt == NOW + 1
    queue.settle([Settlement(1, (deferred,))], NOW)
    assert only(queue).recipients[0].next_attempt == NOW + DAY
    assert beside.retry([1, 9], NOW + 2) == 1
    assert [due.next_attempt for due in queue.index.due(NOW + 2)] == [NOW + 2]
    assert only(queue).recipients[0].attempts == 2
    assert only(queue).recipients[0].reply == "450 later"
    assert beside.remove([1, 9]) == 1
    assert list(queue.index.listing()) == []
    beside.close()


def test_what_an_attempt_came_to_is_noted_though_the_operator_said_hold_meanwhile(queue: Queue) -> None:
    put(queue, submission("a@b.example", "c@b.example"))
    first, second = only(queue).recipients
    queue.index.hold([1])
    deferred = Result(first.recipient_id, RecipientInput.DEFER, "450", NOW + DAY)
    queue.settle([Settlement(1, (deferred, Result(second.recipient_id, RecipientInput.DELIVER, "250")))], NOW)
    assert states(queue) == [("a", "held"), ("c", "delivered")]


def test_an_attempt_for_a_message_that_was_removed_leaves_no_notice(queue: Queue, path: Path) -> None:
    put(queue, submission())
    queued = only(queue).recipients[0]
    queue.index.remove([1])
    notice = queue.begin(submission(sender=""))
    notice.write(b"failed")
    queue.settle([Settlement(1, (Result(queued.recipient_id, RecipientInput.FAIL, "550"),), (notice,))], NOW)
    assert list(queue.index.listing()) == []
    assert list((path / "bodies").iterdir()) == []


WAYS: dict[RecipientState, list[RecipientInput]] = {
    RecipientState.PENDING: [],
    RecipientState.HELD: [RecipientInput.HOLD],
    RecipientState.DELIVERED: [RecipientInput.DELIVER],
    RecipientState.FAILED: [RecipientInput.FAIL],
}


def make_happen(queue: Queue, message_id: int, recipient_id: int, happening: RecipientInput) -> None:
    match happening:
        case RecipientInput.HOLD:
            queue.index.hold([message_id])
        case RecipientInput.RELEASE:
            queue.index.release([message_id], NOW)
        case RecipientInput.RETRY:
            queue.index.retry([message_id], NOW)
        case _:
            queue.settle([Settlement(message_id, (Result(recipient_id, happening, "", NOW),))], NOW)


@pytest.mark.parametrize("state", RecipientState)
def test_every_pair_of_state_and_input_is_either_in_the_table_or_without_effect(
    path: Path, state: RecipientState
) -> None:
    for happening in RecipientInput:
        queue = Queue(path / happening.value, identity="x")
        put(queue, submission("a@b.example", "z@b.example"))
        subject, _ = only(queue).recipients
        for step in (*WAYS[state], happening):
            make_happen(queue, 1, subject.recipient_id, step)
        assert only(queue).recipients[0].state is TRANSITIONS.get((state, happening), state)
        queue.close()
    assert is_final(state) == (state in (RecipientState.DELIVERED, RecipientState.FAILED))


@dataclass
class ModelMail:
    key: str
    octets: bytes
    recipients: dict[str, RecipientState] = field(default_factory=dict)


class QueueAgainstModel(RuleBasedStateMachine):
    """A dictionary of messages knows what the queue must hold after any sequence of operations and restarts."""

    stored = Bundle("stored")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self._path = Path(self._folder.name) / "queue"
        self._queue = Queue(self._path, identity="model")
        self._mail: dict[int, ModelMail] = {}
        self._keys: set[tuple[str, str]] = set()
        self._ids = count(1)

    def teardown(self) -> None:
        self._queue.close()
        self._folder.cleanup()

    @rule(
        target=stored,
        batch=st.lists(
            st.tuples(
                st.sampled_from(["", "", "k1", "k2", "k3"]),
                st.sets(st.sampled_from("abc"), min_size=1),
                st.sampled_from([0, 1, 100, SPILL_OCTETS]),
            ),
            min_size=1,
            max_size=4,
        ),
    )
    def commit(self, batch: list[tuple[str, set[str], int]]) -> object:
        drafts = []
        for key, paths, size in batch:
            draft = self._queue.begin(submission(*sorted(paths), key=key))
            draft.write(self._octets(key, size))
            drafts.append(draft)
        outcomes = self._queue.commit(drafts, NOW)
        made: list[int] = []
        waiting = list(range(len(batch)))
        while waiting:  # the queue takes a key once in a round
            keys = [batch[i][0] for i in waiting]
            now = [i for place, i in enumerate(waiting) if not keys[place] or keys[place] not in keys[:place]]
            for i in now:
                made += self._take(batch[i], outcomes[i])
            waiting = [i for i in waiting if i not in now]
        return multiple(*made)

    def _take(self, given: tuple[str, set[str], int], outcome: Receipt | MailboxError) -> list[int]:
        key, paths, size = given
        fresh = {path for path in sorted(paths) if not key or (key, path) not in self._keys}
        assert isinstance(outcome, Receipt)
        assert outcome.is_repeat == (not fresh)
        if not fresh:
            return []
        number = next(self._ids)
        assert outcome.answer == f"2.0.0 Queued as {number}"
        recipients = dict.fromkeys(sorted(fresh), RecipientState.PENDING)
        self._mail[number] = ModelMail(key, self._octets(key, size), recipients)
        self._keys |= {(key, path) for path in fresh if key}
        return [number]

    def _octets(self, key: str, size: int) -> bytes:
        return f"{key}:".encode().ljust(50 if key else size, b"x")

    @rule(number=stored, path=st.sampled_from("abc"), happening=st.sampled_from(list(RecipientInput)))
    def happen(self, number: int, path: str, happening: RecipientInput) -> None:
        mail = self._mail.get(number)
        paths = [path] if happening in (RecipientInput.DELIVER, RecipientInput.DEFER, RecipientInput.FAIL) else "abc"
        found = self._queue.index.mail(number)
        ids = {queued.recipient.forward_path: queued.recipient_id for queued in found.recipients} if found else {}
        make_happen(self._queue, number, ids.get(path, 0), happening)
        if mail is None:
            return
        for each in paths:
            state = mail.recipients.get(each)
            if state is not None:
                mail.recipients[each] = TRANSITIONS.get((state, happening), state)
        if all(is_final(state) for state in mail.recipients.values()):
            del self._mail[number]

    @rule(number=consumes(stored))
    def remove(self, number: int) -> None:
        assert self._queue.index.remove([number]) == (number in self._mail)
        self._mail.pop(number, None)

    @rule()
    def restart(self) -> None:
        self._queue.close()
        self._queue = Queue(self._path, identity="model")
        assert self._queue.recovered == Recovered(0, 0, 0)

    @invariant()
    def agree(self) -> None:
        found = {
            mail.message_id: ModelMail(
                mail.submission.key,
                body(self._queue, mail.message_id),
                {queued.recipient.forward_path: queued.state for queued in mail.recipients},
            )
            for mail in self._queue.index.listing()
        }
        assert found == self._mail
        due = [(entry.message_id, entry.forward_path) for entry in self._queue.index.due(NOW)]
        assert sorted(due) == sorted(
            (number, path)
            for number, mail in self._mail.items()
            for path, state in mail.recipients.items()
            if state is RecipientState.PENDING
        )
        assert list((self._path / "tmp").iterdir()) == []
        assert len(list((self._path / "bodies").iterdir())) <= len(self._mail)


TestQueueAgainstModel = QueueAgainstModel.TestCase
TestQueueAgainstModel.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
