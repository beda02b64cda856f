"""`rudp-smtp proxy` and `rudp-smtp tc` as a person uses them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rudp_smtp.cli.__main__ import main

ROOT = Path(__file__).parent.parent.parent
CONFIGS = ROOT / "configs"


def status(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as error:
        return int(error.code or 0)


def test_a_relay_counts_logs_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    log = tmp_path / "fates.txt"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        to = f"127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "rudp_smtp.cli", "proxy", "--listen", "127.0.0.1:0", "--to", to]
        command += ["--config", str(CONFIGS / "loss10.yaml"), "--seed", "5", "--log", str(log)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as relay:
            assert relay.stdout is not None
            first = relay.stdout.readline().split()
            assert first[-2:] == ["seed", "5"]
            server.sendto(b"to ourselves", ("127.0.0.1", int(first[2].removesuffix(",").rpartition(":")[2])))
            assert server.recv(100) == b"to ourselves"
            relay.send_signal(signal.SIGUSR1)
            assert relay.stdout.readline().startswith("forward: received 1, forwarded 1, lost 0")
            relay.send_signal(signal.SIGINT)
            rest = relay.stdout.read()
            assert relay.wait(5) == 0
    assert "lateness: p50" in rest
    time, *fate = log.read_text().split()
    assert fate == ["forward", "0", "40", "passed"]
    assert int(time) > 0


def test_a_relays_path_changes_as_the_scenario_says() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        to = f"127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "rudp_smtp.cli", "proxy", "--listen", "127.0.0.1:0", "--to", to]
        command += ["--config", str(CONFIGS / "lossless.yaml"), "--set"]
        command += ["network.events=[{at: 100ms, rebind: true}, {at: 300ms, blackhole: true}]"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as relay,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            assert relay.stdout is not None
            place = "127.0.0.1", int(relay.stdout.readline().split()[2].removesuffix(",").rpartition(":")[2])
            sources = []
            for _ in range(2):
                client.sendto(b"from the client", place)
                sources.append(server.recvfrom(100)[1])
                time.sleep(0.2)
            client.sendto(b"into the hole", place)
            time.sleep(0.2)
            relay.send_signal(signal.SIGINT)
            told = relay.stdout.read()
    assert sources[0] != sources[1]
    assert "forward: received 3, forwarded 2, lost 0" in told
    assert "in a black hole 1" in told


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--listen": "nowhere"}, "'nowhere' is not HOST:PORT"),
        ({"--listen": "::1:80"}, "brackets"),
        ({"--to": "127.0.0.1:70000"}, "is not HOST:PORT"),
        ({"--seed": "-1"}, "--seed"),
        ({"--config": "/nonexistent.yaml"}, "cannot be read"),
        ({"--log": "/nonexistent/log"}, "cannot be written"),
        ({"--set": "network.both.lss=1"}, "did you mean 'loss'?"),
        ({"--set": "loss"}, "expected KEY=VALUE"),
        ({"--set": "vary={network.both.loss.p: [1%, 2%]}"}, "names 2 paths"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(
    changed: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"--listen": "127.0.0.1:0", "--to": "127.0.0.1:9", "--config": str(CONFIGS / "loss10.yaml")}
    assert status("proxy", *(f"{key}={value}" for key, value in (good | changed).items())) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        config = str(CONFIGS / "loss10.yaml")
        assert status("proxy", "--listen", place, "--to", "127.0.0.1:9", "--config", config) == 2
    assert "cannot listen on 127.0.0.1" in capsys.readouterr().err


def test_tc_prints_a_line_for_each_direction_and_tells_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("tc", str(CONFIGS / "loss10.yaml")) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if not line.startswith("#")]
    expected = "tc qdisc add dev DEV root netem limit 1034 delay 20ms loss random 10% rate 20mbit"
    assert lines == [expected, expected]
    assert "forward: netem's queue is limited in packets, not to 100000 octets" in printed.err


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_scenario_is_told_to_tc(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("tc", str(path), "--set", "vary=null") == 0
    assert capsys.readouterr().out.count("tc qdisc add") == 2


def test_help_is_quick() -> None:
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "rudp_smtp.cli", "proxy", "--help"], check=True, cwd=ROOT, capture_output=True
    )
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.3
