"""The relay between real sockets on loopback: what arrives, whose it is, and that fates are the simulator's."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.clock import Lateness, Waiter
from rudp_smtp.drivers.proxy import Endpoint, Path, Relay, report
from rudp_smtp.link.config import CorruptConfig, DelayConfig, LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import Spec
from rudp_smtp.trace import LinkFate, ListSink
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE, SECOND

ANY = ("127.0.0.1", 0)
PERFECT = LinkConfig()
LOSSY = LinkConfig(
    loss=Spec("random", (("p", PROBABILITY_ONE // 5),)),
    duplicate=PROBABILITY_ONE // 10,
    corrupt=CorruptConfig(probability=PROBABILITY_ONE // 10),
)


def plain_socket(timeout: float = 5) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(ANY)
    bound.settimeout(timeout)
    return bound


@contextmanager
def relaying(
    upstream: Endpoint,
    forward: LinkConfig = PERFECT,
    reverse: LinkConfig = PERFECT,
    *,
    sink: ListSink | None = None,
    clients_max: int = 10,
    idle: int = 60 * SECOND,
) -> Iterator[Relay]:
    waiter = Waiter()
    path = Path(forward=forward, reverse=reverse, seed=7)
    relay = Relay(ANY, upstream, path, waiter=waiter, sink=sink, clients_max=clients_max, idle=idle)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join()
        relay.close()
        waiter.close()


def test_answers_find_the_client_that_asked() -> None:
    with (
        plain_socket() as server,
        plain_socket() as one,
        plain_socket() as two,
        relaying(server.getsockname()) as relay,
    ):
        for client, text in ((one, b"one"), (two, b"two")):
            client.sendto(text, relay.address)
            data, source = server.recvfrom(100)
            server.sendto(data.upper(), source)
        assert two.recvfrom(100) == (b"TWO", relay.address)
        assert one.recvfrom(100) == (b"ONE", relay.address)
        assert relay.stats.clients == 2


def test_nothing_leaves_before_its_time() -> None:
    late = LinkConfig(delay=DelayConfig(time=30 * MILLISECOND))
    clock = Waiter()
    with plain_socket() as server, plain_socket() as client, relaying(server.getsockname(), late, late) as relay:
        began = clock.now()
        client.sendto(b"there", relay.address)
        _, source = server.recvfrom(100)
        assert clock.now() - began >= 30 * MILLISECOND
        server.sendto(b"and back", source)
        client.recvfrom(100)
        assert clock.now() - began >= 60 * MILLISECOND
    assert relay.lateness.count == 2
    clock.close()


def test_fates_are_those_of_the_simulated_link() -> None:
    sink = ListSink()
    told = ListSink()
    simulated = Link(LOSSY, name="forward", draws=DrawKey(7).derive("link"), sink=told)  # as experiment.build has it
    with (
        plain_socket(0.3) as server,
        plain_socket() as client,
        relaying(server.getsockname(), LOSSY, sink=sink) as relay,
    ):
        for number in range(300):
            client.sendto(b"%d" % number, relay.address)
        arrived = []
        while True:
            try:
                arrived.append(server.recv(100))
            except TimeoutError:
                break
        assert "received 300" in report(relay)
    for number in range(300):
        simulated.push(b"%d" % number, number)
    expected = iter(lambda: simulated.next_datagram(SECOND), None)
    assert arrived == [data for data, _ in expected]
    fates = [(fact.index, fact.fate) for fact in sink.facts if isinstance(fact, LinkFate)]
    assert fates == [(fact.index, fact.fate) for fact in told.facts if isinstance(fact, LinkFate)]
    assert {fate for _, fate in fates} == {"passed", "lost", "duplicated", "corrupted"}


def test_a_client_too_many_is_refused_until_another_has_been_silent_long_enough() -> None:
    with (
        plain_socket() as server,
        plain_socket() as one,
        plain_socket() as two,
        relaying(server.getsockname(), clients_max=1, idle=SECOND // 5) as relay,
    ):
        one.sendto(b"first", relay.address)
        assert server.recv(100) == b"first"
        two.sendto(b"refused", relay.address)
        server.settimeout(0.5)
        try:
            raise AssertionError(server.recv(100))
        except TimeoutError:
            pass
        two.sendto(b"let in", relay.address)
        assert server.recv(100) == b"let in"
        assert (relay.stats.packets_refused, relay.stats.clients_expired) == (1, 1)


def test_an_upstream_that_nobody_listens_on_does_no_harm() -> None:
    with plain_socket() as closed:
        nowhere = closed.getsockname()
    with plain_socket() as client, plain_socket() as server, relaying(nowhere) as relay:
        for _ in range(5):
            client.sendto(b"hello?", relay.address)
        with relaying(server.getsockname()) as other:
            client.sendto(b"hello", other.address)
            assert server.recv(100) == b"hello"


def test_a_quantile_is_no_less_than_exact_and_at_most_a_sixteenth_more() -> None:
    late = Lateness()
    for value in range(1, 100_001):
        late.add(value)
    assert late.quantile(1) == late.maximum == 100_000
    for share in (0.5, 0.99):
        assert share * 100_000 <= late.quantile(share) <= share * 100_000 * 17 / 16
