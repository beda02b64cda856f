"""What the application is told, on either side."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.replies import LOGIN_REFUSED, NO_TLS, Reply


@dataclass(frozen=True, slots=True)
class MailStarted:
    """A message has outgrown `Limits.held_octets`: its mail data follows in MailData, then MailReceived or MailAborted.

    The envelope is complete but for the mail data, of which it has none, and for what may still come of a header that
    is longer than that.
    """

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class MailData:
    """The next octets of the message that was started, transparency undone."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class MailAborted:
    """The message that was started will not be completed: drop what came of it. Nobody waits for an answer."""

    reason: str


@dataclass(frozen=True, slots=True)
class MailReceived:
    """The message is complete. The client waits for `Server.accept_mail` or `Server.reject_mail`.

    `is_streamed`: MailStarted and MailData came before, and the envelope holds no mail data.
    """

    envelope: Envelope
    is_streamed: bool = False


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The hello was accepted. `extensions`: keyword in capitals -> its parameters, nothing after HELO."""

    domain: str
    extensions: Mapping[str, str]


class Outcome(Enum):
    """What became of a message, for the recipient that fared best."""

    ACCEPTED = auto()
    DEFERRED = auto()  # 4yz: the same message may be accepted later
    REFUSED = auto()  # 5yz, by the server or by us on its behalf: do not repeat it
    UNSENT = auto()  # the session ended before the server had the whole message
    UNCONFIRMED = auto()  # the session ended between the end mark and its reply (RFC 1047): it may have arrived


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """The end of a submitted message. Each recipient is in `accepted`, or in `refused` with the reply that decided."""

    token: int
    outcome: Outcome
    accepted: tuple[str, ...]
    refused: tuple[tuple[str, Reply], ...]
    reply: Reply  # the one that decided on the message as a whole
    is_local: bool = False  # `reply` is ours: no server said it
    refused_here: tuple[str, ...] = ()  # of those who are refused: whose reply is ours

    @property
    def lacks_tls(self) -> bool:
        """Not sent, because the TLS that `ClientTls` asks for was not to be had."""
        return self.is_local and self.outcome is Outcome.UNSENT and self.reply.status == NO_TLS

    @property
    def refuses_login(self) -> bool:
        """Not sent, because the server does not take us for who we say we are: no word about the message."""
        return self.outcome is Outcome.UNSENT and self.reply.code in LOGIN_REFUSED

    @property
    def refuses_service(self) -> bool:
        """Not sent, because the server wants no mail of ours, in its greeting or behind it: no word about this one.

        A login that is refused is a case of it.
        """
        return self.outcome is Outcome.UNSENT and self.reply.is_permanent and not self.is_local


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """Nothing more will be received or sent. `is_clean`: by QUIT and its reply."""

    reason: str
    is_clean: bool


ServerEvent = MailStarted | MailData | MailAborted | MailReceived | SessionEnded
ClientEvent = SessionReady | DeliveryReport | SessionEnded
