"""Our commands as processes of their own, and a place for each to listen."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "rudp_smtp.cli"]
PATIENCE = 60.0


def rudp_smtp(*arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, input=given, capture_output=True, text=True, timeout=PATIENCE, check=False)


class Program:
    """A command that goes on; `wait_for` what it says."""

    def __init__(self, arguments: list[str], log: Path, command: list[str] = COMMAND) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen([*command, *arguments], stdout=file, stderr=file)

    def wait_for(self, text: str, count: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.said().count(text) < count:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"never said {text!r}: {self.said()}"
            time.sleep(0.02)

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(log: Path, *arguments: object) -> Iterator[Program]:
    program = Program([str(argument) for argument in arguments], log)
    try:
        yield program
    finally:
        program.process.terminate()
        try:
            program.process.wait(20)
        except subprocess.TimeoutExpired:
            program.kill()
            raise


@contextmanager
def serving(folder: Path, *arguments: object, listens: int = 1) -> Iterator[Program]:
    """A server whose Maildir is `folder`/mail."""
    with running(folder / "serve.log", "serve", "--maildir", folder / "mail", *arguments) as program:
        program.wait_for("listening on", listens)
        yield program


def mails(folder: Path) -> list[bytes]:
    """What is in the Maildir."""
    return [path.read_bytes() for path in sorted((folder / "mail" / "new").iterdir())]
