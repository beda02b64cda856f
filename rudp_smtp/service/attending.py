"""Attendant: a session's events, handed to its desk one message after the other."""

from collections.abc import Coroutine
from typing import Protocol, assert_never

from rudp_smtp.smtp import Envelope, MailAborted, MailData, MailReceived, MailStarted, Server, SessionEnded


class Desk(Protocol):
    """Takes a message in, and answers it."""

    def begin(self, envelope: Envelope) -> None:
        """A message follows; the envelope's own mail data is not looked at."""

    def write(self, octets: bytes) -> None: ...

    def abandon(self) -> None:
        """Drop what came of it, if there is any."""

    async def finish(self, envelope: Envelope) -> None:
        """The message is complete: answer it when it is where it has to be."""


class Attendant:
    """Stands between a server and its desk."""

    def __init__(self, server: Server, desk: Desk) -> None:
        self._server = server
        self._desk = desk

    def react(self) -> Coroutine[object, object, None] | None:
        """See to all that has happened; a message that is complete has to be waited for."""
        envelope = self._next_message()
        return None if envelope is None else self._finish_all(envelope)

    async def _finish_all(self, envelope: Envelope | None) -> None:
        while envelope is not None:
            await self._desk.finish(envelope)
            envelope = self._next_message()

    def _next_message(self) -> Envelope | None:
        """The envelope of the next one that is complete and with the desk; None: no more has happened."""
        desk = self._desk
        while (event := self._server.next_event()) is not None:
            match event:
                case MailStarted():
                    desk.begin(event.envelope)
                case MailData():
                    desk.write(event.octets)
                case MailAborted() | SessionEnded():
                    desk.abandon()
                case MailReceived():
                    if not event.is_streamed:
                        desk.begin(event.envelope)
                        desk.write(event.envelope.mail_data)
                    return event.envelope
                case _:
                    assert_never(event)
        return None
