"""AUTH at the server (RFC 4954), line by line: what is answered, and who the client has proven to be."""

from dataclasses import dataclass
from typing import assert_never

from rudp_smtp.errors import ConfigError, SmtpSyntaxError
from rudp_smtp.smtp.auth import Authentication
from rudp_smtp.smtp.commands import AUTH_LINE_OCTETS, Auth
from rudp_smtp.smtp.replies import SERVICE_CLOSING, Reply
from rudp_smtp.smtp.sasl import Challenge, Denied, Granted, ServerMechanism, ServerStep, decode_octets, encode_octets
from rudp_smtp.smtp.tls import Wire

RESPONSE_OCTETS = AUTH_LINE_OCTETS - len("\r\n")


@dataclass(frozen=True, slots=True)
class AuthAnswer:
    """What is said to a line of the exchange, and what it means for the session."""

    reply: Reply
    is_over: bool = True  # the next line is a command again
    is_error: bool = False  # of the client, in syntax or order
    is_last_straw: bool = False  # the session ends


class Authenticator:
    """Owns the exchange under way, the name it has proven, and how often it failed."""

    def __init__(self, authentication: Authentication | None, wire: Wire, failures_max: int) -> None:
        self.name = ""  # "" as long as nothing is proven
        self._authentication = authentication
        self._wire = wire
        self._failures_max = failures_max
        self.failures = 0
        self._mechanism: ServerMechanism | None = None

    @property
    def is_missing(self) -> bool:
        """There is no mail before the client has proven who it is."""
        return self._authentication is not None and self._authentication.is_required and not self.name

    def offered(self) -> tuple[str, ...]:
        """The mechanisms that may be used as the session stands."""
        if self._authentication is None or self.name:
            return ()
        return self._authentication.offered(self._binding, is_encrypted=self._wire.is_encrypted)

    def forget(self) -> None:
        self.name = ""

    def begin(self, auth: Auth) -> AuthAnswer:
        """Answer an AUTH that is in order."""
        assert self._authentication is not None, "the verb is in the grammar"
        offered = self.offered()
        if not offered:
            return _error(538, "5.7.11 Encryption is required to authenticate")
        if auth.mechanism not in offered:
            return _error(504, "5.5.4 Mechanism not recognized")
        self._mechanism = self._authentication.begin(auth.mechanism, self._binding, offered)
        if auth.initial is None:
            return self._answer(self._mechanism, None)
        return self._respond("" if auth.initial == "=" else auth.initial)

    def go_on(self, line: bytes) -> AuthAnswer:
        """Answer a line that answers a challenge."""
        if len(line) > RESPONSE_OCTETS:
            return _error(500, "5.5.6 Line too long")
        if line == b"*":
            return _error(501, "5.7.0 Authentication cancelled")
        return self._respond(line.decode("latin-1"))

    def _respond(self, encoded: str) -> AuthAnswer:
        assert self._mechanism is not None
        try:
            response = decode_octets(encoded)
        except SmtpSyntaxError as error:
            return _error(501, f"5.5.2 {error}")
        return self._answer(self._mechanism, response)

    def _answer(self, mechanism: ServerMechanism, response: bytes | None) -> AuthAnswer:
        try:
            step: ServerStep = mechanism.respond(response)
        except ConfigError:  # who may authenticate cannot be read now: no fault of the client
            return AuthAnswer(Reply(454, ("4.7.0 Temporary authentication failure",)))
        match step:
            case Challenge():
                return AuthAnswer(Reply(334, (encode_octets(step.octets),)), is_over=False)
            case Granted():
                self.name = step.name
                return AuthAnswer(Reply(235, ("2.7.0 Authentication succeeded",)))
            case Denied():
                self.failures += 1
                if self.failures < self._failures_max:
                    return AuthAnswer(Reply(535, ("5.7.8 Authentication credentials invalid",)))
                text = "4.7.0 Too many failures to authenticate"
                return AuthAnswer(Reply(SERVICE_CLOSING, (text,)), is_last_straw=True)
            case _:
                assert_never(step)

    def _binding(self, kind: str) -> bytes | None:
        return None if self._wire.channel is None else self._wire.channel.binding(kind)


def _error(code: int, text: str) -> AuthAnswer:
    return AuthAnswer(Reply(code, (text,)), is_error=True)
