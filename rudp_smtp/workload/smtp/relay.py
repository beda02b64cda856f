"""Store and forward: a server that holds a message before it answers 250, and hands it on to the next hop's sender.

A message is never altered on its way: no Received field is put in front, so that what the last mailbox got can be
compared with what the first client sent. The sender behind a relay retries as the first one does.
"""

from collections.abc import Sequence
from itertools import pairwise

from rudp_smtp.mail.mailbox import MemoryMailbox
from rudp_smtp.smtp import Envelope
from rudp_smtp.workload import Delivery
from rudp_smtp.workload.smtp.mail import Mail, domain_session
from rudp_smtp.workload.smtp.receiver import assign_copies
from rudp_smtp.workload.smtp.sender import MailSender


class RelayQueue(MemoryMailbox):
    """What a relay has accepted, and what it made of each for the next hop: the same session carries it on there."""

    def __init__(self, sessions: int) -> None:
        super().__init__()
        self.mails: list[Mail] = []  # as many as `messages`, in their order
        self.sender: MailSender | None = None  # the next hop's, as soon as there is one
        self._sessions = sessions

    def deliver(self, envelope: Envelope, now: int) -> None:
        super().deliver(envelope, now)
        session = domain_session(envelope.client_domain) or 0  # a damaged name is any session's
        row = Delivery(len(self.mails), "", len(envelope.mail_data), session % self._sessions)
        self.mails.append(Mail(envelope, now, row))
        assert self.sender is not None
        self.sender.take(self.mails[-1])


def follow_copies(mails: Sequence[Mail], queues: Sequence[RelayQueue], mailbox: MemoryMailbox) -> int:
    """Fill in each row from the last mailbox, by way of the relays; how many copies nobody sent."""
    origins: dict[Mail, tuple[Mail, tuple[int, ...]]] = {}  # of what a relay sends: whose, and when it was where
    origins |= {mail: (mail, (mail.row.submitted_at or 0,)) for mail in mails}
    level = mails
    for number, queue in enumerate(queues, 2):
        for owner, copy, onward in zip(assign_copies(level, queue.messages), queue.messages, queue.mails, strict=True):
            if owner in origins:
                origin, times = origins[owner]
                origins[onward] = origin, (*times, copy.arrived_at)
                _tell_refusal(origin.row, onward.row, number)
        level = queue.mails
    for mail in mails:
        mail.row.copies, mail.row.delivered_at, mail.row.is_intact = 0, None, False
    owners = assign_copies(level, mailbox.messages)
    for owner, copy in zip(owners, mailbox.messages, strict=True):
        if owner not in origins:
            continue
        origin, times = origins[owner]
        row, times = origin.row, (*times, copy.arrived_at)
        row.is_intact = copy.envelope == origin.envelope and (row.is_intact or not row.copies)
        if not row.copies:
            row.delivered_at = copy.arrived_at
            row.hop_times = tuple(stop - start for start, stop in pairwise(times))
        row.copies += 1
    for mail in mails:
        if mail.row.status == "delivered" and not mail.row.copies:
            mail.row.status = "pending"  # a relay has it: the run ended first
    return sum(owner not in origins for owner in owners)


def _tell_refusal(row: Delivery, relayed: Delivery, hop: int) -> None:
    if relayed.status == "refused":
        row.status, row.reply = "refused", f"hop {hop}: {relayed.reply}"
