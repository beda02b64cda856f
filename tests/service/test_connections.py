"""Strangers that open connections without end, or fill the windows they get: the server goes on for everybody else."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from rudp_smtp.drivers import aio
from rudp_smtp.service.addresses import Address, parse_address
from rudp_smtp.service.clients import ClientLimits
from rudp_smtp.transport import ConnectionLimits
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.units import SECOND
from rudp_smtp.wire.frames import PingFrame, StreamFrame
from tests.ports import free_port
from tests.service.programs import mails, rudp_smtp
from tests.service.programs import serving as serving_program
from tests.service.raider import Raider
from tests.service.test_attacks import OTHER, begin, deliver, serving, talk
from tests.service.test_impaired_clients import ANOTHER, ONE, serving_behind
from tests.service.test_memory import MB, resident

TOO_MANY, TOO_MANY_OF_YOURS = "too many connections", "too many connections from your address"
CLASS = 40

# Of the default limits: a client's share of windows, and what is set aside for each of its connections. Beside its
# octets a connection takes 40 KB, and the books about the streams that it has left holes in.
SHARE_MB, SET_ASIDE_MB, CONNECTION_MB = 48 * 1.05, 0.016, 0.09
ALL_MB = 192 * 1.05


def of(address: Address) -> tuple[str, int]:
    return address.host, address.port


def test_one_client_opens_so_many_connections_and_no_more(tmp_path: Path) -> None:
    async def attack() -> None:
        async with serving(tmp_path, "rudp", client_limits=ClientLimits(sessions=2)) as address:
            with Raider(of(address)) as raider:
                await asyncio.to_thread(raider.open, 7)
                assert len(raider.standing) == 4
                assert raider.refusals == [TOO_MANY_OF_YOURS] * 3
                assert (await deliver(address, OTHER)).startswith("250")
                with pytest.raises(ConnectionRefusedError, match=TOO_MANY_OF_YOURS):
                    await deliver(address)
                raider.leave(raider.standing[0])
                await asyncio.sleep(1)
                assert (await deliver(address)).startswith("250")

    asyncio.run(attack())


def test_all_together_open_so_many(tmp_path: Path) -> None:
    async def attack() -> None:
        async with serving(tmp_path, "rudp", client_limits=ClientLimits(sessions_in_all=3)) as address:
            with Raider(of(address)) as raider:
                await asyncio.to_thread(raider.open, 8)
                assert raider.refusals == [TOO_MANY] * 2
                with pytest.raises(ConnectionRefusedError, match=TOO_MANY):
                    await deliver(address, OTHER)

    asyncio.run(attack())


def test_those_that_fall_silent_make_room() -> None:
    async def attack() -> None:
        server = await aio.start_server(
            lambda reader, writer: writer.close(),
            "127.0.0.1",
            0,
            transport=Rudp(max_idle_timeout=SECOND),
            limits=ConnectionLimits(connections_per_client=3),
        )
        address = server.sockets[0].getsockname()[:2]
        with Raider(address) as raider:
            await asyncio.to_thread(raider.open, 4)
            assert len(raider.standing) == 3
            with pytest.raises(ConnectionRefusedError):
                await aio.open_connection(*address)
            await asyncio.sleep(3)
            reader, writer = await aio.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
        server.abort()
        await aio.shutdown(0.1)

    asyncio.run(attack())


def test_connections_that_nobody_uses_are_closed_however_often_their_peer_says_that_it_is_there() -> None:
    """Those that never had a stream, and those whose stream we have ended; not those that wait with one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(1) == b"!":
            writer.close()
        else:
            writer.write(await reader.readexactly(1))

    async def attack() -> None:
        server = await aio.start_server(serve, "127.0.0.1", 0, unused_timeout=1.0)
        address = server.sockets[0].getsockname()[:2]
        with Raider(address) as raider:
            reader, writer = await aio.open_connection(*address)
            writer.write(b"?")
            await asyncio.to_thread(raider.open, 3)
            for raid in raider.standing[:2]:
                raider.say(raid, StreamFrame(0, 0, b"!", False))
            await asyncio.to_thread(raider.hold, 0.5)
            assert len(raider.standing) == 3
            for _ in range(5):
                for raid in raider.standing:
                    raider.say(raid, PingFrame())
                await asyncio.to_thread(raider.hold, 0.4)
            assert raider.standing == []
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
        server.close()
        await aio.shutdown(0.5)

    asyncio.run(attack())


def test_sessions_are_refused_in_smtps_words_before_connections_are(tmp_path: Path) -> None:
    async def attack() -> None:
        async with serving(tmp_path, "rudp", client_limits=ClientLimits(sessions=1)) as address, talk(address) as first:
            assert (await first.reply()).startswith("220")
            assert await deliver(address) == "turned away"

    asyncio.run(attack())


def test_the_command_says_why_it_was_refused(tmp_path: Path) -> None:
    address = parse_address(f"rudp://127.0.0.1:{free_port()}")
    with serving_program(tmp_path, "--listen", str(address), "--sessions-per-client", 1), Raider(of(address)) as raider:
        raider.open(2)
        sent = rudp_smtp(
            "send", "--server", address, "--from", "a@b.example", "--to", "bob@localhost", "--body", "hello"
        )
    assert sent.returncode == 1
    assert f"cannot connect to {address}: {TOO_MANY_OF_YOURS}" in sent.stderr


def test_behind_a_relay_each_client_has_its_own(tmp_path: Path) -> None:
    async def attack() -> None:
        async with serving_behind(tmp_path, ClientLimits(sessions=2)) as (address, _):
            with Raider(of(address), ANOTHER) as raider:
                await asyncio.to_thread(raider.open, 6)
                assert raider.refusals == [TOO_MANY_OF_YOURS] * 2
                assert (await deliver(address, ONE)).startswith("250")
                with pytest.raises(ConnectionRefusedError):
                    await deliver(address, ANOTHER)

    asyncio.run(attack())


@pytest.mark.parametrize("is_one_address", [True, False])
def test_a_class_behind_an_impaired_path_sends_at_once_whatever_one_of_them_does(
    tmp_path: Path, is_one_address: bool
) -> None:
    async def attack() -> None:
        async with serving_behind(tmp_path, ClientLimits()) as (address, _):
            with Raider(of(address), ANOTHER) as raider:
                await asyncio.to_thread(raider.open, 210)
                assert len(raider.refusals) == 10
                hosts = ["127.0.0.1" if is_one_address else f"127.0.1.{number + 1}" for number in range(CLASS)]
                answers = await asyncio.gather(*(deliver(address, host) for host in hosts))
                assert [answer[:3] for answer in answers] == ["250"] * CLASS

    asyncio.run(attack())
    assert len(mails(tmp_path)) == CLASS


def check_memory(folder: Path, hosts: list[str], number: int, bound: float) -> None:
    """Each of the hosts tries `number` connections and fills all that it gets."""
    address = parse_address(f"rudp://127.0.0.1:{free_port()}")

    async def honest() -> None:
        async with talk(address, "127.0.1.1") as client:
            await begin(client, "localhost")
            (final,) = await client.say(b"Subject: honest\r\n\r\n" + (b"x" * 70 + b"\r\n") * 20_000 + b".")
            assert final.startswith("250")
        await aio.shutdown(0.1)

    with ExitStack() as stack:
        program = stack.enter_context(serving_program(folder, "--listen", str(address)))
        before = resident(program, "VmHWM")
        raiders = [
            stack.enter_context(Raider(of(address), host, (1 + index) << 40)) for index, host in enumerate(hosts)
        ]
        for raider in raiders:
            raider.open(number, is_filled=True)
            raider.hold(0.5)
        used = sum(raid.used for raider in raiders for raid in raider.raids.values()) / MB
        asyncio.run(honest())
        assert used > bound / 4, "the server was hardly attacked"
        assert resident(program, "VmHWM") - before < bound
    assert len(mails(folder)) == 1


def test_windows_that_one_client_fills_take_its_share_of_memory(tmp_path: Path) -> None:
    bound = SHARE_MB + 200 * (SET_ASIDE_MB + CONNECTION_MB)
    check_memory(tmp_path, ["127.0.0.1"], 300, bound)


@pytest.mark.sweep
def test_windows_that_many_clients_fill_take_the_share_of_all(tmp_path: Path) -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 10)]
    check_memory(tmp_path, hosts, 1000, ALL_MB + len(hosts) * 200 * CONNECTION_MB)
