"""The victim of the kill -9 tests: writes mail as fast as it can, and says on standard output what became safe.

Run as `python -m tests.mail.busy_store queue|maildir FOLDER FIRST`: messages FIRST, FIRST+1, ... with their own keys.
"""

import os
import sys
from itertools import count
from pathlib import Path

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.maildir import Maildir
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import Recipient, Result, Settlement, Submission
from rudp_smtp.mail.spool import SPILL_OCTETS, Draft
from rudp_smtp.mail.state import RecipientInput
from rudp_smtp.smtp.envelope import Envelope

NOW = 1_700_000_000_000_000_000
BATCH = 5


def octets(number: int) -> bytes:
    """Every fifth message is too large for memory."""
    size = SPILL_OCTETS + number if number % 5 == 0 else 500 + number % 1000
    return f"{number} ".encode() * (size // 5)


def write_queue(path: Path, first: int) -> None:
    queue = Queue(path, identity="busy")
    say("ready")
    for start in count(first, BATCH):
        numbers = range(start, start + BATCH)
        drafts = [
            queue.begin(Submission(reverse_path="", recipients=(Recipient(f"u@{n}.example"),), key=str(n)))
            for n in numbers
        ]
        for number, draft in zip(numbers, drafts, strict=True):
            draft.write(octets(number))
        for outcome in queue.commit(drafts, NOW):
            assert not isinstance(outcome, MailboxError)
        say(*(f"accepted {number}" for number in numbers))
        deliver_some(queue, start)


def deliver_some(queue: Queue, start: int) -> None:
    """The first of a batch is delivered, the second fails with a bounce."""
    settlements = []
    wanted = {str(start): RecipientInput.DELIVER, str(start + 1): RecipientInput.FAIL}
    for due in queue.index.due(NOW):
        mail = queue.index.mail(due.message_id)
        assert mail is not None
        happening = wanted.get(mail.submission.key)
        if happening is None:
            continue
        notices: tuple[Draft[Submission], ...] = ()
        if happening is RecipientInput.FAIL:
            notice = queue.begin(Submission(reverse_path="", recipients=(Recipient(f"bounce@{start}.example"),)))
            notice.write(b"bounce")
            notices = (notice,)
        settlements.append(Settlement(due.message_id, (Result(due.recipient_id, happening, ""),), notices))
    queue.settle(settlements, NOW)
    say(f"settled {start}", f"settled {start + 1}")


def write_maildir(path: Path, first: int) -> None:
    names = count()
    maildir = Maildir(path, domain="mx.example", unique=lambda: f"P{os.getpid()}Q{next(names)}")
    say("ready")
    for start in count(first, BATCH):
        numbers = range(start, start + BATCH)
        drafts = [maildir.begin(Envelope("", ("u@mx.example",), b""), NOW, key=str(number)) for number in numbers]
        for number, draft in zip(numbers, drafts, strict=True):
            draft.write(octets(number))
        for outcome in maildir.commit(drafts, NOW):
            assert not isinstance(outcome, MailboxError)
        say(*(f"accepted {number}" for number in numbers))


def say(*lines: str) -> None:
    """With one call of write: what arrives of it is whole lines."""
    os.write(1, "".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    kind, folder, number_text = sys.argv[1:]
    {"queue": write_queue, "maildir": write_maildir}[kind](Path(folder), int(number_text))
