"""kill -9 of a running server, client and gateway under load: nothing acknowledged is lost, and nothing comes twice."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rudp_smtp.draws import DrawKey
from tests.ports import free_port
from tests.service.persistent import STOP, acknowledged, text
from tests.service.programs import COMMAND, PATIENCE, Program, mails, rudp_smtp, serving

CLIENT = [sys.executable, "-m", "tests.service.persistent"]
FIRST = ["--to", "b@example.org", "--from", "a@client.example", "--body", "how long does it take?"]
TRIES_MAX = 4  # of one message; the last one lives as long as it likes


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is killed, and the way of the mail: of one hop, or of two with a gateway between."""

    victim: str
    way: tuple[str, ...]
    has_queue: bool = False


SCENES = {
    "server-tcp": Scene("server", ("tcp",)),
    "server-rudp": Scene("server", ("rudp",)),
    "client-tcp": Scene("client", ("tcp",)),
    "client-rudp": Scene("client", ("rudp",)),
    "gateway-tcp-rudp": Scene("gateway", ("tcp", "rudp")),
    "gateway-rudp-tcp": Scene("gateway", ("rudp", "tcp")),
    "gateway-queue-tcp-rudp": Scene("gateway", ("tcp", "rudp"), has_queue=True),
    "gateway-queue-rudp-tcp": Scene("gateway", ("rudp", "tcp"), has_queue=True),
}
SHORT = ("server-tcp", "server-rudp", "gateway-queue-tcp-rudp")
ROUNDS, SWEEP_ROUNDS = 1, 25  # of each


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
def playing(scene: Scene, folder: Path) -> Iterator[tuple[Mortal, Mortal]]:
    """Who is to be killed, and the client."""
    urls = [f"{scheme}://127.0.0.1:{free_port()}" for scheme in scene.way]
    with ExitStack() as stack:

        def start(name: str, arguments: list[str], command: list[str] = COMMAND, ready: str = "listening on") -> Mortal:
            mortal = Mortal(folder / f"{name}.log", arguments, command=command, ready=ready)
            stack.callback(mortal.stop)
            return mortal

        maildir = ["--maildir", str(folder / "mail"), "--domain", "example.org"]
        cast = {"server": start("serve", ["serve", "--listen", urls[-1], *maildir])}
        if len(urls) > 1:
            queue = ["--queue", str(folder / "queue")] if scene.has_queue else []
            cast["gateway"] = start("gateway", ["gateway", "--listen", urls[0], "--to", urls[-1], *queue])
        cast["client"] = start("client", [urls[0], str(folder)], CLIENT, "")
        yield cast[scene.victim], cast["client"]


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


def check(found: Counter[int], told: set[int]) -> None:
    assert sorted(told - found.keys()) == [], "acknowledged and lost"
    assert {number: times for number, times in found.items() if times > 1} == {}, "delivered more than once"
    assert found.keys() == told


def kill_again_and_again(name: str, folder: Path, rounds: int) -> None:
    scene, draws = SCENES[name], DrawKey(1, f"kill {name}")
    with playing(scene, folder) as (victim, client):
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
        while scene.has_queue and len(mails(folder)) < len(told) and time.monotonic() < deadline:
            time.sleep(0.1)
        check(arrived(folder), told)


@pytest.mark.parametrize("name", SHORT)
def test_what_is_killed_loses_and_repeats_nothing(tmp_path: Path, name: str) -> None:
    kill_again_and_again(name, tmp_path, ROUNDS)


@pytest.mark.sweep
@pytest.mark.parametrize("name", SCENES)
def test_what_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path: Path, name: str) -> None:
    kill_again_and_again(name, tmp_path, SWEEP_ROUNDS)


def send_and_kill(url: str, folder: Path, number: int, whole: float) -> int:
    """`rudp-smtp send` of one message, killed and started again until it says that the mail is sent; how many kills.

    A run that is not killed takes about `whole` seconds, most of them before it has connected.
    """
    file = folder / f"{number}.eml"
    file.write_bytes(text(number))
    to = ["--to", "b@example.org", "--from", "a@client.example", "--key", f"key{number}"]
    draws = DrawKey(2, f"kill send {number}")
    for kills in range(TRIES_MAX):
        life = whole * (500 + draws.below(kills, 600)) / 1000 if kills < TRIES_MAX - 1 else PATIENCE
        program = Program(["send", "--server", url, *to, "--data", str(file)], folder / f"{number}.log")
        try:
            assert program.process.wait(life) == 0, program.said()
        except subprocess.TimeoutExpired:
            program.kill()
            continue
        assert program.said().endswith("Mail sent\n")
        return kills
    raise AssertionError(f"message {number} is never sent: {program.said()}")


def kill_senders(scheme: str, folder: Path, kills_min: int, at_once: int) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with serving(folder, "--listen", url, "--domain", "example.org"), ThreadPoolExecutor(at_once) as senders:
        began = time.monotonic()
        list(senders.map(lambda number: rudp_smtp("send", "--server", url, *FIRST, "--key", number), range(at_once)))
        whole = time.monotonic() - began
        for path in (folder / "mail" / "new").iterdir():
            path.unlink()
        kills = sent = 0
        while kills < kills_min:
            numbers = range(sent, sent + at_once)
            kills += sum(senders.map(lambda number: send_and_kill(url, folder, number, whole), numbers))
            sent += at_once
        check(arrived(folder), set(range(sent)))


@pytest.mark.parametrize("scheme", ["rudp"])
def test_a_sender_that_is_killed_has_its_mail_delivered_once(tmp_path: Path, scheme: str) -> None:
    kill_senders(scheme, tmp_path, 1, 1)


@pytest.mark.sweep
@pytest.mark.parametrize("scheme", ["tcp", "rudp"])
def test_a_sender_that_is_killed_again_and_again_has_its_mail_delivered_once(tmp_path: Path, scheme: str) -> None:
    kill_senders(scheme, tmp_path, SWEEP_ROUNDS, 3)
