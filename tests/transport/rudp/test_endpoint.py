"""Many connections behind one address: each datagram to its own, idle ones free, all of them counted."""

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS, Closed, Established, Event, StreamData, Transport
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import MILLISECOND, SECOND
from tests.helpers import Pair, make_pair
from tests.transport.rudp.puppet import LIMITS, Puppet, connections_of


def crowd(count: int, transport: Rudp | None = None) -> tuple[Pair, list[Transport]]:
    pair = make_pair(client=transport)
    connections = [pair.connect() for _ in range(count)]
    pair.run_until(lambda: len(pair.server.told(Established)) == count)
    pair.run_for("200ms")
    return pair, connections


def test_connections_keep_their_octets_apart() -> None:
    pair, connections = crowd(50)
    got: dict[Transport, bytes] = {}

    def note(transport: Transport, event: Event) -> None:
        if isinstance(event, StreamData):
            got[transport] = got.get(transport, b"") + event.data

    pair.server.application = note
    for index, connection in enumerate(connections):
        connection.send(connection.open_stream(), b"from number %d" % index, True)
    pair.run_until_idle()
    assert sorted(got.values()) == sorted(b"from number %d" % index for index in range(50))


def test_connections_share_the_way_out_in_turns() -> None:
    pair, connections = crowd(3)
    for connection in connections:
        connection.send(connection.open_stream(), bytes(5000))
    first = pair.forward.count
    pair.run_for("1ms")
    owners = [data[1:9] for _, data in pair.forward.sent[first : first + 6]]
    assert owners[:3] == owners[3:]
    assert len(set(owners)) == 3


def test_a_thousand_idle_connections_stay_silent_beside_a_busy_one_and_end_by_themselves() -> None:
    pair, connections = crowd(1000, Rudp(max_half_open=1000))
    busy = connections[500]
    stream_id = busy.open_stream()
    before = pair.server.endpoint.total_stats().packets_received
    for _ in range(20):
        busy.send(stream_id, b"x")
        pair.run_for("100ms")
    after = pair.server.endpoint.total_stats().packets_received
    assert 20 <= after - before <= 40
    pair.run_for("60s")
    assert connections_of(pair.client) == connections_of(pair.server) == 0
    assert len(pair.client.told(Closed)) == len(pair.server.told(Closed)) == 1000
    assert pair.client.endpoint.next_timeout() is None


def test_past_connections_stay_in_the_sum() -> None:
    pair, connections = crowd(3)
    for connection in connections[:2]:
        connection.send(connection.open_stream(), bytes(1000), True)
        connection.close(pair.now)
    pair.run_until_idle()
    connections[2].send(connections[2].open_stream(), bytes(500), True)
    pair.run_until_idle()
    client, server = pair.client.endpoint.total_stats(), pair.server.endpoint.total_stats()
    assert client.stream_bytes_sent == server.stream_bytes_delivered == 2500
    assert client.packets_sent == pair.forward.count == server.packets_received
    assert server.packets_sent == pair.reverse.count == client.packets_received
    assert client.smoothed_rtt >= 40 * MILLISECOND
    assert sum(connection.stats.stream_bytes_sent for connection in connections) == 2500


def test_an_accepting_endpoint_takes_no_more_connections_than_it_may() -> None:
    puppet = Puppet(Rudp(max_connections=2))
    for source in range(5):
        puppet.say_initial(LIMITS, source=source)
    assert puppet.server.connection_count == 2


def test_a_deadline_that_moved_away_wakes_nobody() -> None:
    pair, connections = crowd(1)
    connections[0].send(connections[0].open_stream(), b"x", True)
    pair.run_until(lambda: pair.server.finished == {0})
    pair.run_until_idle()
    deadline = pair.client.endpoint.next_timeout()
    assert deadline is not None
    assert deadline > pair.now + 25 * SECOND


def test_the_scenario_chooses_every_mechanism_by_name() -> None:
    spec = TRANSPORTS.spec(
        {
            "name": "rudp",
            "loss_detection": "packet_threshold",
            "timer": {"model": "fixed", "interval": "200ms"},
            "ack": "immediate",
            "congestion": {"model": "fixed", "window": "64KiB"},
            "pacing": False,
            "initial_rtt": "50ms",
            "stream_window": "1MiB",
        }
    )
    transport = TRANSPORTS.build(spec)
    assert isinstance(transport, Rudp)
    assert transport.timer == Spec("fixed", (("interval", 200 * MILLISECOND),))
    assert transport.initial_rtt == 50 * MILLISECOND
    assert not transport.pacing
    assert TRANSPORTS.spec(TRANSPORTS.describe(spec)).name == "rudp"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_datagram_size", "100B"),
        ("max_ack_delay", "20s"),
        ("initial_rtt", "0ms"),
        ("stream_window", "1kB"),
        ("max_streams", 0),
        ("max_half_open", 0),
    ],
)
def test_what_cannot_work_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        TRANSPORTS.spec({"name": "rudp", key: value}, "transport")
    assert caught.value.key == f"transport.{key}"


def test_an_unknown_mechanism_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cubic'"):
        TRANSPORTS.spec({"name": "rudp", "congestion": "cubik"}, "transport")
