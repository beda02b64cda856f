"""Guests: what each client has of an endpoint that serves strangers, and what all of them have (RFC 9000 s5.2.2, s21).

A client whose address nothing proves may be somebody else's: it counts, but nobody is refused for it. Who comes on top
of such is asked for a proof (RETRY), so a client has no more than its limit and what was half-open at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from rudp_smtp.errors import ConfigError
from rudp_smtp.transport import Address, ConnectionLimits
from rudp_smtp.transport.rudp.config import TransportConfig
from rudp_smtp.transport.rudp.connection import Connection
from rudp_smtp.transport.rudp.flow import WindowBudget

# A first window where there is no octet left to give: some packets of mail a round trip. It is set aside for every
# connection there may be.
LEAST_WINDOW = 16 << 10

TOO_MANY, TOO_MANY_OF_YOURS = "too many connections", "too many connections from your address"


@dataclass(slots=True)
class Guest:
    """What one client has."""

    name: str
    budget: WindowBudget
    connections: int = 0
    half_open: int = 0


class Guests:
    """Owns an account of each client that has a connection, and of no other."""

    __slots__ = ("_budget", "_by_connection", "_by_name", "_client_of", "_frugal", "_generous", "_limits")

    def __init__(self, config: TransportConfig, limits: ConnectionLimits, client_of: Callable[[Address], str]) -> None:
        octets = limits.window_octets - limits.connections * LEAST_WINDOW
        if octets < 0:
            raise ConfigError(f"{limits.connections} connections need {limits.connections * LEAST_WINDOW}B of windows")
        self._limits = limits
        self._client_of = client_of
        self._budget = WindowBudget(octets)
        self._by_name: dict[str, Guest] = {}
        self._by_connection: dict[int, tuple[Guest, int]] = {}  # and what its first window has of the budget
        self._generous = config
        self._frugal = replace(
            config,
            initial_connection_window=min(config.initial_connection_window, LEAST_WINDOW),
            initial_stream_window=min(config.initial_stream_window, LEAST_WINDOW),
        )

    def find(self, remote: Address) -> Guest:
        """Whoever comes from there; it is nobody yet to remember."""
        name = self._client_of(remote)
        known = self._by_name.get(name)
        return known or Guest(name, WindowBudget(self._limits.window_octets_per_client, self._budget))

    def refusal(self, guest: Guest) -> str:
        """Why it gets no further connection; empty where it may."""
        if len(self._by_connection) >= self._limits.connections:
            return TOO_MANY
        is_full = guest.connections - guest.half_open >= self._limits.connections_per_client
        return TOO_MANY_OF_YOURS if is_full else ""

    def is_proof_due(self, guest: Guest) -> bool:
        """Whether it would be full if all that wear its address were its own."""
        return guest.connections >= self._limits.connections_per_client

    def admit(self, guest: Guest, connection_id: int, *, is_proven: bool) -> TransportConfig:
        """A connection begins: on these terms."""
        self._by_name[guest.name] = guest
        guest.connections += 1
        guest.half_open += not is_proven
        extra = self._generous.first_connection_window - self._frugal.first_connection_window
        is_paid = guest.budget.take(extra)
        self._by_connection[connection_id] = guest, extra if is_paid else 0
        return self._generous if is_paid else self._frugal

    def on_proven(self, connection_id: int) -> None:
        if connection_id in self._by_connection:
            self._by_connection[connection_id][0].half_open -= 1

    def leave(self, connection: Connection, *, is_proven: bool) -> bool:
        """A connection is forgotten; False if it was here before anybody counted, or it was us who opened it."""
        found = self._by_connection.pop(connection.connection_id, None)
        if found is None:
            return False
        guest, extra = found
        guest.budget.give_back(extra + connection.window_growth)
        guest.connections -= 1
        guest.half_open -= not is_proven
        if not guest.connections:
            del self._by_name[guest.name]
        return True
