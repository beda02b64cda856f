"""The client's half of a session: envelopes in, commands and DeliveryReport out. RFC 5321; RFC 2920, 1870, 6152.

Sans-IO over any ordered byte stream, like `server`. With PIPELINING a message's MAIL, RCPT and DATA leave in one
flight, and the next message's ride behind the end mark of the one before.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from types import MappingProxyType
from typing import assert_never

from rudp_smtp.errors import LocalProtocolError, SmtpSyntaxError
from rudp_smtp.machine import Machine
from rudp_smtp.smtp.address import check_own_domain, parse_mailbox, parse_recipient
from rudp_smtp.smtp.commands import Data, Hello, MailFrom, Quit, RcptTo, Rset
from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.events import ClientEvent, DeliveryReport, Outcome, SessionEnded, SessionReady
from rudp_smtp.smtp.lines import CRLF, LineBuffer, encode_text, first_defect
from rudp_smtp.smtp.parameters import BodyType
from rudp_smtp.smtp.replies import LONG_LINE, READABLE_LINE_OCTETS, SERVICE_CLOSING, Reply, ReplyReader
from rudp_smtp.smtp.state import CLIENT_TRANSITIONS, ClientInput, ClientState

BROKEN_PROTOCOL = "the server broke the protocol"
SESSION_LOST = "4.4.2 The session ended before the message was accepted"


class _Awaited(Enum):
    """What the next reply answers."""

    GREETING = auto()
    HELLO = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    TEXT = auto()
    RSET = auto()
    QUIT = auto()


@dataclass(slots=True, eq=False)
class _Transaction:
    """A message on its way, and what was said about it so far."""

    token: int
    envelope: Envelope
    recipients_written: int = 0
    mail_reply: Reply | None = None
    recipient_replies: list[Reply] = field(default_factory=list)  # in the order of the forward-paths
    is_text_sent: bool = False  # handed out with its end mark, to somebody: it may have arrived

    @property
    def is_mail_refused(self) -> bool:
        return self.mail_reply is not None and not self.mail_reply.is_positive

    @property
    def has_recipient(self) -> bool:
        return not self.is_mail_refused and any(reply.is_positive for reply in self.recipient_replies)

    def report(self, decision: Reply) -> DeliveryReport:
        """The end of it: `decision` answers the last command that mattered."""
        paths = self.envelope.forward_paths
        if self.mail_reply is not None and self.is_mail_refused:
            decision = self.mail_reply
            replies = [decision] * len(paths)
        elif self.has_recipient:
            replies = [decision if reply.is_positive else reply for reply in self.recipient_replies]
        else:
            replies = self.recipient_replies
            decision = next((reply for reply in replies if reply.is_transient), replies[-1])
        verdicts = list(zip(paths, replies, strict=True))
        return DeliveryReport(
            self.token,
            _outcome(decision),
            tuple(path for path, reply in verdicts if reply.is_positive),
            tuple((path, reply) for path, reply in verdicts if not reply.is_positive),
            decision,
        )

    def report_without_decision(self, outcome: Outcome, reply: Reply, *, is_local: bool) -> DeliveryReport:
        refused = tuple((path, reply) for path in self.envelope.forward_paths)
        return DeliveryReport(self.token, outcome, (), refused, reply, is_local)


class Client:
    """Owns the session's state, the queue of messages and the list of replies still owed.

    Messages are sent in the order of `submit`, over one session, until `quit`. Each ends in one DeliveryReport.

    With `early_ehlo` the EHLO does not wait for the greeting, which RFC 5321 section 4.3.1 says it SHOULD: it is for a
    server of ours, known to take it, on a transport whose first flight may carry it. Only the EHLO goes early. It
    changes nothing at the server, so a copy of that flight that somebody plays again does no harm.
    """

    def __init__(self, *, domain: str, pipelining: bool = True, early_ehlo: bool = False) -> None:
        check_own_domain(domain)
        self._domain = domain
        self._is_pipelining_wanted = pipelining
        self._session = Machine(CLIENT_TRANSITIONS, ClientState.GREETING)
        self._input = LineBuffer()
        self._replies = ReplyReader()
        self._outgoing: list[bytes] = []
        self._events: deque[ClientEvent] = deque()
        self._queue: deque[_Transaction] = deque()
        self._started: deque[_Transaction] = deque()  # in part or wholly sent, not reported
        self._awaited: deque[tuple[_Awaited, _Transaction | None]] = deque([(_Awaited.GREETING, None)])
        self._answerable = 1  # so many of them may be answered: the greeting, and what was handed out to be sent
        self._extensions: Mapping[str, str] = MappingProxyType({})
        self._is_quit_wanted = False
        self._farewell = "QUIT"  # why the session is being ended
        if early_ehlo:
            self._say_hello(ClientInput.HELLO_EARLY, is_extended=True)

    @property
    def done(self) -> bool:
        """The session is over and every message is reported."""
        return self._session.state is ClientState.CLOSED

    @property
    def unreported(self) -> int:
        """Messages submitted whose fate is not known yet."""
        return len(self._queue) + len(self._started)

    def submit(self, envelope: Envelope, token: int) -> None:
        """Queue a message. What SMTP cannot carry as it stands is refused here and now, never repaired."""
        if self._is_quit_wanted or self.done:
            raise LocalProtocolError("submit after quit, or after the session ended")
        _check_envelope(envelope)
        self._queue.append(_Transaction(token, envelope))
        self._write()

    def quit(self) -> None:
        """Say QUIT as soon as every message submitted before is sent."""
        self._is_quit_wanted = True
        self._write()

    def receive_data(self, data: bytes) -> None:
        """Take the next octets of the stream, cut anywhere."""
        if self.done:
            return
        self._input.append(data)
        while not self.done and (line := self._input.next_line(READABLE_LINE_OCTETS)) is not None:
            try:
                reply = self._replies.receive_line(line)
                if reply is not None:
                    self._on_reply(reply)
                    self._write()
            except SmtpSyntaxError as error:
                self._close(f"{BROKEN_PROTOCOL}: {error}")
        if self._input.is_line_too_long:  # its end may never come
            self._close(f"{BROKEN_PROTOCOL}: {LONG_LINE}")

    def receive_eof(self) -> None:
        """The server will send no more."""
        if not self.done:
            self._close("the server closed the stream")

    def data_to_send(self) -> bytes:
        """Drain what has to go to the server. From now on it may be answered, and mail data in it may arrive."""
        if not self._outgoing:
            return b""
        for awaited, transaction in islice(self._awaited, self._answerable, None):
            if awaited is _Awaited.TEXT and transaction is not None:
                transaction.is_text_sent = transaction.has_recipient
        self._answerable = len(self._awaited)
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def next_event(self) -> ClientEvent | None:
        return self._events.popleft() if self._events else None

    def _write(self) -> None:
        """Write commands for as long as state, pipelining and queue allow."""
        while not self._awaited or (self._is_pipelining_wanted and "PIPELINING" in self._extensions):
            match self._session.state:
                case ClientState.READY:
                    went_on = self._begin_next()
                case ClientState.ENVELOPE:
                    went_on = self._continue_envelope(self._started[-1])
                case ClientState.ABANDONED if self._queue:
                    went_on = self._command(ClientInput.RSET, Rset().encode(), _Awaited.RSET)
                case ClientState.ABANDONED if self._is_quit_wanted:
                    went_on = self._command(ClientInput.QUIT, Quit().encode(), _Awaited.QUIT)
                case _:
                    went_on = False
            if not went_on:
                return

    def _begin_next(self) -> bool:
        if not self._queue:
            return self._is_quit_wanted and self._command(ClientInput.QUIT, Quit().encode(), _Awaited.QUIT)
        transaction = self._queue.popleft()
        envelope = transaction.envelope
        refusal = self._refuse_locally(envelope)
        if refusal is not None:
            self._events.append(transaction.report_without_decision(Outcome.REFUSED, refusal, is_local=True))
            return True
        self._started.append(transaction)
        size = len(envelope.mail_data) if "SIZE" in self._extensions else None
        body = None if envelope.mail_data.isascii() else BodyType.EIGHT_BIT_MIME
        mail = MailFrom(envelope.reverse_path, size, body)
        return self._command(ClientInput.MAIL, mail.encode(), _Awaited.MAIL, transaction)

    def _refuse_locally(self, envelope: Envelope) -> Reply | None:
        size = len(envelope.mail_data)
        declared = self._extensions.get("SIZE", "")
        if declared.isdecimal() and 0 < int(declared) < size:  # RFC 1870 section 4: 0 means no fixed limit
            return Reply(552, (f"5.3.4 {size} octets are over the server's limit of {declared}",))
        if "8BITMIME" not in self._extensions and not envelope.mail_data.isascii():
            # RFC 6152 section 3: convert to 7 bits or give up. We never change a message.
            return Reply(554, ("5.6.3 Mail data has 8-bit octets and the server does not offer 8BITMIME",))
        return None

    def _continue_envelope(self, transaction: _Transaction) -> bool:
        paths = transaction.envelope.forward_paths
        if transaction.recipients_written < len(paths):
            rcpt = RcptTo(paths[transaction.recipients_written])
            transaction.recipients_written += 1
            self._outgoing.append(rcpt.encode())
            self._awaited.append((_Awaited.RCPT, transaction))
            return True
        if self._awaited or transaction.has_recipient:
            return self._command(ClientInput.DATA, Data().encode(), _Awaited.DATA, transaction)
        self._session.advance(ClientInput.ABANDON)
        self._finish(transaction, transaction.recipient_replies[-1])
        return True

    def _command(
        self, step: ClientInput, octets: bytes, awaited: _Awaited, transaction: _Transaction | None = None
    ) -> bool:
        self._session.advance(step)
        self._outgoing.append(octets)
        self._awaited.append((awaited, transaction))
        return True

    def _on_reply(self, reply: Reply) -> None:
        if reply.code == SERVICE_CLOSING:
            return self._on_service_closing(reply)
        if not self._answerable:
            # A reply that was under way before its command is none: 354 and 250 at once do not mean that mail arrived.
            raise SmtpSyntaxError(f"reply {reply.code} to no command")
        self._answerable -= 1
        awaited, transaction = self._awaited.popleft()
        if reply.is_intermediate != (awaited is _Awaited.DATA) and (reply.is_positive or reply.is_intermediate):
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
                # RFC 5321 section 3.1: a server that refuses service waits for QUIT.
                self._farewell = f"the server refused service: {reply}"
                self._give_up(reply, is_local=False)
                self._command(ClientInput.QUIT, Quit().encode(), _Awaited.QUIT)
            case _Awaited.RSET if not reply.is_positive:
                raise SmtpSyntaxError(f"reply {reply.code} to RSET")
            case _Awaited.QUIT:
                self._close(self._farewell, is_clean=True)

    def _say_hello(self, step: ClientInput, *, is_extended: bool) -> None:
        self._command(step, Hello(self._domain, is_extended=is_extended).encode(), _Awaited.HELLO)

    def _on_hello_accepted(self, reply: Reply) -> None:
        if self._session.state is ClientState.EHLO:
            words = (line.upper().partition(" ") for line in reply.lines[1:])
            self._extensions = MappingProxyType({keyword: parameters.strip() for keyword, _, parameters in words})
        self._session.advance(ClientInput.HELLO_ACCEPTED)
        self._events.append(SessionReady(reply.lines[0].partition(" ")[0], self._extensions))

    def _on_transaction_reply(self, awaited: _Awaited, transaction: _Transaction, reply: Reply) -> None:
        match awaited:
            case _Awaited.MAIL:
                transaction.mail_reply = reply
                if not reply.is_positive and self._session.state is ClientState.ENVELOPE:  # nothing was pipelined
                    self._session.advance(ClientInput.MAIL_REFUSED)
                    self._finish(transaction, reply)
            case _Awaited.RCPT:
                transaction.recipient_replies.append(reply)
            case _Awaited.DATA if reply.is_intermediate:
                # RFC 2920 section 3.1: DATA may be accepted though no recipient was: then send a single dot.
                text = transaction.envelope.mail_data if transaction.has_recipient else b""
                self._command(ClientInput.TEXT, encode_text(text), _Awaited.TEXT, transaction)
            case _Awaited.DATA:
                refused = transaction.is_mail_refused
                self._session.advance(ClientInput.MAIL_REFUSED if refused else ClientInput.ABANDON)
                self._finish(transaction, reply)
            case _Awaited.TEXT:
                self._finish(transaction, reply)
            case _Awaited.GREETING | _Awaited.HELLO | _Awaited.RSET | _Awaited.QUIT:
                raise AssertionError(awaited)
            case _:
                assert_never(awaited)

    def _finish(self, transaction: _Transaction, decision: Reply) -> None:
        self._started.remove(transaction)
        self._events.append(transaction.report(decision))

    def _on_service_closing(self, reply: Reply) -> None:
        """421: the session is over. In the place of an end mark's reply it is the answer to that message as well."""
        awaited, transaction = self._awaited[0] if self._answerable else (_Awaited.QUIT, None)
        if awaited is _Awaited.TEXT and transaction is not None:
            self._finish(transaction, reply)
        self._give_up(reply, is_local=False)
        self._close(f"the server closed the session: {reply}")

    def _give_up(self, reply: Reply, *, is_local: bool) -> None:
        """Report everything pending as not delivered, as far as we know."""
        for transaction in (*self._started, *self._queue):
            outcome = Outcome.UNCONFIRMED if transaction.is_text_sent else Outcome.UNSENT
            self._events.append(transaction.report_without_decision(outcome, reply, is_local=is_local))
        self._started.clear()
        self._queue.clear()

    def _close(self, reason: str, *, is_clean: bool = False) -> None:
        self._give_up(Reply(451, (SESSION_LOST,)), is_local=True)
        self._session.advance(ClientInput.CLOSE)
        self._input.clear()
        self._outgoing.clear()  # what was reported as unsent must not be sent
        self._awaited.clear()
        self._answerable = 0
        self._events.append(SessionEnded(reason, is_clean))


def _outcome(reply: Reply) -> Outcome:
    if reply.is_positive:
        return Outcome.ACCEPTED
    return Outcome.DEFERRED if reply.is_transient else Outcome.REFUSED


def _check_envelope(envelope: Envelope) -> None:
    if not envelope.forward_paths:
        raise LocalProtocolError("envelope without a forward-path")
    try:
        if envelope.reverse_path:
            parse_mailbox(envelope.reverse_path)
        for path in envelope.forward_paths:
            parse_recipient(path)
    except SmtpSyntaxError as error:
        raise LocalProtocolError(f"envelope address: {error}") from None
    if envelope.mail_data and not envelope.mail_data.endswith(CRLF):
        raise LocalProtocolError("mail data that does not end in CRLF")
    defect = first_defect(envelope.mail_data)
    if defect is not None:
        raise LocalProtocolError(f"mail data with {defect}")
