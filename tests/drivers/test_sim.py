"""Virtual time: transcripts of small hosts, every way a run can stop, and the order of equal times."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.datagram import NOT_ECT, Address
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.pump import Node
from rudp_smtp.drivers.sim import TIMEOUTS_PER_INSTANT_MAX, SimulationResult, Simulator
from rudp_smtp.errors import DriverError, LivelockError
from rudp_smtp.link.config import DelayConfig, LinkConfig, RateConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND, parse_probability
from tests.drivers.nodes import Caller, Echo, Recorder

BUDGET = 100_000
TEN_MS = LinkConfig(delay=DelayConfig(time=10 * MILLISECOND))


def link(config: LinkConfig, name: str, seed: int = 1) -> Link:
    return Link(config, name=name, draws=DrawKey(seed))


def simulate(
    client: Node, server: Node, config: LinkConfig, *, until: int = 10 * SECOND, events: int = BUDGET
) -> SimulationResult:
    nodes: dict[Address, Node] = {"client": client, "server": server}
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): link(config, "forward"),
        ("server", "client"): link(config, "reverse"),
    }
    return Simulator(nodes, links).run(until, events)


class Insomniac(Recorder):
    def handle_timeout(self, now: int) -> None:
        self.deadline = now - 1


class Stepper(Recorder):
    """Has several timers that are due at once, and handles one at a time."""

    def __init__(self, steps: int) -> None:
        super().__init__(deadline=0)
        self._left = steps

    def handle_timeout(self, now: int) -> None:
        super().handle_timeout(now)
        self._left -= 1
        self.deadline = now if self._left else None
        self.is_done = not self._left


def test_a_call_and_its_echo_cross_both_links() -> None:
    client, server = Caller(calls=2, patience=SECOND), Echo()
    result = simulate(client, server, TEN_MS)
    assert client.transcript == ["0 timeout", "20000000 server: call 2", "40000000 server: call 1"]
    assert server.transcript == ["10000000 client: call 2", "30000000 client: call 1"]
    assert result == SimulationResult(now=40 * MILLISECOND, events=5, packets=4, stop="done")


def test_a_lost_call_is_repeated_when_patience_runs_out() -> None:
    lossy = LinkConfig(delay=DelayConfig(time=10 * MILLISECOND), loss=Spec("list", (("packets", (0,)),)))
    client = Caller(calls=1, patience=100 * MILLISECOND)
    result = simulate(client, Echo(), lossy)
    # The first packet of each direction is lost.
    assert client.transcript == ["0 timeout", "100000000 timeout", "200000000 timeout", "220000000 server: call 1"]
    assert result == SimulationResult(now=220 * MILLISECOND, events=6, packets=5, stop="done")


def test_a_run_ends_at_its_time_limit_even_if_nothing_is_delivered() -> None:
    broken = LinkConfig(loss=Spec("random", (("p", PROBABILITY_ONE),)))
    result = simulate(Caller(calls=1, patience=SECOND), Echo(), broken, until=3 * SECOND + 1)
    assert result == SimulationResult(now=3 * SECOND + 1, events=4, packets=4, stop="time_limit")


def test_what_happens_at_the_time_limit_still_happens() -> None:
    assert simulate(Caller(calls=1, patience=SECOND), Echo(), TEN_MS, until=20 * MILLISECOND).stop == "done"
    assert simulate(Caller(calls=1, patience=SECOND), Echo(), TEN_MS, until=20 * MILLISECOND - 1).stop == "time_limit"


def test_a_run_ends_when_its_events_are_spent() -> None:
    result = simulate(Caller(calls=1000, patience=SECOND), Echo(), TEN_MS, events=7)
    assert (result.events, result.stop) == (7, "event_limit")
    assert result.now == 60 * MILLISECOND


def test_many_datagrams_at_one_instant_do_not_pass_the_event_limit() -> None:
    client = Recorder(deadline=0)
    client.outbox.extend([(b"x", "server", NOT_ECT)] * 50)
    assert simulate(client, Echo(), LinkConfig(), events=10).events == 10


def test_nothing_is_handed_over_once_all_are_done() -> None:
    doubling = LinkConfig(duplicate=PROBABILITY_ONE)
    client = Caller(calls=1, patience=SECOND)
    result = simulate(client, Echo(), doubling)
    assert client.transcript == ["0 timeout", "0 server: call 1"]
    assert result == SimulationResult(now=0, events=4, packets=3, stop="done")


def test_hosts_that_answer_each_other_at_once_forever_end_by_the_event_limit() -> None:
    client = Echo()
    client.is_done, client.deadline = False, 0
    client.outbox.append((b"ping", "server", NOT_ECT))
    result = simulate(client, Echo(), LinkConfig(), events=1000)
    assert result == SimulationResult(now=0, events=1000, packets=1000, stop="event_limit")


def test_a_run_with_nothing_left_to_happen_has_stalled() -> None:
    result = simulate(Recorder(deadline=5), Echo(), TEN_MS)
    assert result == SimulationResult(now=5, events=1, packets=0, stop="stalled")
    assert simulate(Recorder(), Echo(), TEN_MS) == SimulationResult(now=0, events=0, packets=0, stop="stalled")


def test_a_deadline_that_was_given_up_does_not_count_as_something_to_happen() -> None:
    class Cancels(Echo):
        def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
            super().receive_datagram(data, remote, now, ecn)
            self.deadline = None

    client, server = Recorder(deadline=0), Cancels()
    client.outbox.append((b"x", "server", NOT_ECT))
    server.deadline = 20 * SECOND
    result = simulate(client, server, TEN_MS, until=10 * SECOND)
    assert result == SimulationResult(now=20 * MILLISECOND, events=3, packets=2, stop="stalled")


def test_hosts_that_are_done_from_the_start_are_not_moved() -> None:
    assert simulate(Echo(), Echo(), TEN_MS) == SimulationResult(now=0, events=0, packets=0, stop="done")


def test_a_host_may_find_more_to_do() -> None:
    class Reopens(Echo):
        def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
            super().receive_datagram(data, remote, now, ecn)
            self.is_done = False

    client = Caller(calls=1, patience=SECOND)
    assert simulate(client, Reopens(), TEN_MS).stop == "stalled"
    assert client.is_done


def test_a_deadline_that_moves_later_wakes_nobody_at_the_old_one() -> None:
    client = Caller(calls=50, patience=30 * MILLISECOND)
    result = simulate(client, Echo(), TEN_MS)
    assert [line for line in client.transcript if line.endswith("timeout")] == ["0 timeout"]
    assert result == SimulationResult(now=SECOND, events=101, packets=100, stop="done")


def test_a_deadline_that_moves_earlier_is_kept() -> None:
    class Hurried(Recorder):
        def receive_datagram(self, data: bytes, remote: Address, now: int, ecn: int = NOT_ECT) -> None:
            super().receive_datagram(data, remote, now, ecn)
            self.deadline = now + 1

    client, server = Recorder(deadline=0), Hurried(deadline=9 * SECOND)
    client.outbox.append((b"x", "server", NOT_ECT))
    simulate(client, server, TEN_MS)
    assert server.transcript == ["10000000 client: x", "10000001 timeout"]


def test_several_timers_due_at_once_are_handled_one_by_one() -> None:
    stepper = Stepper(steps=5)
    assert simulate(stepper, Echo(), TEN_MS) == SimulationResult(now=0, events=5, packets=0, stop="done")


def test_a_host_that_always_wants_to_be_woken_in_the_past_is_named() -> None:
    with pytest.raises(LivelockError, match=f"'client' handled {TIMEOUTS_PER_INSTANT_MAX} timeouts at 7 ns"):
        simulate(Insomniac(deadline=7), Echo(), TEN_MS)


def test_equal_times_are_served_in_the_order_they_were_asked_for() -> None:
    order: list[str] = []

    class Scribe(Recorder):
        def __init__(self, name: str) -> None:
            super().__init__(deadline=5)
            self._name = name

        def handle_timeout(self, now: int) -> None:
            order.append(self._name)
            super().handle_timeout(now)

    nodes: dict[Address, Node] = {name: Scribe(name) for name in ("delta", "alpha", "charlie", "bravo")}
    Simulator(nodes, {}).run(SECOND, BUDGET)
    assert order == ["delta", "alpha", "charlie", "bravo"]


def test_three_hosts_hear_whom_they_are_linked_to() -> None:
    a, b, c = Recorder(deadline=0), Echo(), Recorder(is_done=True)
    a.outbox.extend([(b"to b", "b", NOT_ECT), (b"to c", "c", NOT_ECT)])
    nodes: dict[Address, Node] = {"a": a, "b": b, "c": c}
    ends = [("a", "b"), ("b", "a"), ("a", "c")]
    links: dict[tuple[Address, Address], Link] = {pair: link(TEN_MS, "-".join(pair)) for pair in ends}
    Simulator(nodes, links).run(SECOND, BUDGET)
    assert a.transcript == ["0 timeout", "20000000 b: to b"]
    assert c.transcript == ["10000000 a: to c"]


def test_a_datagram_to_nowhere_is_an_error() -> None:
    client = Recorder(deadline=0)
    client.outbox.append((b"x", "moon", NOT_ECT))
    with pytest.raises(DriverError, match="from 'client' to 'moon'"):
        simulate(client, Echo(), TEN_MS)


def test_a_link_to_nowhere_is_an_error() -> None:
    with pytest.raises(DriverError, match="'client' to 'moon'"):
        Simulator({"client": Echo()}, {("client", "moon"): link(TEN_MS, "up")})


def lossy_dialogue(seed: int, p: str, jitter: int) -> tuple[SimulationResult, list[str]]:
    config = LinkConfig(
        delay=DelayConfig(time=10 * MILLISECOND, jitter=jitter),
        rate=RateConfig(value=1_000_000),
        loss=Spec("random", (("p", parse_probability(p)),)),
        duplicate=parse_probability("10%"),
    )
    client, server = Caller(calls=30, patience=60 * MILLISECOND), Echo()
    nodes: dict[Address, Node] = {"client": client, "server": server}
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): link(config, "forward", seed),
        ("server", "client"): link(config, "reverse", seed),
    }
    return Simulator(nodes, links).run(60 * SECOND, BUDGET), client.transcript + server.transcript


@given(seed=st.integers(0, 2**32), p=st.sampled_from(["0%", "10%", "40%"]), jitter=st.integers(0, 20 * MILLISECOND))
@settings(deadline=None, max_examples=40)
def test_the_same_seed_gives_the_same_transcript(seed: int, p: str, jitter: int) -> None:
    first, again = lossy_dialogue(seed, p, jitter), lossy_dialogue(seed, p, jitter)
    assert first == again
    assert first[0].stop == "done"
    times = [int(line.split()[0]) for line in first[1]]
    assert max(times) == first[0].now


def test_another_seed_gives_another_transcript() -> None:
    assert lossy_dialogue(1, "40%", MILLISECOND) != lossy_dialogue(2, "40%", MILLISECOND)


def test_nobody_waits_for_what_is_in_the_background() -> None:
    shared = link(TEN_MS, "forward"), link(TEN_MS, "reverse")
    client, endless = Caller(calls=2, patience=SECOND), Caller(calls=1_000, patience=SECOND, remote="other-server")
    nodes: dict[Address, Node] = {"client": client, "server": Echo(), "other": endless, "other-server": Echo()}
    links: dict[tuple[Address, Address], Link] = {
        ("client", "server"): shared[0],
        ("server", "client"): shared[1],
        ("other", "other-server"): shared[0],
        ("other-server", "other"): shared[1],
    }
    result = Simulator(nodes, links, background=("other", "other-server")).run(10 * SECOND, BUDGET)
    assert (result.stop, result.now) == ("done", 40 * MILLISECOND)
    assert len(endless.transcript) > 1
