"""RFC 9000 section 13.2: what every acknowledgement policy promises, and each one's own rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.ack.policy import ACK_POLICIES, AckPolicy
from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND

MAX_ACK_DELAY = 25 * MILLISECOND
RTT = 40 * MILLISECOND
SIZE = 1200


def policy(name: str, **parameters: object) -> AckPolicy:
    return ACK_POLICIES.build(Spec(name, tuple(sorted(parameters.items()))))


def deadlines(acknowledger: AckPolicy, count: int) -> list[int]:
    """What is said of packets in order at time 0, if none is ever acknowledged."""
    return [acknowledger.on_packet_received(True, SIZE, RTT, MAX_ACK_DELAY, 0) for _ in range(count)]


def test_every_policy_this_version_promises_exists() -> None:
    assert {"immediate", "every_n", "delayed", "adaptive"} <= set(ACK_POLICIES.names())


@pytest.mark.parametrize("name", ACK_POLICIES.names())
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**9), st.booleans()), min_size=1))
def test_no_packet_waits_past_the_maximum_delay(name: str, history: list[tuple[bool, int, bool]]) -> None:
    """RFC 9000 section 13.2.1: within the advertised max_ack_delay, and not in the past."""
    acknowledger, now = policy(name), 0
    for is_in_order, pause, is_ack_sent in history:
        now += pause
        assert 0 <= acknowledger.on_packet_received(is_in_order, SIZE, RTT, MAX_ACK_DELAY, now) - now <= MAX_ACK_DELAY
        if is_ack_sent:
            acknowledger.on_ack_sent()


@pytest.mark.parametrize("name", ACK_POLICIES.names())
def test_a_packet_out_of_order_is_acknowledged_at_once(name: str) -> None:
    """RFC 9000 section 13.2.1: to assist loss detection at the sender."""
    assert policy(name).on_packet_received(False, SIZE, RTT, MAX_ACK_DELAY, 7) == 7


@pytest.mark.parametrize("name", ACK_POLICIES.names())
def test_without_a_permitted_delay_every_packet_is_acknowledged_at_once(name: str) -> None:
    assert policy(name).on_packet_received(True, SIZE, RTT, 0, 7) == 7


def test_immediate_never_waits() -> None:
    assert deadlines(policy("immediate"), 3) == [0, 0, 0]


def test_every_second_packet_is_acknowledged_at_once() -> None:
    """RFC 9000 section 13.2.2: after at least two ack-eliciting packets."""
    acknowledger = policy("every_n")
    assert deadlines(acknowledger, 2) == [MAX_ACK_DELAY, 0]
    acknowledger.on_ack_sent()
    assert deadlines(acknowledger, 2) == [MAX_ACK_DELAY, 0]


def test_the_n_of_every_n_can_be_chosen() -> None:
    assert deadlines(policy("every_n", n=4), 5) == [MAX_ACK_DELAY] * 3 + [0, 0]


def test_delayed_always_waits() -> None:
    assert deadlines(policy("delayed"), 9) == [MAX_ACK_DELAY] * 9


def test_an_n_below_one_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        ACK_POLICIES.spec({"model": "every_n", "n": 0}, "transport.ack")
    assert caught.value.key == "transport.ack.n"


# adaptive


def flow(acknowledger: AckPolicy, per_rtt: int, rtts: int, size: int = SIZE) -> int:
    """Acknowledgements of `rtts` round trips of evenly spaced packets, as many each as asked for."""
    sent, deadline = 0, None
    for index in range(per_rtt * rtts):
        now = index * RTT // per_rtt
        if deadline is not None and deadline <= now:  # before this packet came
            sent, deadline = sent + 1, None
            acknowledger.on_ack_sent()
        due = acknowledger.on_packet_received(True, size, RTT, MAX_ACK_DELAY, now)
        if due == now:
            sent, deadline = sent + 1, None
            acknowledger.on_ack_sent()
        elif deadline is None:
            deadline = due
    return sent


@pytest.mark.parametrize("per_rtt", [64, 128, 256])
def test_adaptive_acknowledges_bulk_a_few_times_per_round_trip(per_rtt: int) -> None:
    rtts = 50
    sent = flow(policy("adaptive"), per_rtt, rtts)
    assert 4 * rtts <= sent <= 3 * per_rtt + 9 * rtts  # first each packet, then each other until it stops growing


def test_adaptive_lets_no_more_than_so_many_packets_pass() -> None:
    assert flow(policy("adaptive", packets_max=10), 1000, 10) >= 1000 * 10 // 10


def test_adaptive_acknowledges_every_packet_of_a_slow_flow() -> None:
    assert flow(policy("adaptive"), 4, 10) == 40


def test_adaptive_acknowledges_the_tail_of_a_flight_at_once() -> None:
    """A datagram that is not full: the sender had no more to say."""
    acknowledger = policy("adaptive")
    flow(acknowledger, 128, 10)
    now = 10 * RTT
    assert acknowledger.on_packet_received(True, SIZE, RTT, MAX_ACK_DELAY, now) > now
    assert acknowledger.on_packet_received(True, SIZE // 2, RTT, MAX_ACK_DELAY, now + 1) == now + 1


def test_adaptive_lets_a_full_tail_wait_for_a_part_of_the_round_trip() -> None:
    acknowledger = policy("adaptive")
    flow(acknowledger, 128, 10)
    now = 10 * RTT
    assert acknowledger.on_packet_received(True, SIZE, RTT, MAX_ACK_DELAY, now) - now <= RTT // 8


def test_adaptive_tells_of_what_can_be_declared_lost() -> None:
    """RFC 9002 section 6.1.1: a packet is lost when one three above it is acknowledged."""
    acknowledger = policy("adaptive")
    flow(acknowledger, 256, 10)
    now = 10 * RTT
    told = []
    for number in range(1, 9):  # packet 0 is missing
        if acknowledger.on_packet_received(number != 1, SIZE, RTT, MAX_ACK_DELAY, now) == now:
            told.append(number)
            acknowledger.on_ack_sent()
    assert told == [1, 3, 5]


@pytest.mark.parametrize("key", ["per_rtt", "packets_max"])
def test_an_adaptive_policy_without_acknowledgements_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ACK_POLICIES.spec({"model": "adaptive", key: 0}, "transport.ack")
    assert caught.value.key == f"transport.ack.{key}"
