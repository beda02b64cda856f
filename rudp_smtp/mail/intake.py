"""From one session's server to a store: mail data into drafts as it comes, and the answer once a commit was made.

A driver with many sessions gathers the drafts that are complete, commits them together, and answers each.
"""

from collections.abc import Callable
from typing import Generic, TypeVar, assert_never

from rudp_smtp.errors import MailboxError
from rudp_smtp.mail.mailbox import refusal
from rudp_smtp.mail.spool import Draft, Keyed, Receipt
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import MailAborted, MailData, MailReceived, MailStarted, SessionEnded
from rudp_smtp.smtp.server import Server

K = TypeVar("K", bound=Keyed)


class Intake(Generic[K]):
    """Owns the draft of the message that is coming in. `begin` makes one: the store's, with the fields in front."""

    def __init__(self, server: Server, begin: Callable[[Envelope], Draft[K]]) -> None:
        self._server = server
        self._begin = begin
        self._draft: Draft[K] | None = None

    def next_event(self) -> Draft[K] | SessionEnded | None:
        """A draft that is complete and waits for `answer`, or the end of the session; None: more has to come first."""
        while (event := self._server.next_event()) is not None:
            match event:
                case MailStarted():
                    self._draft = self._begin(event.envelope)
                case MailData():
                    assert self._draft is not None
                    self._draft.write(event.octets)
                case MailAborted():
                    self.abandon()
                case MailReceived():
                    return self._complete(event)
                case SessionEnded():
                    self.abandon()
                    return event
                case _:
                    assert_never(event)
        return None

    def answer(self, outcome: Receipt | MailboxError) -> None:
        """Say to the client what became of the draft."""
        self._draft = None
        if isinstance(outcome, MailboxError):
            self._server.reject_mail(refusal(outcome))
        else:
            self._server.accept_mail(outcome.answer)

    def abandon(self) -> None:
        """Forget the message that was coming in: the session is over, or its server is."""
        if self._draft is not None:
            self._draft.abandon()
            self._draft = None

    def _complete(self, event: MailReceived) -> Draft[K]:
        draft = self._draft if self._draft is not None else self._begin(event.envelope)
        draft.write(event.envelope.mail_data)
        self._draft = draft
        return draft
