"""Live runs are captured and logged while they go on: the files are of the very runs of the tables."""

import csv
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.utils import rdpcap

from rudp_smtp.cli.__main__ import main as command
from rudp_smtp.drivers.capture import INBOUND, OUTBOUND, Captured, read_capture
from rudp_smtp.experiment.__main__ import main
from tests.experiment.qlog_reading import fields, problems, read_log
from tests.live import live

LOSS10 = Path(__file__).parents[2] / "configs" / "loss10.yaml"
DRIVERS = ["udp", pytest.param("netns", marks=live)]
WAYS = (("forward", "client", "server"), ("reverse", "server", "client"))
ADDRESSES = {"udp": ("10.0.0.1", "10.0.0.2"), "netns": ("10.77.0.1", "10.77.0.2")}


def run(where: Path, driver: str, *options: str, replications: int = 1) -> None:
    """A busy machine may make a run invalid, which the status tells: all the same it is what the tables say."""
    settings = [f"driver={driver}", "workload.messages=2", "executor=serial"]
    arguments = [str(LOSS10), "--output", str(where / "out"), "--replications", str(replications)]
    main([*arguments, *(word for setting in settings for word in ("--set", setting)), *options])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def captured(path: Path) -> list[Captured]:
    return list(read_capture(path.read_bytes()))


def counts(where: Path) -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]:
    """By host and direction: what the first run's capture has, and what links.csv says of the ends of its links."""
    seen = Counter((packet.interface, packet.direction) for packet in captured(where / "run00000.pcapng"))
    told: Counter[tuple[str, int]] = Counter()
    for row, (direction, source, target) in zip(rows(where / "out" / "links.csv"), WAYS, strict=False):
        assert row["direction"] == direction
        told[source, OUTBOUND] = int(row["entered_count"])
        told[target, INBOUND] = int(row["delivered_count"])
    return seen, told


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_capture_has_what_entered_the_links_and_what_they_delivered(tmp_path: Path, driver: str) -> None:
    run(tmp_path, driver, "--capture", str(tmp_path), replications=2)
    assert [path.name for path in tmp_path.glob("*.pcapng")] == ["run00000.pcapng"]  # of the cell's first run
    seen, told = counts(tmp_path)
    assert seen == told
    assert seen["client", OUTBOUND] > seen["server", INBOUND] > 0  # a tenth is lost
    packets = captured(tmp_path / "run00000.pcapng")
    client, server = ((host, 2525) for host in ADDRESSES[driver])
    assert {(p.source, p.target) for p in packets} == {(client, server), (server, client)}
    times = [packet.time for packet in packets]
    assert times == sorted(times)
    sent = [r for r in rows(tmp_path / "out" / "trace.csv") if (r["event"], r["host"]) == ("packet_sent", "client")]
    ours = [p for p in packets if (p.interface, p.direction) == ("client", OUTBOUND)]
    for fact, packet in zip(sent, ours, strict=False):  # the last may still be in the kernel
        assert len(packet.data) == int(fact["size_bytes"])
        assert packet.time >= float(fact["time_ms"]) * 1e6 - 1  # both since the beginning of the run


@pytest.mark.parametrize("driver", DRIVERS)
def test_others_read_a_live_capture_and_find_nothing_wrong(
    tmp_path: Path, driver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, driver, "--capture", str(tmp_path))
    path = tmp_path / "run00000.pcapng"
    ours = captured(path)
    assert [bytes(packet[UDP].payload) for packet in rdpcap(str(path))] == [packet.data for packet in ours]
    capsys.readouterr()
    assert command(["decode", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ours)
    assert not [line for line in lines if "not a packet" in line]
    if shutil.which("tshark") is None:
        pytest.skip("TSHARK IS NOT INSTALLED: captures are not checked against Wireshark")
    checks = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields"]
    names = ["-e", "udp.checksum.status", "-e", "ip.checksum.status", "-e", "udp.length", "-e", "frame.interface_name"]
    told = subprocess.run(["tshark", "-r", path, *checks, *names], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [f"1\t1\t{len(p.data) + 8}\t{p.interface}" for p in ours]


@live
def test_the_packets_of_the_kernels_tcp_are_captured_whole(tmp_path: Path) -> None:
    settings = ["--set", "transport={name: tcp}", "--set", "network.both.loss=null"]
    run(tmp_path, "netns", "--capture", str(tmp_path), *settings)
    packets = rdpcap(str(tmp_path / "run00000.pcapng"))
    ends = [
        row[column] for row in rows(tmp_path / "out" / "links.csv") for column in ("entered_count", "delivered_count")
    ]
    assert len(packets) == sum(map(int, ends))
    assert {packet[IP].src for packet in packets} == set(ADDRESSES["netns"])
    assert b"EHLO" in b"".join(bytes(packet[TCP].payload) for packet in packets)


def test_a_damaged_datagram_is_captured_as_it_left_the_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "udp", "--capture", str(tmp_path), "--set", "network.both.corrupt={probability: 20%}")
    seen, told = counts(tmp_path)
    assert seen == told
    capsys.readouterr()
    assert command(["decode", str(tmp_path / "run00000.pcapng")]) == 0
    bad = [line for line in capsys.readouterr().out.splitlines() if "not a packet" in line]
    assert bad
    assert all(" <- " in line for line in bad)  # nobody sent it so


def test_a_rebound_client_is_captured_as_either_host_has_it(tmp_path: Path) -> None:
    settings = ["network.both.loss=null", "workload.size=64KiB", "network.events=[{at: 60ms, rebind: true}]"]
    run(tmp_path, "udp", "--capture", str(tmp_path), *(word for text in settings for word in ("--set", text)))
    packets = captured(tmp_path / "run00000.pcapng")
    inside, outside = ("10.0.0.1", 2525), ("10.0.0.1", 2526)
    assert {p.source for p in packets if (p.interface, p.direction) == ("client", OUTBOUND)} == {inside}
    assert {p.source for p in packets if (p.interface, p.direction) == ("server", INBOUND)} == {inside, outside}
    assert {p.target for p in packets if (p.interface, p.direction) == ("client", INBOUND)} == {inside}
    seen, told = counts(tmp_path)
    strays = told["client", INBOUND] - seen["client", INBOUND]  # to the old address, where nobody is
    assert strays >= 0
    told["client", INBOUND] -= strays
    assert seen == told


def test_files_are_of_the_very_runs_that_the_rows_are_of(tmp_path: Path) -> None:
    """Stored runs are not done anew for files that go with them; for others they are."""
    kinds = [word for kind in ("capture", "qlog", "qvis") for word in (f"--{kind}", str(tmp_path))]

    def state() -> dict[str, bytes]:
        files = [*tmp_path.glob("run*"), *(tmp_path / "out" / "runs").iterdir()]
        return {path.name: path.read_bytes() for path in files}

    run(tmp_path, "udp")
    run(tmp_path, "udp", *kinds)
    first = state()
    assert len(first) == 1 + 4
    run(tmp_path, "udp", *kinds)
    assert state() == first
    assert counts(tmp_path)[0] == counts(tmp_path)[1]
    run(tmp_path, "udp", "--fresh")
    run(tmp_path, "udp", *kinds)
    second = state()
    assert second.keys() == first.keys()
    assert all(second[name] != first[name] for name in first)
    (tmp_path / "run00000-server.sqlog").unlink()
    run(tmp_path, "udp", *kinds)
    assert state().keys() == first.keys()
    assert state()["run00000.pcapng"] != second["run00000.pcapng"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_live_runs_are_logged_as_simulated_ones(tmp_path: Path, driver: str) -> None:
    run(tmp_path, driver, "--qlog", str(tmp_path), "--qvis", str(tmp_path), replications=2)
    table, links = rows(tmp_path / "out" / "runs.csv"), rows(tmp_path / "out" / "links.csv")
    for index, row in enumerate(table):
        logs = [read_log(tmp_path / f"run{index:05}-{host}.sqlog") for host in ("client", "server")]
        assert [list(problems(log)) for log in logs] == [[], []]
        sent = [log.named("quic:packet_sent") for log in logs]
        assert sum(map(len, sent)) == int(row["packets_sent_count"])
        for log, packets, link in zip(logs, sent, links[2 * index : 2 * index + 2], strict=True):
            fates = log.named("link:packet_fate")
            told = Counter(fate["fate"] for fate in fates)
            assert (told["lost"], told.total()) == (int(link["lost_count"]), int(link["entered_count"]))
            numbers = [fields(packet["header"])["packet_number"] for packet in packets]
            by_index = sorted(fates, key=lambda fate: int(str(fate["index"])))
            assert [fields(fate["header"])["packet_number"] for fate in by_index] == numbers[: len(fates)]
        assert (tmp_path / f"run{index:05}.qlog").stat().st_size
    trace = rows(tmp_path / "out" / "trace.csv")
    assert sum(fact["event"] == "packet_sent" for fact in trace) == int(table[0]["packets_sent_count"])
