"""Captures are pcapng that others read, with right check sums, and of the same octets for the same run."""

import csv
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import rdpcap

from rudp_smtp.drivers.capture import INBOUND, OUTBOUND, CaptureError, read_capture
from rudp_smtp.drivers.ipv4 import checksum
from rudp_smtp.drivers.scapy_layer import RUDP
from rudp_smtp.experiment.__main__ import main

SCENARIO = """schema: 1
name: tiny
seed: 3
replications: 2
network:
  both:
    delay: {time: 5ms}
    loss: {model: random, p: 5%}
transport: {name: rudp}
workload: {name: smtp, messages: 2, size: 3KiB}
vary:
  network.both.loss.p: [0%, 20%]
executor: serial
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("capture")
    (where / "tiny.yaml").write_text(SCENARIO)
    for name in ("one", "two"):
        arguments = [str(where / "tiny.yaml"), "--output", str(where / "out"), "--capture", str(where / name)]
        assert main(arguments) == 0
    return where


def test_each_cells_first_run_is_captured_with_the_same_octets_each_time(folder: Path) -> None:
    names = sorted(path.name for path in (folder / "one").iterdir())
    assert names == ["run00000.pcapng", "run00002.pcapng"]
    for name in names:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_scapy_reads_every_packet_with_right_check_sums(folder: Path) -> None:
    path = folder / "one" / "run00002.pcapng"
    read = rdpcap(str(path))
    ours = list(read_capture(path.read_bytes()))
    assert len(read) == len(ours) > 10
    for theirs, captured in zip(read, ours, strict=True):
        assert bytes(theirs[UDP].payload) == captured.data
        assert theirs[RUDP].is_intact()
        again = IP(bytes(theirs[IP]))
        del again.chksum, again[UDP].chksum
        assert bytes(again) == bytes(theirs[IP])
        assert round(float(theirs.time) * 1e9) == captured.time


def test_the_capture_has_what_the_trace_has(folder: Path) -> None:
    with (folder / "out" / "trace.csv").open() as file:
        rows = list(csv.DictReader(file))
    captured = list(read_capture((folder / "one" / "run00000.pcapng").read_bytes()))
    for event, direction in (("packet_sent", OUTBOUND), ("packet_received", INBOUND)):
        facts = [(r["host"], float(r["time_ms"]), int(r["size_bytes"])) for r in rows if r["event"] == event]
        seen = [(c.interface, c.time / 1e6, len(c.data)) for c in captured if c.direction == direction]
        assert sorted(facts) == sorted(seen)


def test_tshark_reads_it_and_finds_nothing_wrong(folder: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("TSHARK IS NOT INSTALLED: captures are not checked against Wireshark")
    path = folder / "one" / "run00002.pcapng"
    checks = ["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields"]
    fields = ["-e", "udp.checksum.status", "-e", "ip.checksum.status", "-e", "udp.length", "-e", "frame.interface_name"]
    run = subprocess.run(["tshark", "-r", path, *checks, *fields], capture_output=True, text=True, check=True)
    ours = [f"1\t1\t{len(c.data) + 8}\t{c.interface}" for c in read_capture(path.read_bytes())]
    assert run.stdout.splitlines() == ours


def test_a_file_cut_anywhere_gives_what_it_has_and_then_says_so(folder: Path) -> None:
    octets = (folder / "one" / "run00000.pcapng").read_bytes()
    whole = list(read_capture(octets))
    for cut in range(1, 60):  # within the last block
        reading = read_capture(octets[:-cut])
        assert list(islice(reading, len(whole) - 1)) == whole[:-1]
        with pytest.raises(CaptureError, match="truncated"):
            next(reading)
    for garbage in (b"", b"\xd4\xc3\xb2\xa1" + bytes(20), b"From: me"):
        with pytest.raises(CaptureError, match="not a little-endian pcapng"):
            list(read_capture(garbage))


def test_the_check_sum_is_rfc_1071s() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert checksum(b"") == checksum(bytes(4)) == 0xFFFF
    assert checksum(b"\xff\xff") == 0


@pytest.mark.parametrize(("change", "seen"), [("rebind", ("10.0.0.1", 2526)), ("address_change", ("10.0.0.3", 2525))])
def test_a_client_at_another_place_is_captured_as_the_server_sees_it(
    tmp_path: Path, change: str, seen: tuple[str, int]
) -> None:
    """The client goes on as it was, and what it sends reaches the server from a port, or an address, that is new."""
    settings = ["--set", "vary=null", "--replications", "1", "--set", f"network.events=[{{at: 20ms, {change}: true}}]"]
    (tmp_path / "tiny.yaml").write_text(SCENARIO)
    arguments = [str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "out"), "--capture", str(tmp_path), *settings]
    assert main(arguments) == 0
    captured = list(read_capture((tmp_path / "run00000.pcapng").read_bytes()))
    at_the_client = {c.source for c in captured if c.interface == "client" and c.direction == OUTBOUND}
    at_the_server = {c.source for c in captured if c.interface == "server" and c.direction == INBOUND}
    assert at_the_client == {("10.0.0.1", 2525)}
    assert at_the_server == {("10.0.0.1", 2525), seen}
