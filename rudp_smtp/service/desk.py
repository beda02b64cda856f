"""Desk: one session's messages, kept and answered. 250 is said when every part of one is where it is safe."""

import secrets
from collections.abc import Callable
from dataclasses import replace

from rudp_smtp.drivers.sockets import Endpoint
from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.dsn import HEADER_OCTETS_MAX
from rudp_smtp.mail.mailbox import refusal as refusal_of
from rudp_smtp.mail.maildir import Delivery
from rudp_smtp.mail.notices import success_notice, wants_success
from rudp_smtp.mail.queued import Submission
from rudp_smtp.mail.received import received_field
from rudp_smtp.mail.spool import Draft, Receipt
from rudp_smtp.mail.stories import Story
from rudp_smtp.mail.transit import submission_of
from rudp_smtp.service.addresses import host_and_port
from rudp_smtp.service.clients import Visit
from rudp_smtp.service.office import Office
from rudp_smtp.smtp import Envelope, Reply, Server
from rudp_smtp.transport import TransportStats
from rudp_smtp.units import MILLISECOND

Stats = Callable[[], TransportStats | None]  # of the connection below; None over TCP

_COUNTED = {
    "packets_received": "packets_received",
    "packets_missing": "packets_missing",
    "packets_duplicate": "packets_duplicate",
    "packets_sent": "packets_sent",
    "packets_lost": "packets_lost",
    "bytes_received": "bytes_received",
    "bytes_resent": "stream_bytes_retransmitted",
}  # of a story -> of the transport


class Desk:
    """Owns the drafts of the message that comes in."""

    def __init__(self, office: Office, server: Server, visit: Visit, *, client: Endpoint, stats: Stats) -> None:
        self._office = office
        self._server = server
        self._visit = visit
        self._client = client
        self._stats = stats
        self._delivery: Draft[Delivery] | None = None
        self._submission: Draft[Submission] | None = None
        self._header: bytearray | None = None  # of a message whose sender wants to hear of its delivery
        self._trace_id = ""
        self._count = 0
        self._mark()

    def begin(self, envelope: Envelope) -> None:
        office = self._office
        now = office.clock()
        self._count += 1
        self._trace_id = f"{now:x}.{id(self) & 0xFFFFF:x}.{self._count}"
        key = envelope.own_key
        paths = range(len(envelope.forward_paths))
        local = [index for index in paths if office.policy.is_local(envelope.forward_paths[index])]
        remote = [index for index in paths if index not in set(local)]
        if local:
            assert office.maildir is not None
            part = _part(envelope, local)
            self._delivery = office.maildir.begin(part, now, key, trace_id=self._trace_id)
            self._header = bytearray() if office.queue is not None and wants_success(part) else None
        if remote:
            assert office.queue is not None, "without a queue no such recipient is accepted"
            front = received_field(envelope, domain=office.policy.domain, now=now, trace_id=self._trace_id)
            self._submission = office.queue.begin(submission_of(envelope, remote, key), front)

    def write(self, octets: bytes) -> None:
        for draft in (self._delivery, self._submission):
            if draft is not None:
                draft.write(octets)
        if self._header is not None:
            self._header += octets[: HEADER_OCTETS_MAX - len(self._header)]

    def abandon(self) -> None:
        for draft in (self._delivery, self._submission):
            if draft is not None:
                draft.abandon()
        self._delivery = self._submission = None

    async def finish(self, envelope: Envelope) -> None:
        """The queue first: if it fails, an SMTP client repeats all of it, and no mailbox has it twice."""
        refusal = self._visit.take_message()
        if refusal is not None:
            self.abandon()
            return self._server.reject_mail(refusal)
        delivery, submission = self._delivery, self._submission
        self._delivery = self._submission = None
        queued = await self._queue(submission) if submission is not None else None
        if isinstance(queued, MailboxError) and delivery is not None and not envelope.is_lmtp:
            delivery.abandon()
            delivery = None
        delivered = await self._deliver(delivery) if delivery is not None else None
        self._mark()
        if envelope.is_lmtp:  # RFC 2033 section 4.2: to each what became of its own
            is_local = self._office.policy.is_local
            outcomes = (delivered if is_local(path) else queued for path in envelope.forward_paths)
            return self._server.answer_recipients([_reply(outcome) for outcome in outcomes])
        answer = _reply(queued if isinstance(queued, MailboxError) or delivered is None else delivered)
        if not answer.is_positive:
            return self._server.reject_mail(answer)
        return self._server.accept_mail(answer.lines[0])

    async def _queue(self, submission: Draft[Submission]) -> Receipt | MailboxError:
        office = self._office
        assert office.submissions is not None
        outcome = await office.submissions.commit(submission)
        if isinstance(outcome, MailboxError):
            office.notice(f"not kept: {outcome}")
        else:
            office.on_queued()
        return outcome

    async def _deliver(self, delivery: Draft[Delivery]) -> Receipt | MailboxError:
        office, envelope = self._office, delivery.about.envelope
        assert office.deliveries is not None
        outcome = await office.deliveries.commit(delivery)
        if isinstance(outcome, MailboxError):
            office.notice(f"not kept: {outcome}")
            return outcome
        self._tell(envelope, delivery, outcome)
        header, self._header = self._header, None
        if header is not None and not outcome.is_repeat:
            await self._report(envelope, bytes(header), delivery.octets)
        return outcome

    async def _report(self, envelope: Envelope, header: bytes, octets: int) -> None:
        """Tell the sender. The message is delivered, so a queue that does not take the notice is no failure of it."""
        office = self._office
        assert office.queue is not None
        notice = success_notice(
            envelope,
            header,
            octets=octets,
            domain=office.policy.domain,
            now=office.clock(),
            token=secrets.token_hex(12),
        )
        draft = office.queue.begin(notice.submission)
        draft.write(notice.octets)
        await self._queue(draft)

    # The story

    def _mark(self) -> None:
        """From here on the next message's story is told."""
        self._began = self._office.clock()
        stats = self._stats()
        self._counted = {name: getattr(stats, name) if stats else 0 for name in _COUNTED.values()}

    def _tell(self, envelope: Envelope, draft: Draft[Delivery], receipt: Receipt) -> None:
        if receipt.is_repeat or self._office.stories is None:
            return
        office, stats = self._office, self._stats()
        counted = {name: getattr(stats, of) - self._counted[of] for name, of in _COUNTED.items()} if stats else {}
        story = Story(
            transport="rudp" if stats else "tcp",
            peer=host_and_port(self._client),
            protocol=envelope.protocol,
            size=draft.octets,
            duration_ms=(office.clock() - self._began) / MILLISECOND,
            smoothed_rtt_ms=stats.smoothed_rtt / MILLISECOND if stats else 0.0,
            min_rtt_ms=stats.min_rtt / MILLISECOND if stats else 0.0,
            **counted,
        )
        self._office.stories.tell(self._trace_id, story)
        lost = f", {story.packets_missing} packets lost on the way" if story.packets_missing else ""
        paths = ", ".join(envelope.forward_paths)
        office.notice(f"delivered: <{envelope.reverse_path}> to {paths}, {draft.octets} octets{lost}")


def _reply(outcome: Receipt | MailboxError | None) -> Reply:
    assert outcome is not None, "every recipient is local or not"
    return refusal_of(outcome) if isinstance(outcome, MailboxError) else Reply(250, (outcome.answer,))


def _part(envelope: Envelope, indexes: list[int]) -> Envelope:
    """The envelope for some of its recipients."""
    if len(indexes) == len(envelope.forward_paths):
        return envelope
    dsn = tuple(envelope.dsn[index] for index in indexes) if envelope.dsn else ()
    return replace(envelope, forward_paths=tuple(envelope.forward_paths[index] for index in indexes), dsn=dsn)
