"""The client's half of a session: envelopes in, commands and DeliveryReport out. RFC 5321, and what the server offers.

Sans-IO over any ordered byte stream, like `server`. With PIPELINING a message's MAIL, RCPT and DATA leave in one
flight, and the next message's ride behind the end mark of the one before; with CHUNKING as well, a short message's
mail data is in that flight too, and waits for nothing.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from itertools import islice
from types import MappingProxyType
from typing import assert_never

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError
from rudp_smtp.machine import Machine
from rudp_smtp.smtp.address import check_own_domain
from rudp_smtp.smtp.auth import Login
from rudp_smtp.smtp.body import Body, MailSource
from rudp_smtp.smtp.commands import Auth, Bdat, Data, Hello, Quit, Rset, StartTls
from rudp_smtp.smtp.delivery import Message, Transaction, check_envelope, mail_command
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import ClientEvent, Outcome, SessionEnded, SessionReady
from rudp_smtp.smtp.lines import PIECE_OCTETS, LineBuffer, encode_text
from rudp_smtp.smtp.parameters import BodyType
from rudp_smtp.smtp.replies import LONG_LINE, NO_TLS, READABLE_LINE_OCTETS, SERVICE_CLOSING, Reply, ReplyReader
from rudp_smtp.smtp.sasl import ClientMechanism, Refused, decode_octets, encode_initial, encode_octets
from rudp_smtp.smtp.state import CLIENT_TRANSITIONS, ClientInput, ClientState
from rudp_smtp.smtp.tls import ClientTls, TlsUse, Wire
from rudp_smtp.smtp.transcript import Transcript, Watch

BROKEN_PROTOCOL = "the server broke the protocol"
STREAM_CLOSED = "the server closed the stream"
SESSION_LOST = "4.4.2 The session ended before the message was accepted"
AHEAD_OCTETS = PIECE_OCTETS  # of whole messages in chunks that may be on their way without an answer
CHUNKS_AHEAD = 2  # of one message


class _Awaited(Enum):
    """What the next reply answers."""

    GREETING = auto()
    HELLO = auto()
    STARTTLS = auto()
    AUTH = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    CHUNK = auto()  # not the last
    TEXT = auto()  # all the mail data
    RSET = auto()
    QUIT = auto()


_MAY_BE_INTERMEDIATE = (_Awaited.DATA, _Awaited.AUTH)


class Client:
    """Owns the session's state, the queue of messages and the list of replies still owed.

    Messages are sent in the order of `submit`, over one session, until `quit`. Each ends in one DeliveryReport.

    With `early_ehlo` the EHLO does not wait for the greeting, which RFC 5321 section 4.3.1 says it SHOULD: it is for a
    server of ours, known to take it, on a transport whose first flight may carry it. Only the EHLO goes early. It
    changes nothing at the server, so a copy of that flight that somebody plays again does no harm.

    With `tls` the session is encrypted as it says, and with `login` authenticated, before any mail; where that fails,
    every message is reported as unsent, and the session ends.

    `watch` is told what both sides say.
    """

    def __init__(
        self,
        *,
        domain: str,
        pipelining: bool = True,
        early_ehlo: bool = False,
        tls: ClientTls | None = None,
        login: Login | None = None,
        watch: Watch | None = None,
    ) -> None:
        check_own_domain(domain)
        self._domain = domain
        self._is_pipelining_wanted = pipelining
        self._tls = tls
        self._login = login
        self._session = Machine(CLIENT_TRANSITIONS, ClientState.GREETING)
        self._wire = Wire()
        self._transcript = Transcript(self._wire, watch, is_client=True)
        self._input = LineBuffer()
        self._replies = ReplyReader()
        self._outgoing: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._messages: deque[Message] = deque()  # submitted, not reported
        self._queue: deque[Message] = deque()  # those with recipients that no transaction has yet
        self._started: deque[Transaction] = deque()  # in part or wholly sent, not settled
        self._awaited: deque[tuple[_Awaited, Transaction | None]] = deque([(_Awaited.GREETING, None)])
        self._answerable = 1  # so many of them may be answered: the greeting, and what was handed out to be sent
        self._extensions: Mapping[str, str] = MappingProxyType({})
        self._limits: Mapping[str, int] = MappingProxyType({})  # RFC 9422
        self._host = ""  # what the server calls itself
        self._mails = 0
        self._mechanism: ClientMechanism | None = None  # while AUTH
        self._body: Body | None = None  # while BODY
        self._is_quit_wanted = False
        self._farewell = "QUIT"  # why the session is being ended
        if tls is not None and self.is_implicit:
            self._wire.start_tls(tls)
        if early_ehlo:
            self._say_hello(ClientInput.HELLO_EARLY, is_extended=True)

    @property
    def done(self) -> bool:
        """The session is over and every message is reported."""
        return self._session.state is ClientState.CLOSED

    @property
    def unreported(self) -> int:
        """Messages submitted whose fate is not known yet."""
        return len(self._messages)

    @property
    def is_encrypted(self) -> bool:
        return self._wire.is_encrypted

    @property
    def is_implicit(self) -> bool:
        """TLS from the first octet."""
        return self._tls is not None and self._tls.use is TlsUse.IMPLICIT

    def submit(self, envelope: Envelope, token: int, source: MailSource | None = None) -> None:
        """Queue a message, with its mail data in the envelope or in a source.

        What SMTP cannot carry as it stands is refused here and now, never repaired.
        """
        if self._is_quit_wanted or self.done:
            raise LocalProtocolError("submit after quit, or after the session ended")
        check_envelope(envelope, source)
        message = Message(token, envelope, source)
        self._messages.append(message)
        self._queue.append(message)
        self._write()

    def quit(self) -> None:
        """Say QUIT as soon as every message submitted before is sent."""
        self._is_quit_wanted = True
        self._write()

    def receive_data(self, data: bytes | memoryview) -> None:
        """Take the next octets of the stream, cut anywhere."""
        if self.done:
            return
        self._input.append(self._wire.receive(data))
        while not self.done and (line := self._input.next_line(READABLE_LINE_OCTETS)) is not None:
            self._transcript.on_reply_line(line)
            try:
                reply = self._replies.receive_line(line)
                if reply is not None:
                    self._on_reply(reply)
                    self._write()
            except SmtpSyntaxError as error:
                self._close(f"{BROKEN_PROTOCOL}: {error}")
        if self._input.is_line_too_long:  # its end may never come
            self._close(f"{BROKEN_PROTOCOL}: {LONG_LINE}")
        channel = self._wire.channel
        if channel is not None and (channel.failure or channel.is_over) and not self.done:
            self._close(f"TLS: {channel.failure}" if channel.failure else STREAM_CLOSED)

    def receive_eof(self) -> None:
        """The server will send no more."""
        if not self.done:
            self._close(STREAM_CLOSED)

    def data_to_send(self) -> bytes:
        """Drain what has to go to the server. From now on it may be answered, and mail data in it may arrive.

        Of a source no more than a block comes at a time: ask again when that is sent, until nothing comes.
        """
        if self._body is not None:
            self._draw(self._body)
        if self._outgoing:
            for awaited, transaction in islice(self._awaited, self._answerable, None):
                if awaited is _Awaited.TEXT and transaction is not None:
                    transaction.is_text_sent = True
            self._answerable = len(self._awaited)
            self._wire.send(b"".join(self._outgoing))
            self._outgoing.clear()
        self._transcript.flush()
        return self._wire.octets_to_send(is_last=self.done)

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def next_event(self) -> ClientEvent | None:
        return self._events.popleft() if self._events else None

    def _write(self) -> None:
        """Write commands for as long as state, pipelining and queue allow."""
        while not self._awaited or self._is_pipelining:
            match self._session.state:
                case ClientState.READY:
                    went_on = self._begin_next()
                case ClientState.ENVELOPE:
                    went_on = self._continue_envelope(self._started[-1])
                case ClientState.ABANDONED if self._queue and not self._is_ahead:
                    went_on = self._command(ClientInput.RSET, Rset().encode(), _Awaited.RSET)
                case ClientState.ABANDONED if self._is_quit_wanted and not self._queue:
                    went_on = self._command(ClientInput.QUIT, Quit().encode(), _Awaited.QUIT)
                case _:
                    went_on = False
            if not went_on:
                return

    @property
    def _is_pipelining(self) -> bool:
        return self._is_pipelining_wanted and "PIPELINING" in self._extensions

    @property
    def _is_ahead(self) -> bool:
        """As much is on its way without an answer as a server should have to hold."""
        chunked = (transaction.message.size or 0 for transaction in self._started if transaction.is_chunked)
        return sum(chunked) >= AHEAD_OCTETS

    def _begin_next(self) -> bool:
        if not self._queue:
            may_quit = self._is_quit_wanted and not any(transaction.has_rest for transaction in self._started)
            return may_quit and self._command(ClientInput.QUIT, Quit().encode(), _Awaited.QUIT)
        if self._mails >= self._limits.get("MAILMAX", self._mails + 1):
            return self._leave_at_limit()
        if self._is_ahead:
            return False
        message = self._queue[0]
        is_safe = self._wire.is_encrypted and self._tls is not None and self._tls.is_verifying
        is_known = self._login is not None
        mail = mail_command(message, self._extensions, is_encrypted=is_safe, is_authenticated=is_known)
        if isinstance(mail, Reply):
            self._queue.popleft()
            message.give_up(mail, is_local=True, outcome=Outcome.REFUSED)
            self._report(message)
            return True
        transaction = message.begin(self._limits, is_chunked="CHUNKING" in self._extensions)
        if message.is_assigned:
            self._queue.popleft()
        self._started.append(transaction)
        self._mails += 1
        return self._command(ClientInput.MAIL, mail.encode(), _Awaited.MAIL, transaction)

    def _leave_at_limit(self) -> bool:
        """RFC 9422 section 4.1: whoever has more for this server begins another session."""
        reason = f"the server takes no more than {self._mails} messages in a session"
        self._farewell = reason
        for message in self._queue:
            message.give_up_rest(Reply(451, (f"4.5.3 {reason}",)), is_local=True)
            self._report(message)
        self._queue.clear()
        return self._command(ClientInput.QUIT, Quit().encode(), _Awaited.QUIT)

    def _continue_envelope(self, transaction: Transaction) -> bool:
        if transaction.recipients_written < len(transaction.indices):
            self._send(transaction.next_rcpt().encode())
            self._awaited.append((_Awaited.RCPT, transaction))
            return True
        if not self._awaited and not transaction.has_recipient:
            self._session.advance(ClientInput.ABANDON)
            self._settle(transaction, transaction.recipient_replies[-1])
            return True
        if not transaction.is_chunked:
            return self._command(ClientInput.DATA, Data().encode(), _Awaited.DATA, transaction)
        message = transaction.message
        if message.source is None and len(message.envelope.mail_data) < AHEAD_OCTETS:
            text = message.envelope.mail_data
            chunk = Bdat(len(text), is_last=True).encode() + text
            return self._command(ClientInput.LAST_CHUNK, chunk, _Awaited.TEXT, transaction)
        if transaction is self._started[0] and len(transaction.recipient_replies) == len(transaction.indices):
            self._begin_body(transaction)
        return False  # a long message waits until somebody is known to get it

    def _begin_body(self, transaction: Transaction) -> None:
        self._session.advance(ClientInput.BODY)
        message = transaction.message
        text = message.envelope.mail_data
        self._body = Body(
            message.source or MailSource(lambda: (text,)),
            is_chunked=transaction.is_chunked,
            is_binary=message.envelope.body is BodyType.BINARY_MIME,
            is_seven_bit="8BITMIME" not in self._extensions,
        )

    def _draw(self, body: Body) -> None:
        """Write the next block of the mail data that is under way, unless the server is behind with its answers."""
        transaction = self._started[0]
        chunks_ahead = sum(awaited is _Awaited.CHUNK for awaited, _ in self._awaited)
        if self._outgoing or chunks_ahead >= (CHUNKS_AHEAD if self._is_pipelining else 1):
            return None
        octets = body.take()
        if body.defect:
            return self._break_off(transaction, body)
        if not body.is_over:
            self._send(octets, is_text=not transaction.is_chunked)
            if transaction.is_chunked:
                self._awaited.append((_Awaited.CHUNK, transaction))
            return None
        self._body = None
        step = ClientInput.LAST_CHUNK if transaction.is_chunked else ClientInput.TEXT
        self._command(step, octets, _Awaited.TEXT, transaction)
        return self._write()

    def _break_off(self, transaction: Transaction, body: Body) -> None:
        """The source has what cannot be sent. RSET takes chunks back; what is behind DATA, only the session's end."""
        refusal = Reply(554, (f"5.6.0 {body.defect}",))
        transaction.message.give_up(refusal, is_local=True, outcome=Outcome.REFUSED)
        self._started.remove(transaction)
        if transaction.message in self._queue:
            self._queue.remove(transaction.message)
        self._report(transaction.message)
        self._drop_body()
        if not transaction.is_chunked:
            return self._close(f"a message could not be sent to its end: {body.defect}")
        self._session.advance(ClientInput.ABANDON)
        return self._write()

    def _drop_body(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def _command(
        self, step: ClientInput, octets: bytes, awaited: _Awaited, transaction: Transaction | None = None
    ) -> bool:
        self._session.advance(step)
        self._send(octets, is_text=step is ClientInput.TEXT)
        self._awaited.append((awaited, transaction))
        return True

    def _send(self, octets: bytes, *, is_text: bool = False) -> None:
        self._outgoing.append(octets)
        self._transcript.on_flight(octets, is_text=is_text)

    def _on_reply(self, reply: Reply) -> None:
        if reply.code == SERVICE_CLOSING:
            return self._on_service_closing(reply)
        if not self._answerable:
            # A reply that was under way before its command is none: 354 and 250 at once do not mean that mail arrived.
            raise SmtpSyntaxError(f"reply {reply.code} to no command")
        self._answerable -= 1
        awaited, transaction = self._awaited.popleft()
        is_wrong = reply.is_intermediate != (awaited is _Awaited.DATA) and awaited is not _Awaited.AUTH
        if is_wrong and (reply.is_positive or reply.is_intermediate):
            raise SmtpSyntaxError(f"reply {reply.code} to {awaited.name}")
        if transaction is not None:
            return self._on_transaction_reply(awaited, transaction, reply)
        return self._on_session_reply(awaited, reply)

    def _on_session_reply(self, awaited: _Awaited, reply: Reply) -> None:
        match awaited:
            case _Awaited.HELLO if self._session.state is ClientState.QUITTING:
                pass  # it was said before the greeting, which refused service
            case _Awaited.GREETING if reply.is_positive:
                if self._session.state is ClientState.GREETING:
                    self._say_hello(ClientInput.GREETED, is_extended=True)
                else:
                    self._session.advance(ClientInput.GREETED)
            case _Awaited.HELLO if reply.is_positive:
                self._on_hello_accepted(reply)
            case _Awaited.HELLO if reply.is_permanent and self._session.allows(ClientInput.HELLO_REFUSED):
                self._say_hello(ClientInput.HELLO_REFUSED, is_extended=False)
            case _Awaited.GREETING | _Awaited.HELLO:
                self._leave(f"the server refused service: {reply}", reply)
            case _Awaited.STARTTLS:
                self._on_starttls_reply(reply)
            case _Awaited.AUTH:
                self._on_auth_reply(reply)
            case _Awaited.RSET if not reply.is_positive:
                raise SmtpSyntaxError(f"reply {reply.code} to RSET")
            case _Awaited.QUIT:
                self._close(self._farewell, is_clean=True)

    def _leave(self, reason: str, reply: Reply, *, is_local: bool = False) -> None:
        """No mail will be sent. RFC 5321 section 3.1: a server that refuses service waits for QUIT."""
        self._farewell = reason
        self._give_up(reply, is_local=is_local)
        self._command(ClientInput.QUIT, Quit().encode(), _Awaited.QUIT)

    def _say_hello(self, step: ClientInput, *, is_extended: bool) -> None:
        self._command(step, Hello(self._domain, is_extended=is_extended).encode(), _Awaited.HELLO)

    def _on_hello_accepted(self, reply: Reply) -> None:
        self._extensions = MappingProxyType({})
        if self._session.state is ClientState.EHLO:
            words = (line.upper().partition(" ") for line in reply.lines[1:])
            self._extensions = MappingProxyType({keyword: parameters.strip() for keyword, _, parameters in words})
        self._limits = _parse_limits(self._extensions.get("LIMITS", ""))
        self._host = reply.lines[0].partition(" ")[0]
        if self._tls is not None and self._wire.channel is None:
            if "STARTTLS" in self._extensions:
                self._command(ClientInput.STARTTLS, StartTls().encode(), _Awaited.STARTTLS)
                return
            if self._tls.use is TlsUse.REQUIRED:
                refusal = Reply(454, (f"{NO_TLS} The server does not offer STARTTLS",))
                self._leave("the server does not offer STARTTLS", refusal, is_local=True)
                return
        self._authenticate()

    def _on_starttls_reply(self, reply: Reply) -> None:
        assert self._tls is not None
        if reply.is_positive:
            # RFC 3207 section 4.2: forget what the server said. What stands behind its 220 was said in the clear, by
            # whomever, and must not be taken for an answer under TLS.
            self._input.clear()
            self._extensions = MappingProxyType({})
            self._wire.start_tls(self._tls)
            self._say_hello(ClientInput.ENCRYPTED, is_extended=True)
        elif self._tls.use is TlsUse.REQUIRED:
            refusal = Reply(454, (f"{NO_TLS} The server refused TLS: {reply}",))
            self._leave(f"the server refused TLS: {reply}", refusal, is_local=True)
        else:
            self._authenticate()

    def _authenticate(self) -> None:
        """The session is as safe as it gets: say who we are, if we are anybody."""
        if self._login is None:
            return self._get_ready()
        offered = self._extensions.get("AUTH", "").split()
        chosen = self._login.choose(offered, self._binding, is_encrypted=self._wire.is_encrypted)
        if chosen is None:
            refusal = Reply(454, ("4.7.0 The server offers no way to authenticate that is safe to use",))
            return self._leave("no mechanism to authenticate that both sides have", refusal, is_local=True)
        name, self._mechanism = chosen
        step = self._mechanism.respond(None) if name != "LOGIN" else None
        initial = None if step is None or isinstance(step, Refused) else encode_initial(step.octets)
        self._command(ClientInput.AUTH, Auth(name, initial).encode(), _Awaited.AUTH)
        return None

    def _on_auth_reply(self, reply: Reply) -> None:
        assert self._mechanism is not None
        if reply.is_positive:
            if not self._mechanism.is_satisfied:
                raise SmtpSyntaxError("the server did not prove that it knows the password")
            self._mechanism = None
            self._session.advance(ClientInput.AUTH_GRANTED)
            self._tell_ready()
        elif not reply.is_intermediate:
            self._leave(f"authentication failed: {reply}", reply)
        else:
            self._outgoing.append(_response(self._mechanism, reply.lines[0]).encode("ascii") + b"\r\n")
            self._transcript.on_response()
            self._awaited.append((_Awaited.AUTH, None))

    def _binding(self, kind: str) -> bytes | None:
        return None if self._wire.channel is None else self._wire.channel.binding(kind)

    def _get_ready(self) -> None:
        self._session.advance(ClientInput.HELLO_ACCEPTED)
        self._tell_ready()

    def _tell_ready(self) -> None:
        self._events.append(SessionReady(self._host, self._extensions))

    def _on_transaction_reply(self, awaited: _Awaited, transaction: Transaction, reply: Reply) -> None:
        match awaited:
            case _Awaited.MAIL:
                transaction.mail_reply = reply
                if not reply.is_positive and self._session.state is ClientState.ENVELOPE and not self._awaited:
                    self._session.advance(ClientInput.MAIL_REFUSED)  # nothing was pipelined
                    self._settle(transaction, reply)
            case _Awaited.RCPT:
                transaction.recipient_replies.append(reply)
            case _Awaited.DATA if reply.is_intermediate:
                self._on_go_ahead(transaction)
            case _Awaited.DATA:
                refused = transaction.is_mail_refused
                self._session.advance(ClientInput.MAIL_REFUSED if refused else ClientInput.ABANDON)
                self._settle(transaction, reply)
            case _Awaited.CHUNK:
                self._on_chunk_reply(transaction, reply)
            case _Awaited.TEXT:
                is_open = self._session.state is ClientState.ABANDONED and transaction is self._started[-1]
                if is_open and transaction.is_chunked and reply.is_positive:
                    self._session.advance(ClientInput.ACCEPTED)
                self._settle(transaction, reply)
            case _Awaited.GREETING | _Awaited.HELLO | _Awaited.STARTTLS | _Awaited.AUTH | _Awaited.RSET | _Awaited.QUIT:
                raise AssertionError(awaited)
            case _:
                assert_never(awaited)

    def _on_go_ahead(self, transaction: Transaction) -> None:
        if transaction.message.source is not None and transaction.has_recipient:
            self._begin_body(transaction)
            return
        # RFC 2920 section 3.1: DATA may be accepted though no recipient was: then send a single dot.
        text = transaction.message.envelope.mail_data if transaction.has_recipient else b""
        self._command(ClientInput.TEXT, encode_text(text), _Awaited.TEXT, transaction)

    def _on_chunk_reply(self, transaction: Transaction, reply: Reply) -> None:
        if reply.is_positive or transaction not in self._started:
            return
        transaction.chunk_refusal = transaction.chunk_refusal or reply
        if self._session.state is ClientState.BODY:
            self._drop_body()
            self._session.advance(ClientInput.ABANDON)
            self._settle(transaction, reply)

    def _settle(self, transaction: Transaction, decision: Reply) -> None:
        self._started.remove(transaction)
        message = transaction.message
        message.settle(transaction, decision)
        if not message.is_assigned and message not in self._queue:
            self._queue.appendleft(message)
        self._report(message)

    def _report(self, message: Message) -> None:
        """Tell of a message if its fate is known."""
        if message.is_over:
            self._messages.remove(message)  # from its front, nearly: they are sent in their order
            self._events.append(message.report())

    def _on_service_closing(self, reply: Reply) -> None:
        """421: the session is over. In the place of an end mark's reply it is the answer to that message as well."""
        awaited, transaction = self._awaited[0] if self._answerable else (_Awaited.QUIT, None)
        if awaited is _Awaited.TEXT and transaction is not None:
            self._settle(transaction, reply)
        self._give_up(reply, is_local=False, is_read=False)
        self._close(f"the server closed the session: {reply}")

    def _give_up(self, reply: Reply, *, is_local: bool, is_read: bool = True) -> None:
        """Report everything pending as not delivered, as far as we know."""
        for message in tuple(self._messages):
            message.give_up(reply, is_local=is_local, is_read=is_read)
            self._report(message)
        self._started.clear()
        self._queue.clear()

    def _close(self, reason: str, *, is_clean: bool = False) -> None:
        channel = self._wire.channel
        is_handshake = channel is not None and not channel.is_established
        self._give_up(Reply(451, (f"{NO_TLS} {reason}",)) if is_handshake else _lost(reason), is_local=True)
        self._drop_body()
        self._session.advance(ClientInput.CLOSE)
        self._input.clear()
        self._outgoing.clear()  # what was reported as unsent must not be sent
        self._transcript.forget_unsent()
        self._awaited.clear()
        self._answerable = 0
        self._events.append(SessionEnded(reason, is_clean))


def _lost(reason: str) -> Reply:
    """What is said of a message that the session's end has overtaken; a stream that is closed says nothing more."""
    if reason == STREAM_CLOSED:
        return Reply(451, (SESSION_LOST,))
    return Reply(451, (f"{SESSION_LOST}: {reason if reason.isascii() and reason.isprintable() else ascii(reason)}",))


def _response(mechanism: ClientMechanism, challenge: str) -> str:
    """What is said to a challenge; RFC 4954 section 4: "*" where it cannot be decoded, or must not be answered."""
    try:
        step = mechanism.respond(decode_octets(challenge))
    except SmtpSyntaxError:
        return "*"
    return "*" if isinstance(step, Refused) else encode_octets(step.octets)


def _parse_limits(text: str) -> Mapping[str, int]:
    """RFC 9422 section 3; a limit that is not understood, or that nothing could be sent under, is none."""
    words = (word.partition("=") for word in text.split())
    return MappingProxyType({name: int(value) for name, _, value in words if value.isdecimal() and int(value) > 0})
