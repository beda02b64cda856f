"""What is asked of the adapters beyond the contract of all transports."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError, LocalProtocolError
from rudp_smtp.registry import Spec
from rudp_smtp.transport import (
    TRANSPORTS,
    Closed,
    Established,
    StreamData,
    StreamOpened,
    StreamReset,
    StreamStopped,
    StreamWritable,
    TransportPlugin,
)
from tests.helpers import connected_pair, make_pair

ROOT = Path(__file__).parent.parent.parent.parent
PEERS = ("kcp", "quic")
peers = pytest.mark.parametrize("name", PEERS)

MATRIX = """
schema: 1
name: peers
description: what must not change from run to run
seed: 3
replications: 2
network:
  both:
    delay: {time: 20ms}
    rate: 20mbit
    queue: {discipline: droptail, limit: 100kB}
    loss: {model: random, p: 5%}
    duplicate: 1%
    corrupt: {probability: 2%}
    reorder: {probability: 2%, hold: 5ms}
transport: {name: rudp}
workload: {name: bulk, size: 200kB}
vary:
  transport: [{name: quic}, {name: quic, congestion: cubic}, {name: kcp}, {name: kcp, preset: turbo, eager_flush: true}]
"""


def build(name: str, **parameters: object) -> TransportPlugin:
    return TRANSPORTS.build(TRANSPORTS.spec({"name": name, **parameters}, "transport"))


def test_a_scenario_without_them_imports_nothing_of_theirs() -> None:
    code = """
import sys
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
from pathlib import Path
scenario = load_scenario(Path("configs/lossless.yaml"), [("replications", "1"), ("workload.messages", "1")])
execute(plan(scenario)[0])
print(sorted({"aioquic", "kcp", "cryptography"} & set(sys.modules)))
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert finished.stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "package"), [("quic", "aioquic"), ("kcp", "kcp")])
def test_one_that_is_not_installed_says_how_to_install_it(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'rudp-smtp\[{name}\]'") as raised:
        TRANSPORTS.spec({"name": name}, "transport")
    assert raised.value.key == "transport"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("quic", "datagram_size", "1199B"),
        ("quic", "congestion", "bbr"),
        ("quic", "stream_window", "10B"),
        ("kcp", "interval", "5ms"),
        ("kcp", "interval", "10500us"),
        ("kcp", "receive_window", 64),
        ("kcp", "send_window", 0),
        ("kcp", "preset", "fast"),
        ("kcp", "datagram_size", "99B"),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(name: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError) as raised:
        build(name, **{key: value})
    assert raised.value.key == f"transport.{key}"


def test_rows_are_the_same_in_one_process_and_in_another(tmp_path: Path) -> None:
    """Lost, late, copied and damaged packets, twice in each of two processes that hash differently."""
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    code = """
import sys
from pathlib import Path
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.records import record
from rudp_smtp.experiment.scenario import load_scenario
runs = plan(load_scenario(Path(sys.argv[1]), []))
once, again = ([record(execute(run)).document() for run in runs] for _ in range(2))
assert once == again, "two runs in one process differ"
print(once)
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "matrix.yaml")],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("'stop': 'done'") == 8


@peers
def test_streams_can_be_given_up_from_both_ends(name: str) -> None:
    pair = connected_pair(client=build(name))
    first, second = pair.client.open_stream(), pair.client.open_stream()
    for stream_id in (first, second):
        pair.client.send(b"begun", stream_id=stream_id)
    pair.run_until(lambda: pair.server.received(second) == b"begun")
    pair.client.transport.reset_stream(first, 7)
    pair.server.transport.stop_sending(second, 9)
    pair.run_for("1s")
    assert pair.server.told(StreamReset)[0] == StreamReset(first, 7)
    assert pair.client.told(StreamStopped) == [StreamStopped(second, 9)]
    pair.client.send(b"for nobody", stream_id=second)
    assert pair.client.transport.unsent_bytes(second) == 0
    with pytest.raises(LocalProtocolError):
        pair.client.send(b"more", stream_id=first)


@peers
def test_a_reset_tells_the_peer_why(name: str) -> None:
    pair = connected_pair(client=build(name))
    pair.client.transport.reset(5, "enough", pair.now)
    pair.run_for("5s")
    assert pair.client.closed == Closed("local", 5, "enough")
    assert pair.server.closed == Closed("peer", 5, "enough")
    with pytest.raises(LocalProtocolError):
        pair.client.open_stream()


@peers
def test_silence_ends_a_connection(name: str) -> None:
    pair = connected_pair(client=build(name, max_idle_timeout="5s"))
    pair.cut()
    pair.client.send(b"anybody there")
    pair.run_for("60s")
    assert pair.client.closed is not None
    assert pair.client.closed.cause == "idle_timeout"
    assert pair.client.endpoint.next_timeout() is None


@peers
def test_a_close_waits_for_what_was_written(name: str) -> None:
    data = bytes(range(256)) * 400
    pair = connected_pair(client=build(name), rate="10mbit")
    pair.client.send(data, fin=True)
    pair.forward.drop(range(pair.forward.count + 3, pair.forward.count + 9))
    pair.client.transport.close(pair.now)
    pair.run_until(lambda: pair.client.closed is not None)
    assert pair.server_received == data
    assert pair.client.closed == Closed("local", 0, "")


@peers
def test_a_sender_is_told_when_there_is_room_again_and_what_was_sent_again_is_counted(name: str) -> None:
    pair = connected_pair(client=build(name), rate="10mbit")
    data = bytes(200_000)
    pair.client.send(data)
    assert pair.client.transport.unsent_bytes(pair.client.streams[0]) == len(data)
    pair.forward.drop(range(pair.forward.count + 5, pair.forward.count + 8))
    pair.run_until(lambda: len(pair.server_received) == len(data))
    pair.run_for("1s")
    assert pair.client.told(StreamWritable) == [StreamWritable(pair.client.streams[0])]
    stats = pair.client.endpoint.total_stats()
    assert stats.stream_bytes_sent == len(data)
    assert 0 < stats.stream_bytes_retransmitted < len(data)
    assert {"packets_spurious", "probes_sent"} <= stats.untold
    assert stats.bytes_sent == sum(len(octets) for _, octets in pair.forward.sent)


@peers
def test_foreign_octets_are_dropped_and_late_ones_open_nothing(name: str) -> None:
    pair = make_pair(client=TRANSPORTS.build(Spec(name)))
    pair.connect()
    pair.client.send(b"hello", fin=True)
    pair.run_until(lambda: pair.server_received == b"hello")
    pair.client.transport.close(pair.now)
    pair.run_for("200s")
    server = pair.server
    told, dropped = len(server.events), server.endpoint.total_stats().packets_dropped
    for data in (b"", b"\0", bytes(24), b"\xff" * 1300, *(octets for _, octets in pair.forward.sent)):
        pair.inject(server, data, "client")
    pair.run_for("200s")
    assert len(server.events) == told
    assert server.endpoint.total_stats().packets_dropped == dropped + 4 + len(pair.forward.sent)


OPEN, DATA, LAST, RESET = range(1, 5)  # kinds of the adapter's records


def kcp_datagram(first: int, records: list[tuple[int, int, bytes]]) -> bytes:
    """Records of a stranger's in KCP's conversation 7, from segment `first` on: kind, stream and the rest of each."""
    segments = [
        struct.pack("<IBBHIIII", 7, 81, 0, 128, 0, number, 0, 5 + len(rest)) + struct.pack("<BI", kind, stream) + rest
        for number, (kind, stream, rest) in enumerate(records, first)
    ]
    body = b"".join(segments)
    return struct.pack("<I", zlib.crc32(body)) + body


@pytest.mark.parametrize("end", [(LAST, 0, b"?"), (RESET, 0, bytes(8))], ids=["last", "reset"])
@pytest.mark.parametrize("more", [(DATA, 0, b"!"), (LAST, 0, b""), (RESET, 0, bytes(8))], ids=["data", "last", "reset"])
def test_a_peer_that_goes_on_behind_a_streams_end_is_given_up(
    end: tuple[int, int, bytes], more: tuple[int, int, bytes]
) -> None:
    pair = make_pair(client=build("kcp"))
    pair.inject(pair.server, kcp_datagram(0, [(OPEN, 0, b""), end, more]), "stranger")
    assert len(pair.server.told(StreamData)) + len(pair.server.told(StreamReset)) == 1
    assert pair.server.closed is not None
    assert (pair.server.closed.cause, pair.server.closed.reason) == ("protocol_error", "stream 0 had ended")


def test_a_peer_that_opens_streams_without_end_is_given_up() -> None:
    pair = make_pair(client=build("kcp"))
    for first in range(0, 70_000, 40):
        records = [(OPEN, 2 * number, b"") for number in range(first, first + 40)]
        pair.inject(pair.server, kcp_datagram(first, records), "stranger")
    assert len(pair.server.told(StreamOpened)) == 1 << 16
    assert pair.server.closed is not None
    assert pair.server.closed.cause == "protocol_error"


def test_two_conversations_with_one_host_never_have_one_number() -> None:
    """There are 2**31: with this seed the 1364th draw is one of those before it."""
    pair = make_pair(client=build("kcp"), seed=547)
    for _ in range(1364):
        pair.connect()
    pair.run_for("5s")
    assert len(pair.client.told(Established)) == len(pair.server.told(Established)) == 1364


@given(body=st.binary(max_size=200), header=st.binary(min_size=20, max_size=20), number=st.integers(0, 130))
@settings(max_examples=300, deadline=None)
def test_octets_with_a_right_checksum_that_make_no_sense_raise_nothing(body: bytes, header: bytes, number: int) -> None:
    """A header of chance, and one that KCP obeys whose record is of chance."""
    pair = connected_pair(client=build("kcp"))
    conversation = pair.forward.sent[0][1][4:8]
    obeyed = struct.pack("<BBHIIII", 81, 0, 128, 0, number, 0, len(body))
    for datagram in (conversation + header + body, conversation + obeyed + body):
        for side, remote in ((pair.server, "client"), (pair.client, "server")):
            pair.inject(side, struct.pack("<I", zlib.crc32(datagram)) + datagram, remote)
    pair.run_for("1s")


@given(data=st.binary(max_size=60), place=st.integers(0, 1199))
@settings(max_examples=60, deadline=None)
def test_a_damaged_first_flight_raises_nothing(data: bytes, place: int) -> None:
    pair = make_pair(client=build("quic"))
    pair.connect()
    pair.run_for("1ms")
    first = pair.forward.sent[0][1]
    pair.inject(pair.server, (first[:place] + data + first[place + len(data) :])[: len(first)], "client")
    pair.inject(pair.client, data, "server")
    pair.run_for("5s")
