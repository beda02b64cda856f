"""kill -9 of a running server, client and gateway under load: nothing acknowledged is lost, and nothing comes twice."""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from tests.ports import free_port
from tests.service.persistent import STOP, acknowledged, text
from tests.service.programs import COMMAND, PATIENCE, Program, mails

ROUNDS = 6  # of each
SWEEP_ROUNDS = 40
CLIENT = [sys.executable, "-m", "tests.service.persistent"]
SCENES = ("server-tcp", "server-rudp", "client", "gateway", "gateway-queue")


class Mortal:
    """A program that is killed and started again, on the same folder and the same port."""

    def __init__(self, log: Path, arguments: list[str], *, command: list[str], ready: str = "") -> None:
        self._arguments, self._command = arguments, command
        self._log, self._ready = log, ready
        self._lives = 0
        self.program = self._start()

    def kill_and_restart(self) -> None:
        self.program.kill()
        self.program = self._start()

    def stop(self) -> None:
        if self.program.process.poll() is None:
            self.program.process.terminate()
            self.program.process.wait(PATIENCE)

    def _start(self) -> Program:
        program = Program(self._arguments, self._log, self._command)
        self._lives += 1
        if self._ready:
            program.wait_for(self._ready, self._lives)
        return program


@contextmanager
def scene(kind: str, folder: Path) -> Iterator[tuple[Mortal, Mortal]]:
    """Who is to be killed, and the client."""
    front, back = free_port(), free_port()
    last = "tcp" if kind == "server-tcp" else "rudp"
    url = f"{last}://127.0.0.1:{back}"
    with ExitStack() as stack:

        def start(name: str, arguments: list[str], command: list[str] = COMMAND, ready: str = "listening on") -> Mortal:
            mortal = Mortal(folder / f"{name}.log", arguments, command=command, ready=ready)
            stack.callback(mortal.stop)
            return mortal

        maildir = ["--maildir", str(folder / "mail"), "--domain", "example.org"]
        victim = start("serve", ["serve", "--listen", url, *maildir])
        if kind.startswith("gateway"):
            queue = ["--queue", str(folder / "queue")] if kind == "gateway-queue" else []
            victim = start("gateway", ["gateway", "--listen", f"tcp://127.0.0.1:{front}", "--to", url, *queue])
            url = f"tcp://127.0.0.1:{front}"
        client = start("client", [url, str(folder)], CLIENT, "")
        yield (client if kind == "client" else victim), client


def wait_until(count: int, folder: Path, client: Mortal) -> None:
    """Until so many messages were acknowledged."""
    deadline = time.monotonic() + PATIENCE
    while len(acknowledged(folder)) < count:
        assert client.program.process.poll() is None, client.program.said()
        assert time.monotonic() < deadline, f"nothing is acknowledged any more: {client.program.said()}"
        time.sleep(0.01)


def arrived(folder: Path) -> Counter[int]:
    """How often each message is in the Maildir, once all that are there are whole."""
    numbers: Counter[int] = Counter()
    for octets in mails(folder):
        found = re.search(rb"^X-Number: ([0-9]+)\r\n", octets, re.MULTILINE)
        assert found, octets[:500]
        number = int(found[1])
        assert octets.endswith(text(number)), f"message {number} is not whole"
        numbers[number] += 1
    return numbers


def kill_again_and_again(kind: str, folder: Path, rounds: int) -> None:
    draws = DrawKey(1, f"kill {kind}")
    with scene(kind, folder) as (victim, client):
        wait_until(1, folder, client)
        for number in range(rounds):
            wait_until(len(acknowledged(folder)) + draws.below(number, 12), folder, client)
            time.sleep(draws.below(rounds + number, 200) / 1000)
            victim.kill_and_restart()
            wait_until(len(acknowledged(folder)) + 1, folder, client)
        (folder / STOP).touch()
        assert client.program.process.wait(PATIENCE) == 0, client.program.said()
        told = acknowledged(folder)
        deadline = time.monotonic() + PATIENCE
        while kind == "gateway-queue" and len(mails(folder)) < len(told) and time.monotonic() < deadline:
            time.sleep(0.1)
        found = arrived(folder)
        assert sorted(told - found.keys()) == [], "acknowledged and lost"
        assert {number: times for number, times in found.items() if times > 1} == {}, "delivered more than once"
        assert found.keys() == told


@pytest.mark.parametrize("kind", SCENES)
def test_what_is_killed_loses_and_repeats_nothing(tmp_path: Path, kind: str) -> None:
    kill_again_and_again(kind, tmp_path, ROUNDS)


@pytest.mark.sweep
@pytest.mark.parametrize("kind", SCENES)
def test_what_is_killed_forty_times_loses_and_repeats_nothing(tmp_path: Path, kind: str) -> None:
    kill_again_and_again(kind, tmp_path, SWEEP_ROUNDS)
