"""The client host: sessions that store and forward.

Whatever ends a session before its mail is answered for, the mail is sent again on the next connection, and so on until
the run's limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import assert_never

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp import Client, Outcome
from rudp_smtp.smtp.tls import ClientTls
from rudp_smtp.transport import (
    Closed,
    Established,
    Event,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    Transport,
)
from rudp_smtp.units import SECOND
from rudp_smtp.workload.node import Role, describe_end
from rudp_smtp.workload.smtp.conversation import Conversation, Lines
from rudp_smtp.workload.smtp.mail import Mail, client_domain

# RFC 5321 section 4.5.4.1 asks for half an hour at least, for hosts that are down. Ours is a path that comes back.
RETRY_DELAY = 1 * SECOND
RETRY_DELAY_MAX = 64 * SECOND
STREAM_REFUSED = "the server refused the stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How every session behaves: RFC 2920's groups or one command at a time; when it says EHLO and goodbye; TLS."""

    pipelining: bool = True
    early_ehlo: bool = False
    is_one_message: bool = False  # to a connection
    tls: ClientTls | None = None


class Session:
    """One of the parallel sessions: the mail it still owes, its conversation of the moment, and when to go on."""

    def __init__(self, ordinal: int, lines: Lines, manners: Manners) -> None:
        self.ordinal = ordinal
        self.wake_at: int | None = None
        self._conversation: Conversation | None = None
        self._lines = lines
        self._manners = manners
        self._waiting: list[tuple[int, int, Mail]] = []  # a heap by (due_at, index)
        self._retry_at = 0
        self._retry_delay = RETRY_DELAY

    @property
    def is_over(self) -> bool:
        return self._conversation is None and not self._waiting

    def add(self, mail: Mail) -> None:
        heappush(self._waiting, (mail.due_at, mail.row.index, mail))

    def add_later(self, mail: Mail) -> None:
        """Add a message while the session goes on: it is taken up at the next wake."""
        self.add(mail)
        self.wake_at = self._next_wake()

    def advance(self, now: int) -> None:
        """Hand over what is due, on a new stream if need be; say goodbye behind the last."""
        if self._conversation is None and self._is_due(now) and self._retry_at <= now:
            self._conversation = self._lines.dial(self.ordinal, self._make_client(), now)
        conversation = self._conversation
        if conversation is not None and not conversation.is_leaving:
            while self._is_due(now) and not conversation.is_leaving:
                self._hand_over(conversation, heappop(self._waiting)[2], now)
                if self._manners.is_one_message or not self._waiting:
                    conversation.quit()
            conversation.flush(now)
            self._take_reports(conversation, now)
        self.wake_at = self._next_wake()

    def on_stream_data(self, event: StreamData, now: int) -> None:
        conversation = self._conversation
        assert conversation is not None
        conversation.receive(event, now)
        conversation.flush(now)
        self._take_reports(conversation, now)
        if conversation.is_over and conversation.hang_up(now):
            self._conversation = None
        self.advance(now)

    def on_end(self, reason: str, now: int) -> None:
        """The conversation's stream is gone, whatever ended it."""
        conversation = self._conversation
        assert conversation is not None
        conversation.end()
        for mail in self._take_reports(conversation, now):
            mail.row.reply = reason
        self._conversation = None
        self.advance(now)

    def _make_client(self) -> Client:
        manners = self._manners
        domain = client_domain(self.ordinal)
        return Client(domain=domain, pipelining=manners.pipelining, early_ehlo=manners.early_ehlo, tls=manners.tls)

    def _is_due(self, now: int) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= now

    def _next_wake(self) -> int | None:
        if not self._waiting:
            return None
        due_at = self._waiting[0][0]
        if self._conversation is None:
            return max(due_at, self._retry_at)
        return None if self._conversation.is_leaving else due_at

    def _hand_over(self, conversation: Conversation, mail: Mail, now: int) -> None:
        row = mail.row
        row.submitted_at = mail.due_at if row.submitted_at is None else row.submitted_at
        row.attempts += 1
        try:
            conversation.hand_over(mail)
        except LocalProtocolError as error:
            row.completed_at = now
            row.status = "refused"
            row.reply = f"not sent: {error}"

    def _take_reports(self, conversation: Conversation, now: int) -> list[Mail]:
        """Close the rows that got their final reply. What has none is given back, and waits, longer every time."""
        returned = []
        while (reported := conversation.next_report()) is not None:
            mail, report = reported
            mail.row.reply = str(report.reply)
            match report.outcome:
                case Outcome.ACCEPTED | Outcome.REFUSED:
                    mail.row.completed_at = now
                    mail.row.status = "delivered" if report.accepted else "refused"
                    self._retry_delay = RETRY_DELAY
                case Outcome.DEFERRED:
                    mail.due_at = now + RETRY_DELAY_MAX
                    self.add(mail)
                case Outcome.UNSENT | Outcome.UNCONFIRMED:
                    self.add(mail)
                    returned.append(mail)
                case _:
                    assert_never(report.outcome)
        if returned:
            self._retry_at = now + self._retry_delay
            self._retry_delay = min(2 * self._retry_delay, RETRY_DELAY_MAX)
        return returned


class MailSender(Role):
    """The client host: moves its sessions and knows when all are over."""

    def __init__(self, lines: Lines, sessions: Sequence[Session]) -> None:
        self.is_done = False
        self._lines = lines
        self._sessions = sessions
        self._unfinished = sum(not session.is_over for session in sessions)
        self._wakes: list[tuple[int, int]] = []  # a heap of (wake_at, ordinal); one that changed since is stale

    def take(self, mail: Mail) -> None:
        """One more message, from a server on the same machine. The node's deadline moves: it has to be asked again."""
        session = self._sessions[mail.row.session]
        self._unfinished += session.is_over
        session.add_later(mail)
        self._follow(session)
        self._settle()

    def start(self, now: int) -> None:
        for session in self._sessions:
            session.advance(now)
            self._follow(session)
        self._settle()

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        match event:
            case StreamData():
                found = self._lines.find(connection, event.stream_id)
                if found is None:
                    return
                session = self._sessions[found[1]]
                session.on_stream_data(event, now)
                self._count(session)
            case StreamReset() | StreamStopped():
                found = self._lines.find(connection, event.stream_id)
                if found is None or not found[0].give_up(event.stream_id, STREAM_REFUSED, now):
                    return
                session = self._sessions[found[1]]
                session.on_end(STREAM_REFUSED, now)
                self._count(session)
            case Closed():
                for ordinal in self._lines.forget(connection):
                    session = self._sessions[ordinal]
                    session.on_end(describe_end(event), now)
                    self._count(session)
            case Established() | StreamOpened() | StreamWritable():
                return
            case _:
                assert_never(event)
        self._settle()

    def on_wake(self, now: int) -> None:
        while self._wakes and self._wakes[0][0] <= now:
            session = self._sessions[heappop(self._wakes)[1]]
            if session.wake_at is not None and session.wake_at <= now:
                session.advance(now)
                self._follow(session)
        self._settle()

    def _count(self, session: Session) -> None:
        """A session that had a conversation before this event may have ended with it."""
        self._unfinished -= session.is_over
        self._follow(session)

    def _follow(self, session: Session) -> None:
        """Note the deadline that a session has now."""
        if session.wake_at is not None:
            heappush(self._wakes, (session.wake_at, session.ordinal))

    def _settle(self) -> None:
        wakes = self._wakes
        while wakes and self._sessions[wakes[0][1]].wake_at != wakes[0][0]:
            heappop(wakes)
        self.wake_at = wakes[0][0] if wakes else None
        self.is_done = not self._unfinished
