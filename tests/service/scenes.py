"""Programs that die and come back under load, and what must be true of the mail that they carried."""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.service.persistent import STOP, acknowledged, text
from tests.service.programs import COMMAND, PATIENCE, Program, mails

CLIENT = [sys.executable, "-m", "tests.service.persistent"]


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


class Mortal:
    """A program that ends and is started again, on the same folder and the same port."""

    def __init__(self, log: Path, arguments: list[str], *, command: list[str], ready: str = "") -> None:
        self._arguments, self._command = arguments, command
        self._log, self._ready = log, ready
        self._lives = 0
        self.program = self._start()

    def kill(self) -> None:
        self.program.kill()

    def restart(self) -> None:
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

        # Who is killed cannot say over RUDP that it is gone: its sessions stand until their idle timeout.
        maildir = ["--maildir", str(folder / "mail"), "--domain", "example.org", "--sessions-per-client", "1000"]
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


def finish(scene: Scene, folder: Path, client: Mortal) -> None:
    """Let the client come to its end, and everything arrive: once, and nothing that it did not send."""
    (folder / STOP).touch()
    assert client.program.process.wait(PATIENCE) == 0, client.program.said()
    told = acknowledged(folder)
    deadline = time.monotonic() + PATIENCE
    while scene.has_queue and len(mails(folder)) < len(told) and time.monotonic() < deadline:
        time.sleep(0.1)
    check(arrived(folder), told)
