"""The plug-in as somebody else's test suite uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]

SUITE = """
import socket
import time

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec


@pytest.fixture
def server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(2)
        yield bound


def test_loses_what_is_listed(impaired_path, server):
    listed = LinkConfig(loss=Spec("list", (("packets", (0, 2)),)))
    path = impaired_path(upstream=server.getsockname(), config=listed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(4):
            client.sendto(b"%d" % number, path.address)
        assert (server.recv(9), server.recv(9)) == (b"1", b"3")
    assert (path.forward.packets_entered, path.forward.packets_lost) == (4, 2)
    assert path.log[:2] == [("forward", 0, "lost"), ("forward", 1, "passed")]
    assert "lateness" in path.report()


def test_takes_a_scenario(impaired_path, server):
    path = impaired_path(upstream=server.getsockname(), config="CONFIG", seed=5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(b"ask", path.address)
        data, source = server.recvfrom(9)
        server.sendto(b"answer", source)
        assert client.recv(9) == b"answer"


def test_obeys_the_scenarios_events(impaired_path, server, tmp_path):
    file = tmp_path / "moving.yaml"
    file.write_text(
        "schema: 1\\nname: moving\\ntransport: rudp\\nworkload: {name: bulk, size: 1MB}\\n"
        "network: {both: {}, events: [{at: 200ms, rebind: true}, {at: 400ms, blackhole: true}]}"
    )
    path = impaired_path(upstream=server.getsockname(), config=str(file))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        sources = []
        for _ in range(2):
            client.sendto(b"ask", path.address)
            sources.append(server.recvfrom(9)[1])
            time.sleep(0.25)
        assert sources[0] != sources[1]
        client.sendto(b"too late", path.address)
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.recv(9)
    assert path.log[-1] == ("forward", 2, "blackholed")


def test_refuses_what_is_no_scenario(impaired_path, server):
    with pytest.raises(ConfigError, match="cannot be read"):
        impaired_path(upstream=server.getsockname(), config="/nonexistent.yaml")
"""


def test_a_suite_gets_impaired_ports(pytester: pytest.Pytester) -> None:
    config = ROOT / "configs" / "lossless.yaml"
    pytester.makepyfile(SUITE.replace("CONFIG", config.as_posix()))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")  # by the entry point, as elsewhere
    result.assert_outcomes(passed=4)


def test_pytest_starts_without_the_relay() -> None:
    code = "import pytest, sys; old = set(sys.modules); import rudp_smtp.pytest_plugin; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()) <= {"rudp_smtp", "rudp_smtp.pytest_plugin"}
