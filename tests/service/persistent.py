"""A client that does not give up: every message under its key until 250, and what was acknowledged in a file.

`python -m tests.service.persistent URL FOLDER` goes on until FOLDER/stop is there and nothing is unanswered. Killed and
started again it begins with what nobody has acknowledged yet.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from rudp_smtp.drivers import aio
from rudp_smtp.drivers.sessions import Patience
from rudp_smtp.errors import DriverError
from rudp_smtp.service.addresses import Address, parse_address
from rudp_smtp.service.sending import Sending, send
from rudp_smtp.smtp import DeliveryReport, Envelope
from rudp_smtp.units import SECOND

WORKERS = 3
SESSION_MAILS = 3
PATIENCE = Patience(idle=2 * SECOND)  # a server that was killed does not say so over RUDP
AGAIN_SECONDS = 0.1
ACKNOWLEDGED, STOP = "acknowledged", "stop"


def text(number: int) -> bytes:
    """Message `number`: mostly short, now and then longer than what a server holds in memory."""
    lines = 6000 if number % 7 == 3 else 1 + number % 50
    return b"X-Number: %d\r\n\r\n" % number + b"".join(
        b"%d of message %d\r\n" % (line, number) for line in range(lines)
    )


def acknowledged(folder: Path) -> set[int]:
    path = folder / ACKNOWLEDGED
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return {int(line) for line in lines if line.endswith("\n")}


def envelope(number: int) -> Envelope:
    return Envelope("a@client.example", ("b@example.org",), text(number), idempotency_key=f"key{number}")


async def work(address: Address, folder: Path, numbers: Iterator[int]) -> None:
    waiting: list[int] = []
    while waiting or not (folder / STOP).exists():
        while len(waiting) < SESSION_MAILS:
            waiting.append(next(numbers))
        try:
            sending = Sending(address=address, domain="client.example", patience=PATIENCE)
            sent = await send(sending, [(envelope(number), None) for number in waiting])
        except DriverError:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        taken = [waiting[report.token] for report in sent.reports if is_taken(report, waiting)]
        with (folder / ACKNOWLEDGED).open("a") as file:
            file.write("".join(f"{number}\n" for number in taken))
        waiting = [number for number in waiting if number not in taken]
        if waiting:
            await asyncio.sleep(AGAIN_SECONDS)


def is_taken(report: DeliveryReport, waiting: list[int]) -> bool:
    """Whether it was; whoever refuses for good ends the client, loudly."""
    for _, reply in report.refused:
        assert not reply.is_permanent, f"message {waiting[report.token]}: {reply}"
    return bool(report.accepted)


async def main(url: str, folder: Path) -> None:
    known = acknowledged(folder)
    async with asyncio.TaskGroup() as group:
        for worker in range(WORKERS):
            numbers = (number for number in count(worker, WORKERS) if number not in known)
            group.create_task(work(parse_address(url), folder, numbers))
    await aio.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
