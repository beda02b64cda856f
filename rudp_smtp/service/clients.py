"""Clients: how much of us one client may use, whatever it opens and however often it comes back.

A client is an address, or the /64 of an IPv6 address: who has one address of those has them all.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rudp_smtp.datagram import client_name
from rudp_smtp.smtp.replies import SERVICE_CLOSING, Reply
from rudp_smtp.transport import ConnectionLimits
from rudp_smtp.units import SECOND

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
REMEMBERED_MAX = 20_000  # clients; the one that was here longest ago is forgotten for a new one
DOUBLINGS_MAX = 16

TOO_MANY_SESSIONS = Reply(SERVICE_CLOSING, ("4.7.0 Too many sessions from your address",))
BUSY = Reply(SERVICE_CLOSING, ("4.3.2 Too many sessions, come again later",))
TOO_MANY_MESSAGES = Reply(450, ("4.7.1 Too many messages from your address, come again in a minute",))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Of one client, but for `sessions_in_all`. Times are ns."""

    sessions_in_all: int = 1000
    sessions: int = 100
    messages_per_minute: int = 60_000
    failure_delay_first: int = SECOND  # until a failure to authenticate is answered; it doubles with each
    failure_delay_max: int = MINUTE
    failure_wait_max: int = 10 * MINUTE  # the delays of sessions side by side add up, to this
    failures_kept_for: int = HOUR


def connection_limits(limits: ClientLimits) -> ConnectionLimits:
    """Beneath the sessions: so many connections more that who comes too often hears it in SMTP's words, and that those
    which have just ended are in nobody's way."""
    return ConnectionLimits(connections=2 * limits.sessions_in_all, connections_per_client=2 * limits.sessions)


@dataclass(slots=True)
class _Client:
    sessions: int = 0
    minute_began: int = 0
    messages: int = 0  # since then
    failures: int = 0
    failed_at: int = 0
    answered_until: int = 0  # the time to which answers to failures are put off


class Clients:
    """Owns what is known of each client. `clock` gives ns and does not jump."""

    def __init__(self, limits: ClientLimits, clock: Callable[[], int]) -> None:
        self._limits = limits
        self._clock = clock
        self._clients: dict[str, _Client] = {}  # the one that was here longest ago first
        self._sessions = 0

    def admit(self, host: str) -> "Visit | Reply":
        """A session of this client begins, or is refused with this reply."""
        if self._sessions >= self._limits.sessions_in_all:
            return BUSY
        name = client_name(host)
        client = self._clients.pop(name, None) or _Client()
        self._clients[name] = client
        if client.sessions >= self._limits.sessions:
            return TOO_MANY_SESSIONS
        client.sessions += 1
        self._sessions += 1
        self._forget()
        return Visit(self, client)

    def leave(self, client: _Client) -> None:
        client.sessions -= 1
        self._sessions -= 1

    def has_messages_left(self, client: _Client) -> bool:
        now = self._clock()
        if now - client.minute_began >= MINUTE:
            client.minute_began, client.messages = now, 0
        return client.messages < self._limits.messages_per_minute

    def wait_after_failure(self, client: _Client) -> int:
        """Count a failure to authenticate; how long its answer has to wait."""
        limits, now = self._limits, self._clock()
        if now - client.failed_at >= limits.failures_kept_for:
            client.failures = 0
        client.failures += 1
        client.failed_at = now
        delay = min(limits.failure_delay_first << min(client.failures - 1, DOUBLINGS_MAX), limits.failure_delay_max)
        until = max(client.answered_until, now) + delay
        client.answered_until = min(until, now + limits.failure_wait_max)
        return client.answered_until - now

    def _forget(self) -> None:
        if len(self._clients) <= REMEMBERED_MAX:
            return
        gone = next((name for name, client in self._clients.items() if not client.sessions), None)
        if gone is not None:
            del self._clients[gone]


class Visit:
    """Owns the part of one session in what its client uses; `leave` gives it back."""

    def __init__(self, clients: Clients, client: _Client) -> None:
        self._clients = clients
        self._client = client
        self._failures = 0

    def refuse_recipient(self) -> Reply | None:
        """The refusal of what would be one message too many."""
        return None if self._clients.has_messages_left(self._client) else TOO_MANY_MESSAGES

    def take_message(self) -> Reply | None:
        """A message has come in: count it, or refuse it. Its recipients were asked before, but not the postmaster."""
        refusal = self.refuse_recipient()
        if refusal is None:
            self._client.messages += 1
        return refusal

    def wait_after(self, failures: int) -> int:
        """How long the session's next answer has to wait, when it has failed so often to authenticate."""
        wait = 0
        for _ in range(failures - self._failures):
            wait = self._clients.wait_after_failure(self._client)
        self._failures = failures
        return wait

    def leave(self) -> None:
        self._clients.leave(self._client)
