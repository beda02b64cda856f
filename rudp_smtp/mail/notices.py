"""From the fates of recipients to what the queue notes: their results, and the notices that somebody wants of them."""

from collections.abc import Callable, Sequence

from rudp_smtp.mail.dsn import Action, Notice, RecipientReport, compose_notice, is_wanted
from rudp_smtp.mail.queue import Queue
from rudp_smtp.mail.queued import QueuedMail, Settlement, Submission
from rudp_smtp.mail.relay import Fate, Relay
from rudp_smtp.mail.spool import Draft
from rudp_smtp.mail.transit import submission_of
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.parameters import Notify


class Notifier:
    """Writes notices in the name of `domain`. `token`: a text never given twice, which no sender can guess.

    `host_of`: what SMTP calls the host at a next hop, a domain or an address literal; "" for what is no other host.
    """

    def __init__(
        self, queue: Queue, relay: Relay, *, domain: str, token: Callable[[], str], host_of: Callable[[str], str]
    ) -> None:
        self._queue = queue
        self._relay = relay
        self._domain = domain
        self._token = token
        self._host_of = host_of

    def settle(self, fates: Sequence[Fate], now: int) -> None:
        """Note all of it in one commit. After a MailboxError nothing was noted: do it again later."""
        by_message: dict[int, list[Fate]] = {}
        for fate in fates:
            by_message.setdefault(fate.message_id, []).append(fate)
        settlements = []
        for message_id, group in by_message.items():
            mail = self._queue.index.mail(message_id)
            notices = self._notices(mail, group, now) if mail is not None else ()
            settlements.append(Settlement(message_id, tuple(fate.result for fate in group), notices))
        self._queue.settle(settlements, now)

    def _notices(self, mail: QueuedMail, fates: Sequence[Fate], now: int) -> tuple[Draft[Submission], ...]:
        if not mail.submission.reverse_path:
            return ()  # RFC 5321 section 6.1: nobody to tell, and a bounce never bounces
        drafts = []
        for action in Action:
            reports = self._reports(mail, [fate for fate in fates if fate.action is action], now)
            if reports:
                body = self._queue.index.body(mail.message_id)
                notice = compose_notice(mail, reports, body, domain=self._domain, now=now, token=self._token())
                draft = self._queue.begin(notice.submission)
                draft.write(notice.octets)
                drafts.append(draft)
        return tuple(drafts)

    def _reports(self, mail: QueuedMail, fates: Sequence[Fate], now: int) -> list[RecipientReport]:
        recipients = {queued.recipient_id: queued.recipient for queued in mail.recipients}
        return [
            RecipientReport(
                recipient=recipients[fate.result.recipient_id],
                action=fate.action,
                status=fate.status,
                diagnostic=fate.result.reply,
                remote=self._host_of(fate.hop),
                is_local=fate.is_local,
                at=now if fate.result.is_attempt else None,
                retried_until=self._relay.retried_until(mail.arrived_at) if fate.action is Action.DELAYED else None,
            )
            for fate in fates
            if fate.action is not None and is_wanted(recipients[fate.result.recipient_id], fate.action)
        ]


def wants_success(envelope: Envelope) -> bool:
    """Somebody is to be told when a recipient has it (RFC 3461 section 4.1)."""
    asked = (envelope.dsn_of(index).notify for index in range(len(envelope.forward_paths)))
    return bool(envelope.reverse_path) and any(Notify.SUCCESS in notify for notify in asked)


def success_notice(envelope: Envelope, header: bytes, *, octets: int, domain: str, now: int, token: str) -> Notice:
    """Of a delivery into our own mailboxes, to a sender who `wants_success`; `header`: the message's, at least."""
    submission = submission_of(envelope, range(len(envelope.forward_paths)), "")
    mail = QueuedMail(message_id=0, submission=submission, arrived_at=now, octets=octets, recipients=())
    reports = [
        RecipientReport(recipient=recipient, action=Action.DELIVERED, status="2.0.0", at=now)
        for recipient in submission.recipients
        if is_wanted(recipient, Action.DELIVERED)
    ]
    return compose_notice(mail, reports, (header,), domain=domain, now=now, token=token)
