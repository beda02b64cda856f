"""Messages per second to the final 250, and what they cost the server: ours over TCP and RUDP beside aiosmtpd over TCP.

    python -m benchmarks.smtp_speed [--seconds N] [--rounds N] [--sessions N]

The client is smtplib in threads, the same for all (for RUDP behind our blocking door), each session sending one message
after the other; and over TCP Postfix's smtp-source, where it is installed, which takes less of the machine for itself.
Every server writes each message to a Maildir and syncs it before it says 250. Compare within one run only: the client
shares the machine with the server, and a disk is not as fast now as it was. So the servers take turns, and the median
of the rounds is shown; no mail is deleted before the end, because some file systems look for room long after that.
"""

import argparse
import asyncio
import os
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from rudp_smtp.drivers import blocking

HOST = "127.0.0.1"
SIZES = {"4 KB": 4_000, "1 MB": 1_000_000}
LINE = b"x" * 76 + b"\r\n"
Connect = Callable[[int], smtplib.SMTP]
Measure = Callable[["Contender", Path, int, int, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Contender:
    """Who serves, how a client reaches it, and the words that start it."""

    name: str
    command: Callable[[Path, int], list[str]]
    connect: Connect


def ours(scheme: str) -> Callable[[Path, int], list[str]]:
    def command(folder: Path, port: int) -> list[str]:
        options = ["--listen", f"{scheme}://{HOST}:{port}", "--domain", "example.org", "--maildir", str(folder)]
        return [sys.executable, "-m", "rudp_smtp.cli", "serve", *options]

    return command


def aiosmtpd(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.smtp_speed", "--aiosmtpd", str(folder), str(port)]


SMTP_SOURCE = shutil.which("smtp-source", path=f"{os.environ['PATH']}:/usr/sbin")
CONTENDERS = (
    Contender("aiosmtpd, TCP", aiosmtpd, lambda port: smtplib.SMTP(HOST, port, timeout=60)),
    Contender("ours, TCP", ours("tcp"), lambda port: smtplib.SMTP(HOST, port, timeout=60)),
    Contender("ours, RUDP", ours("rudp"), lambda port: blocking.SMTP(HOST, port, timeout=60)),
)


class SyncedMaildir:
    """aiosmtpd's handler: as ours does, but one message at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802 - its name
        self._count += 1
        temporary, final = (self._folder / part / str(self._count) for part in ("tmp", "new"))
        with temporary.open("wb") as file:
            file.write(envelope.original_content)  # type: ignore[attr-defined]
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(final)
        handle = os.open(self._folder / "new", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(handle)
        os.close(handle)
        return "250 OK"


async def serve_aiosmtpd(folder: Path, port: int) -> None:
    from aiosmtpd.smtp import SMTP

    handler = SyncedMaildir(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="mx"), HOST, port)
    await server.serve_forever()


@contextmanager
def serving(contender: Contender, folder: Path) -> Iterator[tuple[int, int]]:
    """The server as a process; its port and process ID."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with subprocess.Popen(contender.command(folder, port), stdout=subprocess.DEVNULL) as process:
        try:
            await_greeting(contender, port)
            yield port, process.pid
        finally:
            process.terminate()


def await_greeting(contender: Contender, port: int) -> None:
    for _ in range(300):
        try:
            return contender.connect(port).close()
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{contender.name} does not answer")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pour(connect: Connect, port: int, message: bytes, until: float, counts: list[int]) -> None:
    with connect(port) as client:
        sent = 0
        while time.monotonic() < until:
            client.sendmail("a@example.org", ["b@example.org"], message)
            sent += 1
        counts.append(sent)


def measure(contender: Contender, folder: Path, size: int, sessions: int, seconds: float) -> tuple[float, float]:
    """Messages per second, and the server's CPU milliseconds for each."""
    with serving(contender, folder) as (port, pid):
        before, began = cpu_seconds(pid), time.monotonic()
        sent = send_in_threads(contender.connect, port, size, sessions, began + seconds)
        spent = time.monotonic() - began
        return sent / spent, (cpu_seconds(pid) - before) * 1000 / sent


def send_in_threads(connect: Connect, port: int, size: int, sessions: int, until: float) -> int:
    message = b"Subject: speed\r\n\r\n" + LINE * (size // len(LINE))
    counts: list[int] = []
    threads = [threading.Thread(target=pour, args=(connect, port, message, until, counts)) for _ in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def measure_with_smtp_source(
    contender: Contender, folder: Path, size: int, sessions: int, seconds: float
) -> tuple[float, float]:
    """The same of a client that is told how many to send: about as many as it takes."""
    assert SMTP_SOURCE is not None
    command = [SMTP_SOURCE, "-d", "-s", str(sessions), "-l", str(size), "-f", "a@example.org", "-t", "b@example.org"]
    with serving(contender, folder) as (port, pid):
        rate, messages = 0.0, 10 * sessions
        while not rate or messages < rate * seconds / 2:
            messages = max(messages, int(rate * seconds))
            before, began = cpu_seconds(pid), time.monotonic()
            subprocess.run([*command, "-m", str(messages), f"{HOST}:{port}"], check=True)
            rate = messages / (time.monotonic() - began)
        return rate, (cpu_seconds(pid) - before) * 1000 / messages


def rows() -> list[tuple[str, Contender, Measure]]:
    with_smtplib: list[tuple[str, Contender, Measure]] = [(one.name, one, measure) for one in CONTENDERS]
    if SMTP_SOURCE is None:
        return with_smtplib
    return with_smtplib + [(f"{one.name}, smtp-source", one, measure_with_smtp_source) for one in CONTENDERS[:2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="whose median is shown (%(default)s)")
    parser.add_argument("--sessions", type=int, default=10, help="beside the measurement with one (%(default)s)")
    parser.add_argument("--aiosmtpd", nargs=2, metavar=("DIR", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.aiosmtpd:
        asyncio.run(serve_aiosmtpd(Path(options.aiosmtpd[0]), int(options.aiosmtpd[1])))
        return
    table = Table(title="Messages per second to the final 250 / server CPU ms a message")
    table.add_column("server")
    lines: dict[str, list[str]] = {name: [] for name, _, _ in rows()}
    with tempfile.TemporaryDirectory() as parent:
        folders = (Path(parent) / str(number) for number in count())
        for (title, size), sessions in product(SIZES.items(), (1, options.sessions)):
            table.add_column(f"{title}, {sessions}", justify="right")
            for name, cell in compare(folders, size, sessions, options.seconds, options.rounds).items():
                lines[name].append(cell)
    for name, line in lines.items():
        table.add_row(name, *line)
    Console(width=120).print(table)


def compare(folders: Iterator[Path], size: int, sessions: int, seconds: float, rounds: int) -> dict[str, str]:
    """A column of the table."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _, (name, contender, way) in product(range(rounds), rows()):
        found.setdefault(name, []).append(way(contender, next(folders), size, sessions, seconds))
    medians = {name: [median(values) for values in zip(*results, strict=True)] for name, results in found.items()}
    return {name: f"{rate:,.0f} / {cost:.2f}" for name, (rate, cost) in medians.items()}


if __name__ == "__main__":
    main()
