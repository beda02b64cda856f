"""Home: our own mailboxes as a next hop, for what the queue has for people who live here: notices, mostly."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.mailbox import refusal
from rudp_smtp.mail.maildir import Delivery, Maildir
from rudp_smtp.mail.spool import Draft
from rudp_smtp.service.commits import GroupCommit
from rudp_smtp.service.office import Policy
from rudp_smtp.smtp import DeliveryReport, Envelope, Outcome, Reply

HERE = ""  # the name of this hop; notices name no other host for it


class Home:
    """Owns the way from the queue into the Maildir."""

    def __init__(
        self, policy: Policy, maildir: Maildir, deliveries: GroupCommit[Delivery], clock: Callable[[], int]
    ) -> None:
        self._policy = policy
        self._maildir = maildir
        self._deliveries = deliveries
        self._clock = clock

    def begin(self, envelope: Envelope, octets: Iterable[bytes]) -> Draft[Delivery]:
        """Write the message into a draft, for those of its recipients who have a mailbox. Reads and writes files."""
        known = tuple(path for path in envelope.forward_paths if self._refusal(path) is None)
        own = replace(envelope, forward_paths=known, client_domain=self._policy.domain)
        draft = self._maildir.begin(own, self._clock(), envelope.idempotency_key)
        for piece in octets:
            draft.write(piece)
        return draft

    async def deliver(self, draft: Draft[Delivery], envelope: Envelope) -> DeliveryReport:
        """Make it safe, or say for each recipient why not, as a server does."""
        refused = {path: reply for path in envelope.forward_paths if (reply := self._refusal(path)) is not None}
        known = [path for path in envelope.forward_paths if path not in refused]
        if not known:
            draft.abandon()
            return _report((), refused, next(iter(refused.values())))
        outcome = await self._deliveries.commit(draft)
        if isinstance(outcome, MailboxError):
            answer = refusal(outcome)
            return _report((), refused | dict.fromkeys(known, answer), answer)
        return _report(tuple(known), refused, Reply(250, (outcome.answer,)))

    def _refusal(self, path: str) -> Reply | None:
        return self._policy.refuse(path, is_trusted=True)


def _report(accepted: tuple[str, ...], refused: dict[str, Reply], reply: Reply) -> DeliveryReport:
    failure = Outcome.DEFERRED if reply.is_transient else Outcome.REFUSED
    return DeliveryReport(0, Outcome.ACCEPTED if accepted else failure, accepted, tuple(refused.items()), reply)
