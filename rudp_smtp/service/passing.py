"""PassingDesk: a session in front and one behind it, and never 250 before the far end has said it."""

import asyncio
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO

from rudp_smtp.errors import DriverError, MailboxError
from rudp_smtp.mail.files import storage_error
from rudp_smtp.mail.mailbox import refusal as refusal_of
from rudp_smtp.mail.received import Fingerprint, received_field
from rudp_smtp.service.clients import Visit
from rudp_smtp.service.office import Office
from rudp_smtp.service.passed import Fate, PassedOn
from rudp_smtp.service.relaying import Smarthost
from rudp_smtp.service.sending import Sending, Sent, send
from rudp_smtp.smtp import Envelope, MailSource, Outcome, Reply, Server
from rudp_smtp.smtp.delivery import takes_key
from rudp_smtp.smtp.replies import SERVICE_CLOSING

HELD_OCTETS = 64 << 10  # of a message in memory
PIECE_OCTETS = 64 << 10
WAITS = (0.0, 1.0, 2.0, 4.0, 8.0)  # seconds before each attempt: the client has minutes of patience
UNREACHABLE = Reply(451, ("4.4.1 The next server does not answer",))
UNKNOWN_THERE = Reply(451, ("4.7.8 The next server refuses our login",))
CLOSED_TO_US = Reply(451, ("4.3.2 The next server refuses service",))
UNSURE = Reply(451, ("4.4.2 The next server has not said whether it took the message",))
UNTOLD = (Outcome.UNSENT, Outcome.UNCONFIRMED)


class PassingDesk:
    """Owns the message that is under way, in memory or in a nameless file.

    It is tried under one idempotency key until the far end has answered: if that knows the extension, a lost answer
    makes no second message. Nor does a client that repeats its own key. If it does not, an answer that is lost is the
    end of it, and our client has to decide whether to repeat (RFC 1047).
    """

    def __init__(self, server: Server, visit: Visit, smarthost: Smarthost, office: Office, passed: PassedOn) -> None:
        self._server = server
        self._visit = visit
        self._smarthost = smarthost
        self._office = office
        self._passed = passed
        self._spool: IO[bytes] | None = None
        self._fingerprint: Fingerprint | None = None  # of one that came under a key
        self._failure: MailboxError | None = None  # of the disk, told when the whole message has been read

    def abandon(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            with suppress(OSError):  # what the disk did not take before, it does not take now
                spool.close()

    def begin(self, envelope: Envelope) -> None:
        office = self._office
        self._failure = None
        self._fingerprint = Fingerprint() if envelope.idempotency_key else None
        self._spool = tempfile.SpooledTemporaryFile(max_size=HELD_OCTETS)  # noqa: SIM115 - abandon closes it
        self._write(received_field(envelope, domain=office.policy.domain, now=office.clock()))

    def write(self, octets: bytes) -> None:
        if self._fingerprint is not None:
            self._fingerprint.feed(octets)
        self._write(octets)

    def _write(self, octets: bytes) -> None:
        if self._spool is None:
            return
        with self._catching():
            self._spool.write(octets)

    @contextmanager
    def _catching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._failure = storage_error("a message could not be kept", error)
            self.abandon()

    async def finish(self, envelope: Envelope) -> None:
        refusal = self._visit.take_message()
        if refusal is None and self._failure is None and self._spool is not None:
            with self._catching():
                self._spool.flush()
        if self._failure is not None:
            self._office.notice(f"not kept: {self._failure}")
            refusal = refusal_of(self._failure)
        if refusal is None:
            return await self._pass(envelope)
        self.abandon()
        return self._server.reject_mail(refusal)

    async def _pass(self, envelope: Envelope) -> None:
        if self._fingerprint is not None:
            # A message comes once for each recipient, or for those that were put off before, under the same key.
            key = "\n".join((envelope.own_key, *envelope.forward_paths))
            fate = await self._passed.once(key, self._fingerprint.text(), lambda: self._fate(envelope))
        else:
            fate = await self._fate(envelope)
        self.abandon()
        if fate.is_accepted:
            self._server.accept_mail(_ours(fate.reply).lines[0])
        else:
            self._server.reject_mail(_ours(fate.reply) if not fate.reply.is_positive else UNREACHABLE)

    async def _fate(self, envelope: Envelope) -> Fate:
        """Try until the far end has answered, or for as long as our client may be kept waiting."""
        key = envelope.idempotency_key or secrets.token_hex(16)
        onward = replace(envelope, mail_data=b"", auth=envelope.vouched, idempotency_key=key)
        reply, is_accepted = UNREACHABLE, False
        for wait in WAITS:
            await asyncio.sleep(wait)
            sent = await self._try(onward)
            if sent is None:
                continue
            report = sent.reports[0]
            reply = report.refused[0][1] if report.refused else report.reply
            if report.refuses_service:
                self._office.notice(f"not let in: {reply}")
                reply = UNKNOWN_THERE if report.refuses_login else CLOSED_TO_US
            is_accepted = bool(report.accepted)
            if report.outcome not in UNTOLD:
                break
            if report.outcome is Outcome.UNCONFIRMED and not takes_key(sent.extensions, key):
                self._office.notice(f"not repeated, for it may have arrived: {reply}")
                reply = UNSURE
                break
        paths = ", ".join(envelope.forward_paths)
        self._office.notice(f"{'passed on' if is_accepted else 'not passed on'}: to {paths}: {reply}")
        return Fate(reply, is_accepted)

    async def _try(self, envelope: Envelope) -> Sent | None:
        """One attempt, with a report of it; None if there was no server."""
        way, *others = self._smarthost.ways(self._office.policy.domain)
        sent = await self._call(way, envelope)
        for other in others:
            if sent is None or not sent.reports[0].lacks_tls or not envelope.is_tls_optional:
                break
            self._office.notice(f"without TLS that holds, as the message asks: {sent.reports[0].reply}")
            sent = await self._call(other, envelope)
        return sent

    async def _call(self, way: Sending, envelope: Envelope) -> Sent | None:
        try:
            sent = await send(way, [(envelope, MailSource(self._pieces, None))])
        except (DriverError, MailboxError) as error:
            self._office.notice(f"no answer: {error}")
            return None
        return sent if sent.reports else None

    def _pieces(self) -> Iterator[bytes]:
        assert self._spool is not None
        try:
            self._spool.seek(0)
            while piece := self._spool.read(PIECE_OCTETS):
                yield piece
        except OSError as error:
            raise storage_error("a message could not be read again", error) from error


def _ours(reply: Reply) -> Reply:
    """What the far end said, as we may say it: its lines may be longer than ours, its 421 is the end of its session."""
    if reply.is_positive:
        return Reply(250, (f"2.0.0 {reply.lines[0].removeprefix(reply.status).strip()}",)).shortened()
    if reply.is_intermediate:
        return UNREACHABLE
    code = UNREACHABLE.code if reply.code == SERVICE_CLOSING else reply.code
    return Reply(code, reply.lines).shortened()
