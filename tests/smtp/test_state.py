"""The two transition tables, every pair of them."""

from collections.abc import Mapping
from enum import Enum
from itertools import product
from typing import TypeVar

import pytest

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.machine import Machine
from rudp_smtp.smtp.state import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientInput,
    ClientState,
    ServerInput,
    ServerState,
)

S = TypeVar("S", bound=Enum)
I = TypeVar("I", bound=Enum)  # noqa: E741


def reachable(start: S, transitions: Mapping[tuple[S, I], S]) -> set[S]:
    found, fresh = {start}, {start}
    while fresh:
        fresh = {after for (before, _), after in transitions.items() if before in fresh} - found
        found |= fresh
    return found


@pytest.mark.parametrize(("state", "happening"), list(product(ServerState, ServerInput)))
def test_the_server_moves_as_its_table_says_or_not_at_all(state: ServerState, happening: ServerInput) -> None:
    machine = Machine(SERVER_TRANSITIONS, state)
    if machine.allows(happening):
        machine.advance(happening)
        assert machine.state is SERVER_TRANSITIONS[state, happening]
    else:
        with pytest.raises(LocalProtocolError):
            machine.advance(happening)
        assert machine.state is state


@pytest.mark.parametrize(("state", "happening"), list(product(ClientState, ClientInput)))
def test_the_client_moves_as_its_table_says_or_not_at_all(state: ClientState, happening: ClientInput) -> None:
    machine = Machine(CLIENT_TRANSITIONS, state)
    if machine.allows(happening):
        machine.advance(happening)
        assert machine.state is CLIENT_TRANSITIONS[state, happening]
    else:
        with pytest.raises(LocalProtocolError):
            machine.advance(happening)
        assert machine.state is state


def test_every_state_is_reached_and_every_one_can_end() -> None:
    assert reachable(ServerState.CONNECTED, SERVER_TRANSITIONS) == set(ServerState)
    assert reachable(ClientState.GREETING, CLIENT_TRANSITIONS) == set(ClientState)
    for server_state in ServerState:
        assert ServerState.CLOSED in reachable(server_state, SERVER_TRANSITIONS)
    for client_state in ClientState:
        assert ClientState.CLOSED in reachable(client_state, CLIENT_TRANSITIONS)


def test_nothing_follows_the_end() -> None:
    assert not any(state is ServerState.CLOSED for state, _ in SERVER_TRANSITIONS)
    assert not any(state is ClientState.CLOSED for state, _ in CLIENT_TRANSITIONS)


def test_only_a_transaction_with_a_recipient_leads_to_mail_data() -> None:
    begins = {ServerInput.DATA: [ServerState.RCPT], ServerInput.BDAT: [ServerState.RCPT, ServerState.CHUNKED]}
    for happening, states in begins.items():
        assert [state for (state, other) in SERVER_TRANSITIONS if other is happening] == states
    assert [state for (state, happening) in SERVER_TRANSITIONS if happening is ServerInput.HAND_OVER] == [
        ServerState.DATA,
        ServerState.CHUNK,
    ]


def test_tls_and_authentication_begin_between_transactions_only() -> None:
    for happening in (ServerInput.STARTTLS, ServerInput.AUTH):
        states = [state for (state, other) in SERVER_TRANSITIONS if other is happening]
        assert states == [ServerState.READY, ServerState.MAIL_REFUSED]
