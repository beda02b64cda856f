"""PassingDesk: a session in front and one behind it, and never 250 before the far end has said it."""

import asyncio
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, assert_never

from rudp_smtp.errors import DriverError
from rudp_smtp.mail.received import received_field
from rudp_smtp.service.office import Office
from rudp_smtp.service.relaying import Smarthost
from rudp_smtp.service.sending import Sending, send
from rudp_smtp.smtp import (
    DeliveryReport,
    Envelope,
    MailAborted,
    MailData,
    MailReceived,
    MailSource,
    MailStarted,
    Outcome,
    Reply,
    Server,
    SessionEnded,
)

HELD_OCTETS = 1 << 20  # of a message in memory
PIECE_OCTETS = 64 << 10
WAITS = (0.0, 1.0, 2.0, 4.0, 8.0)  # seconds before each attempt: the client has minutes of patience
UNREACHABLE = Reply(451, ("4.4.1 The next server does not answer",))
UNTOLD = (Outcome.UNSENT, Outcome.UNCONFIRMED)


class PassingDesk:
    """Owns the message that is under way, in memory or in a nameless file.

    It is tried under one idempotency key until the far end has answered: if that knows the extension, a lost answer
    makes no second message.
    """

    def __init__(self, server: Server, smarthost: Smarthost, office: Office) -> None:
        self._server = server
        self._smarthost = smarthost
        self._office = office
        self._spool: IO[bytes] | None = None

    async def react(self) -> None:
        """Answer all that has happened; a message waits here for the far end."""
        while (event := self._server.next_event()) is not None:
            match event:
                case MailStarted():
                    self._begin(event.envelope)
                case MailData():
                    self._write(event.octets)
                case MailAborted() | SessionEnded():
                    self.abandon()
                case MailReceived():
                    if not event.is_streamed:
                        self._begin(event.envelope)
                        self._write(event.envelope.mail_data)
                    await self._pass(event.envelope)
                case _:
                    assert_never(event)

    def abandon(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _begin(self, envelope: Envelope) -> None:
        office = self._office
        self._spool = tempfile.SpooledTemporaryFile(max_size=HELD_OCTETS)  # noqa: SIM115 - abandon closes it
        self._write(received_field(envelope, domain=office.policy.domain, now=office.clock()))

    def _write(self, octets: bytes) -> None:
        assert self._spool is not None
        self._spool.write(octets)

    async def _pass(self, envelope: Envelope) -> None:
        key = envelope.idempotency_key or secrets.token_hex(16)
        onward = replace(envelope, mail_data=b"", idempotency_key=key)
        reply, is_accepted = UNREACHABLE, False
        for wait in WAITS:
            await asyncio.sleep(wait)
            report = await self._try(onward)
            if report is None:
                continue
            reply = report.refused[0][1] if report.refused else report.reply
            is_accepted = bool(report.accepted)
            if report.outcome not in UNTOLD:
                break
        self.abandon()
        paths = ", ".join(envelope.forward_paths)
        self._office.notice(f"{'passed on' if is_accepted else 'not passed on'}: to {paths}: {reply}")
        if is_accepted:
            self._server.accept_mail(f"2.0.0 {reply.lines[0].removeprefix(reply.status).strip()}")
        else:
            self._server.reject_mail(reply if reply.is_transient or reply.is_permanent else UNREACHABLE)

    async def _try(self, envelope: Envelope) -> DeliveryReport | None:
        """One attempt; None if there was no server."""
        host = self._smarthost
        sending = Sending(
            address=host.address,
            domain=self._office.policy.domain,
            tls=host.tls,
            login=host.login,
            transport=host.transport,
        )
        try:
            sent = await send(sending, [(envelope, MailSource(self._pieces, None))])
        except DriverError as error:
            self._office.notice(f"no answer: {error}")
            return None
        return sent.reports[0] if sent.reports else None

    def _pieces(self) -> Iterator[bytes]:
        assert self._spool is not None
        self._spool.seek(0)
        while piece := self._spool.read(PIECE_OCTETS):
            yield piece
