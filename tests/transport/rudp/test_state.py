"""Every pair of state and input leads where the table says, or is refused; nothing leads nowhere."""

from itertools import product

import pytest

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.machine import Machine, Word
from rudp_smtp.transport.rudp.state import (
    ECN_TRANSITIONS,
    RECEIVE_TRANSITIONS,
    SEND_TRANSITIONS,
    TRANSITIONS,
    EcnInput,
    EcnState,
    Input,
    ReceiveInput,
    ReceiveState,
    SendInput,
    SendState,
    State,
)

MACHINES = {
    "connection": (State, Input, TRANSITIONS, State.IDLE, {State.CLOSED}),
    "sending": (SendState, SendInput, SEND_TRANSITIONS, SendState.OPEN, {SendState.FINISHED, SendState.RESET_ACKED}),
    "receiving": (
        ReceiveState,
        ReceiveInput,
        RECEIVE_TRANSITIONS,
        ReceiveState.OPEN,
        {ReceiveState.DELIVERED, ReceiveState.RESET},
    ),
}

Table = dict[tuple[Word, Word], Word]
machines = pytest.mark.parametrize(
    ("states", "inputs", "table", "start", "ends"), MACHINES.values(), ids=MACHINES.keys()
)


@machines
def test_every_pair_leads_where_the_table_says_or_is_refused(
    states: type[Word], inputs: type[Word], table: Table, start: Word, ends: set[Word]
) -> None:
    for state, given in product(states, inputs):
        machine = Machine(table, state)
        if (state, given) not in table:
            with pytest.raises(LocalProtocolError):
                machine.advance(given)
            assert machine.state is state
            continue
        assert machine.advance(given) == (table[state, given] is not state)
        assert machine.state is table[state, given]


@machines
def test_every_state_is_reached_and_none_is_a_trap(
    states: type[Word], inputs: type[Word], table: Table, start: Word, ends: set[Word]
) -> None:
    for origin in states:
        reached = {origin}
        while True:
            further = reached | {target for (source, _), target in table.items() if source in reached}
            if further == reached:
                break
            reached = further
        assert origin is not start or reached == set(states)
        assert reached & ends


@machines
def test_what_is_over_stays_over(
    states: type[Word], inputs: type[Word], table: Table, start: Word, ends: set[Word]
) -> None:
    assert all(target is source for (source, _), target in table.items() if source in ends)


def test_the_application_may_close_or_reset_in_every_state_after_the_start() -> None:
    for state in set(State) - {State.IDLE}:
        assert (state, Input.CLOSE) in TRANSITIONS
        assert (state, Input.ABORT) in TRANSITIONS


def test_what_is_thought_of_ecn_changes_as_the_table_says_and_every_path_is_tested_anew() -> None:
    for state, given in product(EcnState, EcnInput):
        machine = Machine(ECN_TRANSITIONS, state)
        if (state, given) in ECN_TRANSITIONS:
            machine.advance(given)
            assert machine.state is ECN_TRANSITIONS[state, given]
        else:
            with pytest.raises(LocalProtocolError):
                machine.advance(given)
        assert ECN_TRANSITIONS[state, EcnInput.START] is EcnState.TESTING
