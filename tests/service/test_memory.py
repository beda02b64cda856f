"""How much memory a server and a gateway take, seen from outside: by the session, and not by the octets sent to it."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import pytest

from rudp_smtp.drivers import aio
from rudp_smtp.service.addresses import Address, parse_address
from tests.ports import free_port
from tests.service.programs import Program, running, serving
from tests.service.test_attacks import begin, talk

MB = 1_000_000
PIECE = (b"x" * 70 + b"\r\n") * 1000
# Of a message 256 KiB are held before it goes to the disk, 128 KiB are read at once, and each may be copied on its way:
# no more than 1.5 MiB a session. The messages themselves would be at least twice as much.
BUSY_MB = 1.5
# Measured: 6 KB for an idle session over TCP, 19 KB over RUDP, whose connection keeps its estimates and timers.
IDLE_MB = 0.06
SESSIONS_PER_CLIENT = 90  # below the default limit of 100
BOTH = ("tcp", "rudp")


def resident(program: Program, field: str) -> float:
    """In MB: VmRSS is what it has, VmHWM the most that it has had."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / MB


@contextmanager
def listening(folder: Path, kind: str) -> Iterator[tuple[Program, list[Address]]]:
    """A server or a gateway before one, and where it listens: over TCP and over RUDP."""
    urls = [f"{scheme}://127.0.0.1:{free_port()}" for scheme in BOTH]
    listens = [word for url in urls for word in ("--listen", url)]
    with ExitStack() as stack:
        if kind == "serve":
            program = stack.enter_context(serving(folder, *listens, listens=len(urls)))
        else:
            last = f"rudp://127.0.0.1:{free_port()}"
            stack.enter_context(serving(folder, "--listen", last))
            queue = ("--queue", folder / "queue") if kind == "gateway-queue" else ()
            words = ("gateway", *listens, "--to", last, *queue)
            program = stack.enter_context(running(folder / "gateway.log", *words))
            program.wait_for("listening on", len(urls))
        yield program, [parse_address(url) for url in urls]


async def send(address: Address, octets: int) -> None:
    async with talk(address) as client:
        await client.reply()
        await client.say("EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<bob@localhost>", "DATA")
        for _ in range(octets // len(PIECE)):
            client.writer.write(PIECE)
            await client.writer.drain()
        (final,) = await client.say("\r\n.")
        assert final.startswith("250"), final


def check_large(folder: Path, kind: str, octets: int, sessions: int = 10) -> None:
    async def attack(addresses: list[Address]) -> None:
        await asyncio.gather(*(send(addresses[number % 2], octets) for number in range(sessions)))
        await aio.shutdown()

    with listening(folder, kind) as (program, addresses):
        before = resident(program, "VmHWM")
        asyncio.run(attack(addresses))
        bound = BUSY_MB * sessions * (1 if kind == "serve" else 2)  # a gateway has a session behind each
        assert bound < octets * sessions / MB / 1.9
        assert resident(program, "VmHWM") - before < bound


def check_idle(folder: Path, kind: str, number: int) -> None:
    async def attack(program: Program, addresses: list[Address]) -> None:
        before = resident(program, "VmRSS")
        async with AsyncExitStack() as stack:
            for index in range(number):
                host = f"127.0.0.{2 + index // SESSIONS_PER_CLIENT}"
                client = await stack.enter_async_context(talk(addresses[index % 2], host))
                assert (await client.reply()).startswith("220")
            assert resident(program, "VmRSS") - before < IDLE_MB * number
            async with talk(addresses[0]) as client:
                await begin(client, "localhost")
        await aio.shutdown(0.1)

    with listening(folder, kind) as (program, addresses):
        asyncio.run(attack(program, addresses))


def test_ten_large_messages_at_once_are_not_kept_in_memory(tmp_path: Path) -> None:
    check_large(tmp_path, "serve", 3 * MB)


@pytest.mark.sweep
@pytest.mark.parametrize("kind", ["serve", "gateway", "gateway-queue"])
def test_ten_messages_of_thirty_megabytes_are_not_kept_in_memory(tmp_path: Path, kind: str) -> None:
    check_large(tmp_path, kind, 30 * MB)


def test_two_hundred_idle_sessions_cost_little(tmp_path: Path) -> None:
    check_idle(tmp_path, "serve", 200)


@pytest.mark.sweep
@pytest.mark.parametrize("kind", ["serve", "gateway", "gateway-queue"])
def test_all_the_idle_sessions_that_are_admitted_cost_little(tmp_path: Path, kind: str) -> None:
    check_idle(tmp_path, kind, 990)
