"""Conversation: an SMTP session on a stream. Lines: which sessions share a connection, and when it is closed."""

from typing import assert_never

from rudp_smtp.smtp import Client, DeliveryReport, SessionEnded, SessionReady
from rudp_smtp.transport import Address, Endpoint, StreamData, Transport
from rudp_smtp.workload import SERVER
from rudp_smtp.workload.smtp.dialogue import overhear
from rudp_smtp.workload.smtp.mail import Mail


class Line:
    """A connection and the sessions that talk on its streams. It is closed behind the last of them."""

    __slots__ = ("connection", "is_closing", "sessions")

    def __init__(self, connection: Transport) -> None:
        self.connection = connection
        self.is_closing = False  # by us: no session begins here any more
        self.sessions: dict[int, int] = {}  # stream ID -> the session's ordinal

    def hang_up(self, stream_id: int, now: int) -> bool:
        """Finish a stream, or the connection with its last one; False: the end is told by Closed."""
        if len(self.sessions) > 1:
            self.connection.send(stream_id, b"", True)
            del self.sessions[stream_id]
            return True
        if not self.is_closing:
            self.is_closing = True
            self.connection.close(now)
        return False

    def give_up(self, stream_id: int, reason: str, now: int) -> bool:
        """Abandon a stream, or the connection with its last one; False: the end is told by Closed."""
        if len(self.sessions) > 1:
            self.connection.reset_stream(stream_id, 0)
            self.connection.stop_sending(stream_id, 0)
            del self.sessions[stream_id]
            return True
        if not self.is_closing:
            self.is_closing = True
            self.connection.reset(0, reason, now)
        return False


class Conversation:
    """One SMTP session on one stream, from its opening to its end. Owns which mail the session was handed."""

    __slots__ = ("_client", "_dialogue", "_handed", "_line", "_stream_id", "is_leaving")

    def __init__(self, line: Line, ordinal: int, client: Client, now: int) -> None:
        self.is_leaving = False  # QUIT is said, or the session ended without: no more mail is taken
        self._line = line
        self._client = client
        self._stream_id = line.connection.open_stream()  # before the handshake is complete
        self._handed: dict[int, Mail] = {}
        self._dialogue = None if client.is_implicit else overhear(line.connection, self._stream_id)
        line.sessions[self._stream_id] = ordinal
        hello = client.data_to_send()  # before it was handed any mail: nothing but an early EHLO, or TLS's hello
        if hello:
            line.connection.send(self._stream_id, hello, is_replay_safe=True)
            if self._dialogue is not None:
                self._dialogue.on_commands(hello, now)

    @property
    def is_over(self) -> bool:
        """The session has said and heard its last word."""
        return self._client.done

    def hand_over(self, mail: Mail) -> None:
        self._client.submit(mail.envelope, mail.row.index)
        self._handed[mail.row.index] = mail

    def quit(self) -> None:
        self.is_leaving = True
        self._client.quit()

    def receive(self, event: StreamData, now: int) -> None:
        if self._dialogue is not None:
            self._dialogue.on_replies(event.data, now)
        self._client.receive_data(event.data)
        if event.is_fin:
            self._client.receive_eof()

    def flush(self, now: int) -> None:
        """Send what the session has to say."""
        octets = self._client.data_to_send()
        if octets:
            self._line.connection.send(self._stream_id, octets)
            if self._dialogue is not None:
                self._dialogue.on_commands(octets, now)
        if self._client.done:
            self.is_leaving = True

    def hang_up(self, now: int) -> bool:
        """Leave behind the last word; False: the connection's Closed will say when it is done."""
        return self._line.hang_up(self._stream_id, now)

    def end(self) -> None:
        """The stream is gone."""
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


class Lines:
    """Owns the client host's connections: one for each session, or one that all sessions share while it lasts."""

    def __init__(self, endpoint: Endpoint, remote: Address = SERVER, *, is_shared: bool = False) -> None:
        self._endpoint = endpoint
        self._remote = remote
        self._is_shared = is_shared
        self._lines: dict[Transport, Line] = {}
        self._common: Line | None = None

    def dial(self, ordinal: int, client: Client, now: int) -> Conversation:
        """Begin a session's conversation, on a new connection if there is none to share."""
        line = self._common
        if line is None or line.is_closing:
            line = Line(self._endpoint.connect(self._remote, now))
            self._lines[line.connection] = line
            if self._is_shared:
                self._common = line
        return Conversation(line, ordinal, client, now)

    def find(self, connection: Transport, stream_id: int) -> tuple[Line, int] | None:
        """The line and the session that a stream belongs to; None: its session has left it."""
        line = self._lines[connection]
        ordinal = line.sessions.get(stream_id)
        return None if ordinal is None else (line, ordinal)

    def forget(self, connection: Transport) -> list[int]:
        """Drop a connection that is gone; the sessions that were on it, in the order they came."""
        line = self._lines.pop(connection)
        if line is self._common:
            self._common = None
        return list(line.sessions.values())
