"""`rudp-smtp netns`: the kernel's own TCP over a scenario's network. Needs root; skipped, with the reason, without."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live import live, namespaces

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "rudp_smtp.cli.__main__", "netns"]
SERVER = f"exec {sys.executable} -c 'import socketserver as s; " + (
    'H = type("H", (s.StreamRequestHandler,), {"handle": lambda h: h.wfile.write(h.rfile.readline() * 1000)}); '
    's.TCPServer(("", 7000), H).serve_forever()\''
)
CLIENT = (
    "import os, socket, time; t = time.monotonic(); c = socket.create_connection((os.environ['RUDP_PEER'], 7000)); "
    "print('connect', round((time.monotonic() - t) * 1000)); c.sendall(b'x' * 999 + b'\\n'); "
    "print('octets', sum(map(len, iter(lambda: c.recv(65536), b''))), round((time.monotonic() - t) * 1000))"
)


def netns(scenario: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, str(scenario), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "line.yaml"
    path.write_text(
        "schema: 1\nname: line\nnetwork: {both: {delay: {time: 30ms}, rate: 10mbit}}\n"
        "transport: rudp\nworkload: {name: bulk, size: 1MB}\n"
    )
    return path


@live
def test_kernel_tcp_sees_the_delay_and_the_rate_of_the_scenario(scenario: Path) -> None:
    done = netns(scenario, "--serve", SERVER, "--serve-port", "7000", "--", sys.executable, "-c", CLIENT)
    assert done.returncode == 0, done.stderr
    connect = re.search(r"connect (\d+)", done.stdout)
    transfer = re.search(r"octets 1000000 (\d+)", done.stdout)
    assert connect is not None
    assert transfer is not None
    assert int(connect[1]) >= 60
    assert int(transfer[1]) >= 800 + 2 * 60  # 1 MB at 10 Mbit/s, a handshake and a turn
    assert re.search(r"A to B: \d+ packets, 0 lost", done.stderr)
    assert not re.search(rf"rudp-{os.getpid()}-", namespaces())


@live
def test_losses_are_drawn_as_in_simulation_and_repaired_by_the_kernel(scenario: Path) -> None:
    arguments = ["--set", "network.reverse.loss={model: list, packets: [2, 3]}", "--serve", SERVER]
    done = netns(scenario, *arguments, "--serve-port", "7000", "--", sys.executable, "-c", CLIENT)
    assert done.returncode == 0, done.stderr
    assert "octets 1000000" in done.stdout
    assert re.search(r"B to A: \d+ packets, 2 lost", done.stderr)


ECHO = f"exec {sys.executable} -c '" + (
    'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 7000)); '
    'print("ready", flush=True)\nwhile True: data, source = s.recvfrom(99); s.sendto(b"%d" % source[1], source)\''
)
CALLS = """
import os, socket, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("", 0))
client.settimeout(0.15)
print("own", client.getsockname()[1])
began = time.monotonic()
while time.monotonic() - began < 1.6:
    client.sendto(b"who am I?", (os.environ["RUDP_PEER"], 7000))
    asked = time.monotonic()
    try:
        answer = client.recv(99).decode()
    except TimeoutError:
        answer = "none"
    print(round((asked - began) * 1000), answer)
    time.sleep(max(0, asked + 0.05 - time.monotonic()))
"""


@live
def test_events_come_about_on_whole_packets(scenario: Path) -> None:
    events = "[{at: 300ms, rebind: true}, {at: 700ms, for: 400ms, on: forward, blackhole: true}]"
    arguments = ["--set", "network.both.delay.time=5ms", "--set", f"network.events={events}", "--serve", ECHO]
    done = netns(scenario, *arguments, "--", sys.executable, "-c", f"import time; time.sleep(0.5)\n{CALLS}")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line != "ready"]
    own = lines[0][1]
    answers = [(int(time), answer) for time, answer in lines[1:]]
    early = [answer for time, answer in answers if time < 250]
    renamed = [answer for time, answer in answers if 400 < time < 650 or time > 1300]
    assert early
    assert set(early) == {own}
    assert len(set(renamed)) == 1
    assert not {own, "none"} & set(renamed)
    assert {answer for time, answer in answers if 750 < time < 1050} == {"none"}


@live
def test_the_status_is_the_commands_own_and_nothing_is_left(scenario: Path) -> None:
    before = namespaces()
    assert netns(scenario, "--", "sh", "-c", "exit 7").returncode == 7
    assert namespaces() == before


@live
def test_what_a_killed_run_leaves_is_removed_by_the_next(scenario: Path) -> None:
    with subprocess.Popen([*COMMAND, str(scenario), "--", "sleep", "60"], cwd=ROOT, stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 20
        while f"rudp-{run.pid}-b" not in namespaces() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert f"rudp-{run.pid}-b" in namespaces()
        run.send_signal(signal.SIGKILL)
    assert netns(scenario, "--", "true").returncode == 0
    assert f"rudp-{run.pid}-" not in namespaces()


@live
def test_an_interrupt_removes_both_hosts(scenario: Path) -> None:
    command = [*COMMAND, str(scenario), "--", "sleep", "60"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 20
        while f"rudp-{run.pid}-b" not in namespaces() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
        _, errors = run.communicate(timeout=20)
    assert run.returncode == 130
    assert "interrupted" in errors
    assert f"rudp-{run.pid}-" not in namespaces()


@live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_hosts_are_being_made_leaves_nothing(scenario: Path, number: signal.Signals) -> None:
    with subprocess.Popen([*COMMAND, str(scenario), "--", "sleep", "60"], cwd=ROOT, stderr=subprocess.PIPE) as run:
        folder = Path("/run/netns")
        deadline = time.monotonic() + 20
        while not (folder / f"rudp-{run.pid}-a").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        run.send_signal(number)
        run.send_signal(number)
        _, errors = run.communicate(timeout=20)
    assert run.returncode == 130, errors
    assert f"rudp-{run.pid}-" not in namespaces()


@live
def test_a_server_that_never_listens_is_named(scenario: Path) -> None:
    done = netns(scenario, "--serve", "exit 3", "--serve-port", "7000", "--", "true")
    assert done.returncode == 2
    assert "`exit 3` ended with status 3 before it listened" in done.stderr


@live
@pytest.mark.parametrize("congestion", ["reno", "cubic", "bbr"])
def test_tcp_uses_the_congestion_control_that_was_asked_for_whatever_a_namespace_may_default_to(
    scenario: Path, congestion: str
) -> None:
    if congestion not in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split():
        pytest.skip(f"SKIPPED: this kernel has no {congestion}")
    client = (
        "import os, socket; c = socket.create_connection((os.environ['RUDP_PEER'], 7000)); "
        "print('uses', c.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(bytes(1)).decode())"
    )
    server = ["--serve", SERVER, "--serve-port", "7000"]
    done = netns(scenario, "--tcp-congestion", congestion, *server, "--", sys.executable, "-c", client)
    assert done.returncode == 0, done.stderr
    assert f"uses {congestion}\n" in done.stdout


@live
def test_an_unknown_congestion_control_is_refused(scenario: Path) -> None:
    done = netns(scenario, "--tcp-congestion", "wishful", "--", "true")
    assert done.returncode == 2
    assert "no congestion control 'wishful'" in done.stderr


def test_a_scenario_that_is_wrong_is_refused_before_any_host_is_made(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("schema: 1\nname: wrong\nnetwork: {both: {delay: {time: 30}}}\nworkload: {name: bulk, size: 1MB}\n")
    done = netns(path, "--", "true")
    assert done.returncode == 2
    assert "delay" in done.stderr


@live
def test_rules_look_into_the_kernels_tcp(tmp_path: Path) -> None:
    """The first SYN+ACK is lost, and the end of the client's line the first time it is sent, wherever it was cut."""
    path = tmp_path / "rule.yaml"
    rules = "[{field: TCP.flags, equals: SA, nth: 1, action: drop}]"
    ends = '[{contains: "xx\\n", destination_port: 7000, transmission: 1, action: drop}]'
    path.write_text(
        f"schema: 1\nname: rule\nnetwork: {{forward: {{match: {ends}}}, reverse: {{match: {rules}}}}}\n"
        "transport: rudp\nworkload: {name: bulk, size: 1MB}\n"
    )
    done = netns(path, "--serve", SERVER, "--serve-port", "7000", "--", sys.executable, "-c", CLIENT)
    assert done.returncode == 0, done.stderr
    assert "octets 1000000" in done.stdout
    assert re.findall("([0-9]+) dropped by rules", done.stderr) == ["1", "1"]
    connect = re.search("connect ([0-9]+)", done.stdout)
    assert connect is not None
    assert int(connect[1]) >= 900, "the kernel waits a second for the answer to a SYN (RFC 6298 section 2.1)"
