"""The server's half of a session: bytes in, replies and events out. RFC 5321, and what `Extensions` and `tls` name.

Sans-IO over any ordered byte stream. `receive_data`, `receive_eof` and `handle_timeout` are inputs, `data_to_send` and
`next_event` are outputs; 250 for a message is said when the application says `accept_mail`, and not before.
"""

from collections import deque
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import assert_never

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.machine import Machine
from rudp_smtp.smtp.address import check_own_domain
from rudp_smtp.smtp.auth import Authentication
from rudp_smtp.smtp.authenticator import RESPONSE_OCTETS, AuthAnswer, Authenticator
from rudp_smtp.smtp.commands import (
    Auth,
    Bdat,
    Command,
    Data,
    Hello,
    Help,
    MailFrom,
    Malformed,
    Noop,
    Quit,
    RcptTo,
    Rset,
    StartTls,
    Vrfy,
    parse_command,
)
from rudp_smtp.smtp.config import Extensions, Limits
from rudp_smtp.smtp.events import ServerEvent, SessionEnded
from rudp_smtp.smtp.lines import LineBuffer
from rudp_smtp.smtp.parameters import BodyType
from rudp_smtp.smtp.reception import Reception
from rudp_smtp.smtp.replies import SERVICE_CLOSING, Reply
from rudp_smtp.smtp.state import SERVER_TRANSITIONS, ServerInput, ServerState
from rudp_smtp.smtp.tls import ServerTls, Wire
from rudp_smtp.smtp.transaction import Peer, RecipientPolicy, Recipients, Transaction, check_refusal
from rudp_smtp.smtp.transcript import Transcript, Watch

# Asked for with every command, and an Enum finds its members slowly.
_DATA, _CHUNK, _DELIVERING = ServerState.DATA, ServerState.CHUNK, ServerState.DELIVERING
_AUTHENTICATING, _HANDSHAKE, _CLOSED = ServerState.AUTHENTICATING, ServerState.HANDSHAKE, ServerState.CLOSED

NOBODY = Hello("", is_extended=False)
HELP_ORDER = ("EHLO", "LHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "STARTTLS", "AUTH",
              "HELP", "QUIT")  # fmt: skip


class Server:
    """Owns the session's state, the transaction being built and the input that waits; leaves storage to others.

    `accepts` decides on each recipient; without it only those at `local_domains` (by default `domain`) are accepted.
    The postmaster of a local domain always is (RFC 5321 section 4.5.1). `deadline`: the time, in the caller's ns, at
    which the session ends whatever goes on. With `is_lmtp` the session speaks RFC 2033. `client_address`: the client's
    IP address, if known, for the Received field.
    """

    def __init__(
        self,
        *,
        domain: str,
        limits: Limits | None = None,
        accepts: RecipientPolicy | None = None,
        local_domains: tuple[str, ...] | None = None,
        extensions: Extensions | None = None,
        tls: ServerTls | None = None,
        authentication: Authentication | None = None,
        is_lmtp: bool = False,
        deadline: int | None = None,
        client_address: str = "",
    ) -> None:
        check_own_domain(domain)
        self._domain = domain
        self._limits = limits or Limits()
        self._recipients = Recipients(self._limits, local_domains or (domain,), accepts)
        self._extensions = extensions or Extensions()
        self._tls = tls
        self._is_lmtp = is_lmtp
        self._deadline = deadline
        self._client_address = client_address
        is_implicit = tls is not None and tls.is_implicit
        self._session = Machine(SERVER_TRANSITIONS, ServerState.HANDSHAKE if is_implicit else ServerState.CONNECTED)
        self._wire = Wire()
        self._transcript = Transcript(self._wire, None, is_client=False)
        self._authenticator = Authenticator(authentication, self._wire, self._limits.authentication_failures)
        self._has_authentication = authentication is not None
        self._input = LineBuffer()
        self._outgoing: list[bytes] = []
        self._events: deque[ServerEvent] = deque()
        self._set_grammar()
        self._hello = NOBODY
        self._transaction: Transaction | None = None  # from MAIL on
        self._chunk = Bdat(0, is_last=False)  # what is left of the one that comes in
        self._refused_chunk: tuple[int, Reply | None] | None = (
            None  # octets to be swallowed, and what is said behind them
        )
        self._mails = self._errors = self._idle_commands = 0
        self._shut_down: Reply | None = None  # said as soon as no message waits for its answer
        self._is_input_over = False
        self._is_early = False  # what is being read
        if tls is not None and is_implicit:
            self._wire.start_tls(tls)
        else:
            self._greet()

    @property
    def done(self) -> bool:
        """No more will be read or written; `data_to_send` may still hold the last reply."""
        return self._session.state is _CLOSED

    @property
    def is_waiting(self) -> bool:
        """A message waits for `accept_mail` or `reject_mail`."""
        return self._session.state is _DELIVERING

    @property
    def peer(self) -> Peer:
        """What is known of the client now: a RecipientPolicy may want to look at it."""
        return Peer(self._hello, self._is_lmtp, self._wire.is_encrypted, self._authenticator.name, self._client_address)

    @property
    def authentication_failures(self) -> int:
        """How often the client has failed to prove who it is: an operator may want to slow its guessing."""
        return self._authenticator.failures

    def tell(self, watch: Watch) -> None:
        """Have this one told what both sides say, and what has not been sent yet."""
        self._transcript = Transcript(self._wire, watch, is_client=False)
        for encoded in self._outgoing:
            self._transcript.on_reply(encoded)

    def receive_data(self, data: bytes | memoryview, *, is_early: bool = False) -> None:
        """Take the next octets of the stream, cut anywhere.

        `is_early`: of a client's first flight, which anybody may have recorded and play again (RFC 8470 section 2).
        Then EHLO is heard, which changes nothing here, and whatever else there is ends the session.
        """
        if self.done or self._is_input_over:
            return
        data = self._wire.receive(data)
        self._follow_channel()
        self._is_early = is_early
        if self.is_waiting and len(self._input) + len(data) > self._limits.buffered_octets:
            self._input.clear()
            self._is_input_over = True
            self._shut_down = Reply(SERVICE_CLOSING, ("4.7.0 Too much sent ahead of a reply",))
            return
        if self.done:
            return
        self._input.append(data)
        self._process()
        if is_early and self._hello.domain and len(self._input) and not self.done:
            self._refuse_early()

    def receive_eof(self) -> None:
        """The client will send no more; what it already sent is still answered."""
        if not self._is_input_over:
            self._is_input_over = True
            self._process()

    def data_to_send(self) -> bytes:
        """Drain what has to go to the client."""
        if self._outgoing:
            self._wire.send(b"".join(self._outgoing))
            self._outgoing.clear()
        elif self._wire.channel is None:
            return b""
        self._transcript.flush()
        return self._wire.octets_to_send(is_last=self.done)

    @property
    def has_events(self) -> bool:
        return bool(self._events)

    def next_event(self) -> ServerEvent | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> int | None:
        return None if self.done else self._deadline

    def handle_timeout(self, now: int) -> None:
        """End the session if its time is up, with 421, behind the answer to a message that still waits for it."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self.shut_down("4.4.2 The session took too long")

    def accept_mail(self, text: str = "2.0.0 Message accepted") -> None:
        """Answer 250: from now on the message is ours to lose. Call it when it is safe."""
        self._answer([Reply(250, (text,))] * self._answers_owed)

    def reject_mail(self, reply: Reply) -> None:
        """Answer that the message was not kept, for now (4yz) or for good (5yz)."""
        check_refusal(reply)
        self._answer([reply] * self._answers_owed)

    def answer_recipients(self, replies: Sequence[Reply]) -> None:
        """Answer for each forward-path in its order: 250, 4yz or 5yz. LMTP only (RFC 2033 section 4.2)."""
        if not self._is_lmtp or len(replies) != self._answers_owed:
            raise LocalProtocolError(f"{len(replies)} answers to a message that waits for {self._answers_owed}")
        for reply in replies:
            if reply.code != 250:
                check_refusal(reply)
        self._answer(replies)

    def shut_down(self, text: str = "4.3.2 Service shutting down") -> None:
        """End the session with 421, behind the answer to a message that still waits for it (RFC 5321 section 3.8)."""
        if not self.done and self._shut_down is None:
            self._shut_down = Reply(SERVICE_CLOSING, (text,))
            self._process()

    @property
    def _answers_owed(self) -> int:
        """One to the message, or in LMTP one to each of its recipients."""
        return self._transaction.recipients if self._is_lmtp and self._transaction is not None else 1

    def _answer(self, replies: Sequence[Reply]) -> None:
        if not self.is_waiting:
            raise LocalProtocolError("no message waits for an answer")
        encoded = [reply.encode() for reply in replies]  # before any is said: one of them may be impossible to say
        self._outgoing += encoded
        self._transcript.on_reply(b"".join(encoded))
        if any(reply.is_positive for reply in replies):
            self._idle_commands = 0
        self._session.advance(ServerInput.ANSWER)
        self._transaction = None
        self._process()

    def _follow_channel(self) -> None:
        """Take notice of what became of TLS."""
        channel = self._wire.channel
        if channel is None:
            return
        if self._session.state is ServerState.HANDSHAKE and channel.is_established:
            self._session.advance(ServerInput.ENCRYPTED)
            self._set_grammar()
            if self._tls is not None and self._tls.is_implicit:
                self._greet()
        if channel.failure and self.is_waiting:
            self._is_input_over = True  # the answer will not arrive; that is no reason to lose the message
        elif channel.failure:
            self._close(f"TLS: {channel.failure}")
        self._is_input_over = self._is_input_over or channel.is_over

    def _process(self) -> None:
        """Go on until input runs out, the session ends, or the application has to decide."""
        session = self._session
        while session.state is not _DELIVERING and session.state is not _CLOSED:
            if self._shut_down is not None:
                self._send(self._shut_down)
                self._close(self._shut_down.lines[0])
            elif not self._process_next():
                if self._is_input_over:
                    self._close("the client closed the stream without QUIT")
                return

    def _process_next(self) -> bool:
        """Take the next unit of input, whatever it is; False: it has not come yet."""
        state = self._session.state
        if state is _DATA:
            return self._process_text()
        if state is _CHUNK:
            return self._process_chunk()
        if state is _AUTHENTICATING:
            return self._process_response()
        if state is _HANDSHAKE:
            return False
        if self._refused_chunk is not None:
            return self._swallow_chunk(*self._refused_chunk)
        return self._process_line()

    def _process_line(self) -> bool:
        line = self._input.next_line(self._line_octets_max)
        if line is None:
            return False
        self._transcript.on_command(line)
        command = parse_command(line, limit=self._limits.command_line_octets, grammar=self._grammar)
        self._idle_commands += not isinstance(command, Bdat) or command.octets < self._limits.chunk_octets_min
        if self._idle_commands > self._limits.idle_commands:
            self._say(SERVICE_CLOSING, "4.7.0 Too many commands without a message")
            self._close("too many commands without a message")
        elif self._is_early and not (isinstance(command, Hello) and command.is_extended and not self._hello.domain):
            self._refuse_early()
        elif self._needs_tls and not isinstance(command, Hello | Noop | StartTls | Quit | Malformed):
            self._refuse_unsafe(command, "5.7.0 Must issue a STARTTLS command first")  # RFC 3207 section 4
        else:
            self._obey(command)
        return True

    @property
    def _needs_tls(self) -> bool:
        return self._tls is not None and self._tls.is_required and not self._wire.is_encrypted

    def _obey(self, command: Command) -> None:
        match command:
            case Malformed():
                self._on_malformed(command)
            case Hello():
                self._on_hello(command)
            case MailFrom():
                self._on_mail(command)
            case RcptTo():
                self._on_rcpt(command)
            case Data():
                self._on_data()
            case Bdat():
                self._on_bdat(command)
            case StartTls():
                self._on_starttls()
            case Auth():
                self._on_auth(command)
            case Rset():
                self._session.advance(ServerInput.RSET)
                self._forget_transaction("RSET")
                self._say(250, "2.0.0 Reset")
            case Noop():
                self._say(250, "2.0.0 OK")
            case Vrfy():
                # RFC 5321 section 7.3: a server that does not tell says 252.
                self._say(252, "2.5.0 Cannot verify, but will accept and try delivery")
            case Help():
                self._say(214, "2.0.0 " + " ".join(verb for verb in HELP_ORDER if verb in self._grammar.verbs))
            case Quit():
                self._say(221, f"2.0.0 {self._domain} closing")
                self._close("QUIT", is_clean=True)
            case _:
                assert_never(command)

    def _on_malformed(self, command: Malformed) -> None:
        if command.verb == "MAIL" and self._session.allows(ServerInput.REFUSE_MAIL):
            self._session.advance(ServerInput.REFUSE_MAIL)
        if command.verb == "BDAT":
            # How many octets follow, nobody knows: to read them as commands would be to let mail data speak.
            self._send(command.reply)
            self._say(SERVICE_CLOSING, "4.5.0 A chunk without a size cannot be skipped")
            return self._close("a malformed BDAT")
        return self._refuse(command.reply)

    def _on_hello(self, hello: Hello) -> None:
        self._session.advance(ServerInput.HELLO)
        self._forget_transaction("the client said hello again")
        self._hello = hello
        if not hello.is_extended:
            return self._say(250, self._domain)
        is_encrypted = self._wire.is_encrypted
        lines = [
            self._domain,
            "PIPELINING",
            f"SIZE {self._limits.message_octets}",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
            *self._extensions.keywords(self._limits, is_encrypted=is_encrypted),
        ]
        if self._tls is not None and not is_encrypted:
            lines.append("STARTTLS")
        mechanisms = self._authenticator.offered()
        if mechanisms:
            lines.append(f"AUTH {' '.join(mechanisms)}")
        return self._say(250, *lines)

    def _on_starttls(self) -> None:
        assert self._tls is not None, "the verb is in the grammar"
        if self._wire.is_encrypted or not self._hello.is_extended or not self._session.allows(ServerInput.STARTTLS):
            return self._refuse(Reply(503, ("5.5.1 Out of order: STARTTLS is for between EHLO and MAIL, once",)))
        self._session.advance(ServerInput.STARTTLS)
        self._say(220, "2.0.0 Ready to start TLS")
        self._wire.send(b"".join(self._outgoing))
        self._outgoing.clear()
        self._wire.start_tls(self._tls)
        # RFC 3207 section 4.2: what was learned without TLS is forgotten. What came behind the command in the clear is
        # dropped, or somebody in between could have commands obeyed as if the client had said them under TLS.
        self._input.clear()
        self._hello = NOBODY
        self._authenticator.forget()
        return None

    def _on_auth(self, auth: Auth) -> None:
        if self._authenticator.name or not self._hello.is_extended or not self._session.allows(ServerInput.AUTH):
            return self._refuse(Reply(503, ("5.5.1 Out of order: AUTH is for between EHLO and MAIL, once",)))
        self._session.advance(ServerInput.AUTH)
        return self._follow_exchange(self._authenticator.begin(auth))

    def _process_response(self) -> bool:
        line = self._input.next_line(RESPONSE_OCTETS)
        if line is None:
            return False
        self._transcript.on_response()
        self._follow_exchange(self._authenticator.go_on(line))
        return True

    def _follow_exchange(self, answer: AuthAnswer) -> None:
        if answer.is_over:
            self._session.advance(ServerInput.AUTH_OVER)
        if answer.is_error:
            self._refuse(answer.reply)
        else:
            self._send(answer.reply)
        if answer.is_last_straw:
            self._close("too many failures to authenticate")

    def _on_mail(self, mail: MailFrom) -> None:
        if not self._session.allows(ServerInput.MAIL):
            said = "MAIL was given" if self._hello.domain else "no HELO or EHLO was"
            return self._refuse(Reply(503, (f"5.5.1 Out of order: {said} before",)))
        if self._authenticator.is_missing:
            return self._refuse_unsafe(mail, "5.7.0 Authentication required")
        if mail.parameters and not self._hello.is_extended:
            self._session.advance(ServerInput.REFUSE_MAIL)
            return self._refuse(Reply(555, ("5.5.4 Parameters need EHLO",)))
        refusal = self._recipients.refuse_mail(mail, self._mails)
        self._mails += 1  # RFC 9422 section 4.1: whether it succeeds or fails
        if refusal is not None:
            self._session.advance(ServerInput.REFUSE_MAIL)
            return self._send(refusal)
        self._session.advance(ServerInput.MAIL)
        self._transaction = Transaction(mail)
        return self._say(250, "2.1.0 Sender OK")

    def _on_rcpt(self, rcpt: RcptTo) -> None:
        if not self._session.allows(ServerInput.RCPT) or self._transaction is None:
            return self._refuse_order("5.5.1 Out of order: RCPT needs MAIL first")
        refusal = self._recipients.refuse_rcpt(rcpt, self._transaction)
        if refusal is not None:
            return self._send(refusal)
        self._session.advance(ServerInput.RCPT)
        self._transaction.add(rcpt)
        return self._say(250, "2.1.5 Recipient OK")

    def _on_data(self) -> None:
        if self._session.state is ServerState.MAIL:
            return self._say(503 if self._is_lmtp else 554, "5.5.1 No valid recipients")  # RFC 2033 section 4.2: 503
        if not self._session.allows(ServerInput.DATA) or self._transaction is None:
            return self._refuse_order("5.5.1 Out of order: DATA needs MAIL and RCPT first")
        if self._transaction.mail.body is BodyType.BINARY_MIME:
            return self._refuse(Reply(503, ("5.5.1 Out of order: BINARYMIME needs BDAT",)))  # RFC 3030 section 3
        self._session.advance(ServerInput.DATA)
        self._begin_reception(self._transaction)
        self._input.begin_text()
        return self._say(354, "Send the mail data, end it with <CRLF>.<CRLF>")

    def _process_text(self) -> bool:
        text = self._input.next_text()
        if text is None:
            return False
        reception = self._reception
        self._events += reception.take(text.octets, is_last=text.is_last)
        if text.is_last:
            self._transcript.on_text(reception.size)
            self._finish_reception(reception)
        return True

    def _on_bdat(self, bdat: Bdat) -> None:
        if self._session.allows(ServerInput.BDAT) and self._transaction is not None:
            self._session.advance(ServerInput.BDAT)
            self._chunk = bdat
            if self._transaction.reception is None:
                self._begin_reception(self._transaction)
        elif self._session.state is ServerState.MAIL and self._is_lmtp and bdat.is_last:
            self._refused_chunk = (bdat.octets, None)  # RFC 2033 section 4.3: as many replies as recipients, so none
        elif self._session.state is ServerState.MAIL:
            self._refused_chunk = (bdat.octets, Reply(503 if self._is_lmtp else 554, ("5.5.1 No valid recipients",)))
        else:
            self._refused_chunk = (bdat.octets, Reply(503, ("5.5.1 Out of order: BDAT needs MAIL and RCPT first",)))

    def _process_chunk(self) -> bool:
        octets = self._input.take(self._chunk.octets)
        if not octets and self._chunk.octets:
            return False
        self._chunk = Bdat(self._chunk.octets - len(octets), self._chunk.is_last)
        is_over = not self._chunk.octets
        reception = self._reception
        self._events += reception.take(octets, is_last=is_over and self._chunk.is_last)
        if is_over and (self._chunk.is_last or reception.refusal is not None):
            self._finish_reception(reception)
        elif is_over:
            self._session.advance(ServerInput.CHUNK_OVER)
            self._say(250, f"2.0.0 {reception.size} octets received")
        return True

    def _swallow_chunk(self, octets: int, reply: Reply | None) -> bool:
        """RFC 3030 section 2: the octets of a chunk that is refused are there all the same."""
        taken = len(self._input.take(octets))
        if taken < octets:
            self._refused_chunk = (octets - taken, reply)
            return False
        self._refused_chunk = None
        if reply is None:
            return True
        if self._session.state in (ServerState.MAIL, ServerState.MAIL_REFUSED):
            self._send(reply)  # behind a refused recipient, or MAIL, it is no error of the client
        else:
            self._refuse(reply)
        return True

    def _begin_reception(self, transaction: Transaction) -> None:
        transaction.reception = Reception(
            partial(transaction.envelope, self.peer),
            self._limits,
            is_binary=transaction.mail.body is BodyType.BINARY_MIME,
        )

    @property
    def _reception(self) -> Reception:
        assert self._transaction is not None
        assert self._transaction.reception is not None
        return self._transaction.reception

    def _finish_reception(self, reception: Reception) -> None:
        refusal = reception.refusal
        if refusal is None:
            self._session.advance(ServerInput.HAND_OVER)
            self._events.append(reception.finish())
            return
        for _ in range(self._answers_owed):
            self._send(refusal)
        self._session.advance(ServerInput.REFUSE_DATA)
        self._transaction = None

    def _refuse_order(self, text: str) -> None:
        """Behind a refused MAIL the rest of a pipelined group is nobody's error (RFC 2920 section 3.1)."""
        if self._session.state is ServerState.MAIL_REFUSED:
            self._say(503, text)
        else:
            self._refuse(Reply(503, (text,)))

    def _refuse_unsafe(self, command: Command, text: str) -> None:
        """530: first STARTTLS, or AUTH. What comes of a chunk or a group behind it is refused as if MAIL had been."""
        if isinstance(command, MailFrom) and self._session.allows(ServerInput.REFUSE_MAIL):
            self._session.advance(ServerInput.REFUSE_MAIL)
        if isinstance(command, Bdat):
            self._refused_chunk = (command.octets, Reply(530, (text,)))
        else:
            self._refuse(Reply(530, (text,)))

    def _refuse(self, reply: Reply) -> None:
        """Answer a command out of syntax or order; too many of them end the session."""
        self._errors += 1
        if self._errors < self._limits.errors:
            return self._send(reply)
        self._say(SERVICE_CLOSING, "4.7.0 Too many errors")
        return self._close("too many errors")

    def _refuse_early(self) -> None:
        self._say(SERVICE_CLOSING, "4.7.0 Only EHLO may come before the client is known to be there")
        self._close("more than EHLO came early")

    def _set_grammar(self) -> None:
        self._grammar = self._extensions.grammar(
            is_lmtp=self._is_lmtp,
            is_encrypted=self._wire.is_encrypted,
            has_tls=self._tls is not None,
            has_authentication=self._has_authentication,
        )
        self._line_octets_max = self._limits.command_line_octets + self._grammar.extra_octets_max

    def _greet(self) -> None:
        self._say(220, f"{self._domain} {'LMTP' if self._is_lmtp else 'ESMTP'} ready")

    def _forget_transaction(self, reason: str) -> None:
        if self._transaction is not None and self._transaction.reception is not None:
            self._events += self._transaction.reception.abort(reason)
        self._transaction = None

    def _say(self, code: int, *lines: str) -> None:
        self._send_encoded(_encoded(code, lines))

    def _send(self, reply: Reply) -> None:
        self._send_encoded(reply.encode())

    def _send_encoded(self, encoded: bytes) -> None:
        self._outgoing.append(encoded)
        self._transcript.on_reply(encoded)

    def _close(self, reason: str, *, is_clean: bool = False) -> None:
        self._session.advance(ServerInput.CLOSE)
        self._input.clear()
        self._forget_transaction(reason)
        self._events.append(SessionEnded(reason, is_clean))


@lru_cache(256)
def _encoded(code: int, lines: tuple[str, ...]) -> bytes:
    """What we say most is always the same."""
    return Reply(code, lines).encode()
