"""Office: what a mail service decides and keeps. Its desks, one for each session, ask it.

Local recipients are mailboxes by name at our domains, all of which deliver into one Maildir. Mail for others goes into
the queue, and only from who has authenticated or from where the operator says so; nobody else relays through us.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rudp_smtp.mail.maildir import Delivery, Maildir
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import Submission
from rudp_smtp.service.commits import GroupCommit
from rudp_smtp.service.storybook import StoryBook
from rudp_smtp.smtp.address import parse_recipient
from rudp_smtp.smtp.replies import Reply

POSTMASTER = "postmaster"

NO_SUCH_MAILBOX = Reply(550, ("5.1.1 No such mailbox here",))
NO_RELAYING = Reply(550, ("5.7.1 We do not relay",))


def _nothing() -> None:
    """Nobody waits for mail to relay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who gets mail here, and who may send it on."""

    domain: str
    mailboxes: frozenset[str] = frozenset()  # local parts in lower case; empty: every name is a mailbox
    has_mailboxes: bool = True  # not a gateway, which hands everything on
    relays: bool = False  # there is somewhere to send other people's mail
    relays_for_all: bool = False  # whoever asks: for a gateway between two hosts that trust each other

    def is_local(self, forward_path: str) -> bool:
        """Whether the mail stays here, be there such a mailbox or not."""
        if not self.has_mailboxes:
            return False
        address = parse_recipient(forward_path, is_utf8=True)
        return not address.domain or address.domain.lower() == self.domain.lower()

    def refuse(self, forward_path: str, *, is_trusted: bool) -> Reply | None:
        """The refusal of a recipient, None to accept it."""
        address = parse_recipient(forward_path, is_utf8=True)
        if self.is_local(forward_path):
            name = address.name.lower()
            is_known = not self.mailboxes or name in self.mailboxes or name == POSTMASTER
            return None if is_known else NO_SUCH_MAILBOX
        return None if self.relays and (is_trusted or self.relays_for_all) else NO_RELAYING


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What the desks share. Without a Maildir nothing is local; without a queue no mail for others is taken."""

    policy: Policy
    clock: Callable[[], int]  # ns since the Unix epoch
    maildir: Maildir | None = None
    stories: StoryBook | None = None  # of the Maildir
    deliveries: GroupCommit[Delivery] | None = None
    queue: Queue | None = None
    submissions: GroupCommit[Submission] | None = None
    on_queued: Callable[[], None] = _nothing
    notice: Callable[[str], None] = print  # a line for the operator
