"""The server's half of a session: bytes in, replies and MailReceived out. RFC 5321; RFC 2920, 1870, 6152, 2034.

Sans-IO over any ordered byte stream. `receive_data` and `receive_eof` are inputs, `data_to_send` and `next_event` are
outputs; 250 for a message is said when the application says `accept_mail`, and not before.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.machine import Machine
from rudp_smtp.smtp.address import check_own_domain, parse_recipient
from rudp_smtp.smtp.commands import (
    COMMAND_LINE_OCTETS,
    MAIL_EXTRA_OCTETS,
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
    Vrfy,
    parse_command,
)
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import MailReceived, ServerEvent, SessionEnded
from rudp_smtp.smtp.lines import TEXT_LINE_OCTETS, LineBuffer, first_defect
from rudp_smtp.smtp.replies import SERVICE_CLOSING, Reply
from rudp_smtp.smtp.state import SERVER_TRANSITIONS, ServerInput, ServerState

RecipientPolicy = Callable[[str], Reply | None]  # a forward-path -> the 4yz or 5yz refusal, or None to accept it


class StrayOctets(Enum):
    """What to do with mail data that holds a bare CR, a bare LF or a NUL. None of them ever ends a line."""

    REJECT = auto()
    KEEP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one session. The first three are the least that RFC 5321 section 4.5.3.1 lets a server ask for."""

    command_line_octets: int = COMMAND_LINE_OCTETS
    text_line_octets: int = TEXT_LINE_OCTETS
    recipients: int = 100
    message_octets: int = 32 * 1024 * 1024
    errors: int = 20  # commands out of syntax or order before 421
    buffered_octets: int = 256 * 1024  # pipelined input that may wait while the application decides


class Server:
    """Owns the session's state, the transaction being built and the input that waits; leaves storage to others.

    `accepts` decides on each recipient; without it only those at `local_domains` (by default `domain`) are accepted.
    The postmaster of a local domain always is (RFC 5321 section 4.5.1).
    """

    def __init__(
        self,
        *,
        domain: str,
        limits: Limits | None = None,
        accepts: RecipientPolicy | None = None,
        local_domains: tuple[str, ...] | None = None,
        stray_octets: StrayOctets = StrayOctets.REJECT,
    ) -> None:
        check_own_domain(domain)
        self._domain = domain
        self._limits = limits or Limits()
        self._local_domains = frozenset(name.lower() for name in local_domains or (domain,))
        self._accepts = accepts or self._refuse_relaying
        self._stray_octets = stray_octets
        self._session = Machine(SERVER_TRANSITIONS, ServerState.CONNECTED)
        self._input = LineBuffer()
        self._outgoing: list[bytes] = []
        self._events: deque[ServerEvent] = deque()
        self._hello = Hello("", is_extended=False)
        self._mail = MailFrom("")
        self._forward_paths: list[str] = []
        self._errors = 0
        self._shut_down: Reply | None = None  # said as soon as no message waits for its answer
        self._is_input_over = False
        self._is_early = False  # what is being read
        self._say(220, f"{domain} ESMTP ready")

    @property
    def done(self) -> bool:
        """No more will be read or written; `data_to_send` may still hold the last reply."""
        return self._session.state is ServerState.CLOSED

    @property
    def is_waiting(self) -> bool:
        """A message waits for `accept_mail` or `reject_mail`."""
        return self._session.state is ServerState.DELIVERING

    def receive_data(self, data: bytes, *, is_early: bool = False) -> None:
        """Take the next octets of the stream, cut anywhere.

        `is_early`: of a client's first flight, which anybody may have recorded and play again (RFC 8470 section 2).
        Then EHLO is heard, which changes nothing here, and whatever else there is ends the session.
        """
        if self.done or self._is_input_over:
            return
        self._is_early = is_early
        if self.is_waiting and len(self._input) + len(data) > self._limits.buffered_octets:
            self._input.clear()
            self._is_input_over = True
            self._shut_down = Reply(SERVICE_CLOSING, ("4.7.0 Too much sent ahead of a reply",))
            return
        self._input.append(data)
        self._process()
        if is_early and self._hello.domain and len(self._input):
            self._refuse_early()

    def receive_eof(self) -> None:
        """The client will send no more; what it already sent is still answered."""
        if not self._is_input_over:
            self._is_input_over = True
            self._process()

    def data_to_send(self) -> bytes:
        """Drain what has to go to the client."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def next_event(self) -> ServerEvent | None:
        return self._events.popleft() if self._events else None

    def accept_mail(self, text: str = "2.0.0 Message accepted") -> None:
        """Answer 250: from now on the message is ours to lose. Call it when it is safe."""
        self._answer(Reply(250, (text,)))

    def reject_mail(self, reply: Reply) -> None:
        """Answer that the message was not kept, for now (4yz) or for good (5yz)."""
        _check_refusal(reply)
        self._answer(reply)

    def shut_down(self, text: str = "4.3.2 Service shutting down") -> None:
        """End the session with 421, behind the answer to a message that still waits for it (RFC 5321 section 3.8)."""
        if not self.done and self._shut_down is None:
            self._shut_down = Reply(SERVICE_CLOSING, (text,))
            self._process()

    def _answer(self, reply: Reply) -> None:
        if not self.is_waiting:
            raise LocalProtocolError("no message waits for an answer")
        self._send(reply)
        self._session.advance(ServerInput.ANSWER)
        self._forget_transaction()
        self._process()

    def _process(self) -> None:
        """Go on until input runs out, the session ends, or the application has to decide."""
        more = True
        while more and not self.is_waiting and not self.done:
            if self._shut_down is not None:
                self._send(self._shut_down)
                self._close(self._shut_down.lines[0])
            elif self._session.state is ServerState.DATA:
                more = self._process_text()
            else:
                more = self._process_line()
        if not more and self._is_input_over:
            self._close("the client closed the stream without QUIT")

    def _process_line(self) -> bool:
        line = self._input.next_line(self._limits.command_line_octets + MAIL_EXTRA_OCTETS)
        if line is None:
            return False
        command = parse_command(line, limit=self._limits.command_line_octets)
        if self._is_early and not (isinstance(command, Hello) and command.is_extended and not self._hello.domain):
            self._refuse_early()
        else:
            self._obey(command)
        return True

    def _obey(self, command: Command) -> None:
        match command:
            case Malformed():
                if command.verb == "MAIL" and self._session.allows(ServerInput.REFUSE_MAIL):
                    self._session.advance(ServerInput.REFUSE_MAIL)
                self._refuse(command.reply)
            case Hello():
                self._on_hello(command)
            case MailFrom():
                self._on_mail(command)
            case RcptTo():
                self._on_rcpt(command)
            case Data():
                self._on_data()
            case Rset():
                self._session.advance(ServerInput.RSET)
                self._forget_transaction()
                self._say(250, "2.0.0 Reset")
            case Noop():
                self._say(250, "2.0.0 OK")
            case Vrfy():
                # RFC 5321 section 7.3: a server that does not tell says 252.
                self._say(252, "2.5.0 Cannot verify, but will accept and try delivery")
            case Help():
                self._say(214, "2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT")
            case Quit():
                self._say(221, f"2.0.0 {self._domain} closing")
                self._close("QUIT", is_clean=True)
            case _:
                assert_never(command)

    def _on_hello(self, hello: Hello) -> None:
        self._session.advance(ServerInput.HELLO)
        self._forget_transaction()
        self._hello = hello
        if not hello.is_extended:
            return self._say(250, self._domain)
        return self._say(
            250,
            self._domain,
            "PIPELINING",
            f"SIZE {self._limits.message_octets}",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
        )

    def _on_mail(self, mail: MailFrom) -> None:
        if not self._session.allows(ServerInput.MAIL):
            said = "MAIL was given" if self._hello.domain else "no HELO or EHLO was"
            return self._refuse(Reply(503, (f"5.5.1 Out of order: {said} before",)))
        if mail.parameters and not self._hello.is_extended:
            self._session.advance(ServerInput.REFUSE_MAIL)
            return self._refuse(Reply(555, ("5.5.4 Parameters need EHLO",)))
        if mail.size is not None and mail.size > self._limits.message_octets:
            self._session.advance(ServerInput.REFUSE_MAIL)
            return self._send(self._too_big())
        self._session.advance(ServerInput.MAIL)
        self._mail = mail
        return self._say(250, "2.1.0 Sender OK")

    def _on_rcpt(self, rcpt: RcptTo) -> None:
        if not self._session.allows(ServerInput.RCPT):
            return self._refuse_order("5.5.1 Out of order: RCPT needs MAIL first")
        if len(self._forward_paths) >= self._limits.recipients:
            # RFC 5321 section 4.5.3.1.10: 452 means the client sends the others in another transaction.
            return self._say(452, "4.5.3 Too many recipients")
        address = parse_recipient(rcpt.forward_path)
        is_local = not address.domain or address.domain.lower() in self._local_domains
        refusal = None if is_local and address.is_postmaster else self._accepts(rcpt.forward_path)
        if refusal is not None:
            _check_refusal(refusal)
            return self._send(refusal)
        self._session.advance(ServerInput.RCPT)
        self._forward_paths.append(rcpt.forward_path)
        return self._say(250, "2.1.5 Recipient OK")

    def _on_data(self) -> None:
        if self._session.state is ServerState.MAIL:
            return self._say(554, "5.5.1 No valid recipients")
        if not self._session.allows(ServerInput.DATA):
            return self._refuse_order("5.5.1 Out of order: DATA needs MAIL and RCPT first")
        self._session.advance(ServerInput.DATA)
        self._input.begin_text()
        return self._say(354, "Send the mail data, end it with <CRLF>.<CRLF>")

    def _process_text(self) -> bool:
        text = self._input.next_text(self._limits.message_octets)
        if text is None:
            return False
        if text.is_too_big:
            self._refuse_text(self._too_big())
            return True
        is_stray_allowed = self._stray_octets is StrayOctets.KEEP
        line_octets = self._limits.text_line_octets
        defect = first_defect(text.octets, line_octets=line_octets, is_stray_allowed=is_stray_allowed)
        if defect is not None:
            self._refuse_text(Reply(550, (f"5.6.0 Mail data with {defect}",)))
            return True
        self._session.advance(ServerInput.HAND_OVER)
        envelope = Envelope(
            self._mail.reverse_path,
            tuple(self._forward_paths),
            text.octets,
            parameters=self._mail.parameters,
            client_domain=self._hello.domain,
            is_extended=self._hello.is_extended,
        )
        self._events.append(MailReceived(envelope))
        return True

    def _refuse_text(self, reply: Reply) -> None:
        self._session.advance(ServerInput.REFUSE_DATA)
        self._forget_transaction()
        self._send(reply)

    def _refuse_order(self, text: str) -> None:
        """Behind a refused MAIL the rest of a pipelined group is nobody's error (RFC 2920 section 3.1)."""
        if self._session.state is ServerState.MAIL_REFUSED:
            self._say(503, text)
        else:
            self._refuse(Reply(503, (text,)))

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

    def _refuse_relaying(self, forward_path: str) -> Reply | None:
        is_local = parse_recipient(forward_path).domain.lower() in self._local_domains
        return None if is_local else Reply(550, ("5.7.1 We do not relay",))

    def _too_big(self) -> Reply:
        return Reply(552, (f"5.3.4 More than {self._limits.message_octets} octets",))

    def _forget_transaction(self) -> None:
        self._mail = MailFrom("")
        self._forward_paths = []

    def _say(self, code: int, *lines: str) -> None:
        self._send(Reply(code, lines))

    def _send(self, reply: Reply) -> None:
        self._outgoing.append(reply.encode())

    def _close(self, reason: str, *, is_clean: bool = False) -> None:
        self._session.advance(ServerInput.CLOSE)
        self._input.clear()
        self._events.append(SessionEnded(reason, is_clean))


def _check_refusal(reply: Reply) -> None:
    """The client would take anything else for an acceptance, or for the end of the session."""
    if reply.code == SERVICE_CLOSING or not (reply.is_transient or reply.is_permanent):
        raise LocalProtocolError(f"{reply.code} refuses neither a recipient nor a message")
