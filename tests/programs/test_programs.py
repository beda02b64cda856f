"""Programs that others wrote, over impaired paths. Skipped, with what to install, where they are not."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.live import live
from tests.ports import free_port
from tests.programs.needs import needs

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "rudp_smtp.cli.__main__"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
SERVER_HOST, PROXY_HOST = "127.0.0.1", "127.0.0.2"  # the same port on both, as iperf3 has one for TCP and UDP
LOST = range(50, 450, 20)


def scenario(folder: Path, network: str) -> Path:
    path = folder / "path.yaml"
    path.write_text(
        f"schema: 1\nname: path\nnetwork: {network}\ntransport: rudp\nworkload: {{name: bulk, size: 1MB}}\n"
    )
    return path


@contextmanager
def tcp_beside(port: int) -> Iterator[None]:
    """Join PROXY_HOST's TCP port to SERVER_HOST's: iperf3 agrees by TCP what it then sends by UDP."""
    sockets: list[socket.socket] = []

    def copy(source: socket.socket, target: socket.socket) -> None:
        while octets := source.recv(65536):
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)

    def join() -> None:
        one, _ = listener.accept()
        other = socket.create_connection((SERVER_HOST, port))
        sockets.extend((one, other))
        back = threading.Thread(target=copy, args=(other, one))
        back.start()
        copy(one, other)
        back.join()

    with socket.create_server((PROXY_HOST, port)) as listener:
        thread = threading.Thread(target=join)
        thread.start()
        try:
            yield
        finally:
            thread.join(10)
            for own in sockets:
                own.close()


@needs("iperf3")
def test_iperf3_counts_the_losses_that_the_relay_was_asked_for(tmp_path: Path) -> None:
    packets = ", ".join(map(str, LOST))
    path = scenario(
        tmp_path, f"{{forward: {{delay: {{time: 5ms}}, loss: {{model: list, packets: [{packets}]}}}}, reverse: {{}}}}"
    )
    port = free_port(SERVER_HOST)
    relay = [*COMMAND, "proxy", "--listen", f"{PROXY_HOST}:{port}", "--to", f"{SERVER_HOST}:{port}"]
    with ExitStack() as stack:
        server = start(stack, ["iperf3", "-s", "-1", "--forceflush", "-B", SERVER_HOST, "-p", str(port)])
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            assert server.poll() is None
        proxy = start(stack, [*relay, "--config", str(path)])
        assert proxy.stdout is not None
        assert proxy.stdout.readline().startswith("relaying from")
        stack.enter_context(tcp_beside(port))
        client = ["iperf3", "-u", "-c", PROXY_HOST, "-p", str(port), "-b", "4M", "-l", "1000", "-t", "1", "-J"]
        done = subprocess.run(client, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        proxy.send_signal(signal.SIGINT)
        counters = proxy.stdout.read()
    result = json.loads(done.stdout)["end"]["sum"]
    assert result["packets"] > LOST[-1]
    assert result["lost_packets"] == len(LOST)
    assert re.search(rf"forward: received \d+, forwarded \d+, lost {len(LOST)},", counters)


def start(stack: ExitStack, command: list[str]) -> "subprocess.Popen[str]":
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    stack.enter_context(process)
    stack.callback(process.terminate)
    return process


LOSSY = "{both: {delay: {time: 10ms}, rate: 20mbit, loss: {model: random, p: 2%}}}"


def netns(path: Path, server: str, port: int, *command: str) -> "subprocess.CompletedProcess[str]":
    options = ["--serve", f"exec {server}", "--serve-port", str(port), "--seed", "3"]
    whole = [*COMMAND, "netns", str(path), *options, "--", *command]
    return subprocess.run(whole, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=60, check=False)


def lost(told: str) -> int:
    return sum(int(count) for count in re.findall(r"packets, (\d+) lost", told))


@live
@needs("curl")
def test_curl_fetches_a_file_whole_over_a_lossy_path(tmp_path: Path) -> None:
    octets = b"".join(b"line %d\n" % number for number in range(100_000))
    (tmp_path / "file").write_bytes(octets)
    server = f"{sys.executable} -m http.server 8000 --directory {tmp_path}"
    got = tmp_path / "got"
    timing = "took %{time_connect} %{speed_download}\\n"
    command = ["curl", "-sS", "-m", "40", "-o", str(got), "-w", timing, "http://10.77.0.2:8000/file"]
    done = netns(scenario(tmp_path, LOSSY), server, 8000, *command)
    assert done.returncode == 0, done.stderr
    took = re.search(r"took ([0-9.]+) ([0-9.]+)", done.stdout)
    assert took is not None
    connect, speed = map(float, took.groups())
    assert connect >= 0.02
    assert speed * 8 <= 20e6
    assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(octets).digest()
    assert lost(done.stderr) > 0


@live
@needs("swaks")
def test_swaks_hands_a_message_to_our_server_over_a_lossy_path(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    body = tmp_path / "body"
    body.write_text("".join(f"{number} bottles of beer\n.\n" for number in range(5_000)))
    command = ["swaks", "--server", "10.77.0.2:2525", "--to", "rose@mx.example", "--from", "poppy@client.example"]
    command += ["--ehlo", "client.example", "--header", "Subject: over the kernel's TCP", "--body", f"@{body}"]
    done = netns(scenario(tmp_path, LOSSY), f"{sys.executable} -m tests.programs.servers {folder}", 2525, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    (message,) = (folder / "new").iterdir()
    arrived = message.read_bytes()
    assert b"Subject: over the kernel's TCP\r\n" in arrived
    assert body.read_bytes().replace(b"\n", b"\r\n") in arrived
    assert lost(done.stderr) > 0
