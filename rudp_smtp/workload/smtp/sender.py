"""The client host: sessions that store and forward.

Whatever ends a session before its mail is answered for, the mail is sent again on the next connection, and so on until
the run's limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import assert_never

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp import Client, DeliveryReport, Envelope, Outcome, SessionEnded, SessionReady
from rudp_smtp.transport import (
    Closed,
    Endpoint,
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
from rudp_smtp.workload import Delivery
from rudp_smtp.workload.node import SERVER, Role, describe_end

# RFC 5321 section 4.5.4.1 asks for half an hour at least, for hosts that are down. Ours is a path that comes back.
RETRY_DELAY = 1 * SECOND
RETRY_DELAY_MAX = 64 * SECOND


def client_domain(session: int) -> str:
    """What a session calls itself in EHLO; copies in the mailbox are told apart by it."""
    return f"session-{session}.client.example"


@dataclass(slots=True, eq=False)
class Mail:
    """A message to be sent, from when on, and its row so far."""

    envelope: Envelope
    due_at: int
    row: Delivery


class Conversation:
    """One connection and the SMTP session on it, from connect to Closed. Owns which mail the session was handed."""

    __slots__ = ("_client", "_handed", "_is_closing", "_stream_id", "connection", "is_leaving")

    def __init__(self, connection: Transport, client: Client) -> None:
        self.connection = connection
        self.is_leaving = False  # QUIT is said, or the session ended without: no more mail is taken
        self._client = client
        self._stream_id = connection.open_stream()  # before the handshake is complete
        self._handed: dict[int, Mail] = {}
        self._is_closing = False

    def hand_over(self, mail: Mail) -> None:
        self._client.submit(mail.envelope, mail.row.index)
        self._handed[mail.row.index] = mail

    def quit(self) -> None:
        self.is_leaving = True
        self._client.quit()

    def receive(self, event: StreamData) -> None:
        self._client.receive_data(event.data)
        if event.is_fin:
            self._client.receive_eof()

    def flush(self, now: int) -> None:
        """Send what the session has to say; close the connection behind its last word."""
        octets = self._client.data_to_send()
        if octets:
            self.connection.send(self._stream_id, octets)
        if self._client.done and not self._is_closing:
            self.is_leaving = self._is_closing = True
            self.connection.close(now)

    def end(self) -> None:
        """The connection is gone."""
        self._client.receive_eof()

    def next_report(self) -> tuple[Mail, DeliveryReport] | None:
        """The next mail whose fate in this session is known."""
        while (event := self._client.next_event()) is not None:
            match event:
                case DeliveryReport():
                    return self._handed.pop(event.token), event
                case SessionReady() | SessionEnded():
                    pass
                case _:
                    assert_never(event)
        return None


class Session:
    """One of the parallel sessions: the mail it still owes, its conversation of the moment, and when to go on."""

    def __init__(self, ordinal: int, endpoint: Endpoint, *, pipelining: bool) -> None:
        self.ordinal = ordinal
        self.conversation: Conversation | None = None
        self.wake_at: int | None = None
        self._domain = client_domain(ordinal)
        self._endpoint = endpoint
        self._pipelining = pipelining
        self._waiting: list[tuple[int, int, Mail]] = []  # a heap by (due_at, index)
        self._retry_at = 0
        self._retry_delay = RETRY_DELAY

    @property
    def is_over(self) -> bool:
        return self.conversation is None and not self._waiting

    def add(self, mail: Mail) -> None:
        heappush(self._waiting, (mail.due_at, mail.row.index, mail))

    def advance(self, now: int) -> None:
        """Hand over what is due, on a new connection if need be; say goodbye behind the last."""
        if self.conversation is None and self._is_due(now) and self._retry_at <= now:
            client = Client(domain=self._domain, pipelining=self._pipelining)
            self.conversation = Conversation(self._endpoint.connect(SERVER, now), client)
        conversation = self.conversation
        if conversation is not None and not conversation.is_leaving:
            while self._is_due(now):
                self._hand_over(conversation, heappop(self._waiting)[2], now)
            if not self._waiting:
                conversation.quit()
            conversation.flush(now)
            self._take_reports(conversation, now)
        self.wake_at = self._next_wake()

    def on_stream_data(self, event: StreamData, now: int) -> None:
        conversation = self.conversation
        assert conversation is not None
        conversation.receive(event)
        conversation.flush(now)
        self._take_reports(conversation, now)
        self.advance(now)

    def on_closed(self, end: Closed, now: int) -> None:
        conversation = self.conversation
        assert conversation is not None
        conversation.end()
        for mail in self._take_reports(conversation, now):
            mail.row.reply = describe_end(end)
        self.conversation = None
        self.advance(now)

    def _is_due(self, now: int) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= now

    def _next_wake(self) -> int | None:
        if not self._waiting:
            return None
        due_at = self._waiting[0][0]
        if self.conversation is None:
            return max(due_at, self._retry_at)
        return None if self.conversation.is_leaving else due_at

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

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.is_done = False
        self._sessions = sessions
        self._unfinished = sum(not session.is_over for session in sessions)
        self._by_connection: dict[Transport, Session] = {}
        self._wakes: list[tuple[int, int]] = []  # a heap of (wake_at, ordinal); one that changed since is stale

    def start(self, now: int) -> None:
        for session in self._sessions:
            session.advance(now)
            self._follow(session)
        self._settle()

    def on_event(self, connection: Transport, event: Event, now: int) -> None:
        match event:
            case StreamData():
                session = self._by_connection[connection]
                session.on_stream_data(event, now)
                self._follow(session)
            case StreamReset() | StreamStopped():
                connection.reset(0, "the server refused the stream", now)
            case Closed():
                session = self._by_connection.pop(connection)
                session.on_closed(event, now)
                self._unfinished -= session.is_over
                self._follow(session)
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

    def _follow(self, session: Session) -> None:
        """Note the connection and the deadline that a session has now."""
        if session.conversation is not None:
            self._by_connection[session.conversation.connection] = session
        if session.wake_at is not None:
            heappush(self._wakes, (session.wake_at, session.ordinal))

    def _settle(self) -> None:
        wakes = self._wakes
        while wakes and self._sessions[wakes[0][1]].wake_at != wakes[0][0]:
            heappop(wakes)
        self.wake_at = wakes[0][0] if wakes else None
        self.is_done = not self._unfinished
