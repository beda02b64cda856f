"""Transcript: what is said in a session, for whoever watches at one of its ends; inside TLS as outside of it.

What a login or a message holds never leaves here: only the session knows for certain which octets those are, however
they were cut or pipelined, so it is left out here and not by the watcher.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rudp_smtp.smtp.auth import MECHANISMS
from rudp_smtp.smtp.commands import VERBS
from rudp_smtp.smtp.tls import Wire

CLIENT, SERVER = "C", "S"
LOGIN = "[part of a login]"


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the dialogue, without its end, or what stands for octets that are left out."""

    who: str  # CLIENT or SERVER
    text: str
    is_encrypted: bool  # TLS carries it


Watch = Callable[[Said], None]


class Transcript:
    """Owns what was said and has not left yet: it is told when it leaves, or never."""

    __slots__ = ("_has_seen_login", "_is_client", "_waiting", "_watch", "_wire")

    def __init__(self, wire: Wire, watch: Watch | None, *, is_client: bool) -> None:
        self._wire = wire
        self._watch = watch
        self._is_client = is_client
        self._waiting: deque[Said] = deque()
        self._has_seen_login = False

    def on_command(self, line: bytes) -> None:
        if self._watch is not None:
            self._add(CLIENT, self._without_login(line))

    def on_response(self) -> None:
        """The client answered a challenge."""
        self._add(CLIENT, LOGIN)

    def on_text(self, octets: int) -> None:
        """So much mail data was said."""
        self._add(CLIENT, f"[{octets} octets of mail data]")

    def on_flight(self, octets: bytes, *, is_text: bool) -> None:
        """Of the client: mail data, or a command; of BDAT, that says itself how much mail data follows."""
        if self._watch is None:
            return
        if is_text:
            self.on_text(len(octets))
        else:
            self.on_command(octets.partition(b"\r\n")[0])

    def on_reply_line(self, line: bytes) -> None:
        """Without its end."""
        if self._watch is not None:
            self._add(SERVER, f"334 {LOGIN}" if line.startswith(b"334") else _text(line))

    def on_reply(self, encoded: bytes) -> None:
        """All lines of a reply."""
        if self._watch is not None:
            for line in encoded.split(b"\r\n")[:-1]:
                self.on_reply_line(line)

    def flush(self) -> None:
        """All that was said is on its way; under TLS, once there is TLS."""
        if self._watch is None:
            return
        channel = self._wire.channel
        is_shaking_hands = channel is not None and not channel.is_established
        while self._waiting and not (is_shaking_hands and self._waiting[0].is_encrypted):
            self._watch(self._waiting.popleft())

    def forget_unsent(self) -> None:
        """What we said and did not send will not be sent any more."""
        own = CLIENT if self._is_client else SERVER
        self._waiting = deque(said for said in self._waiting if said.who != own)
        self.flush()

    def _add(self, who: str, text: str) -> None:
        if self._watch is None:
            return
        self._waiting.append(Said(who, text, self._wire.channel is not None))
        if self._waiting[0].who != (CLIENT if self._is_client else SERVER):
            self.flush()

    def _without_login(self, line: bytes) -> str:
        """A command; of AUTH, no more than its mechanism. Whoever had that refused may have gone on regardless."""
        text = _text(line)
        verb, _, argument = text.strip().partition(" ")
        if verb.upper().startswith("AUTH"):
            self._has_seen_login = True
            mechanism, _, rest = argument.partition(" ")
            if verb.upper() == "AUTH" and mechanism.upper() in MECHANISMS:
                return f"{verb} {mechanism} {LOGIN}" if rest else text
            return f"AUTH {LOGIN}"
        return LOGIN if self._has_seen_login and verb.upper() not in VERBS else text


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")
