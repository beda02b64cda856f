"""A server behind an impaired path: the relay's address is not the client's, and the server knows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from rudp_smtp.drivers import aio
from rudp_smtp.drivers.background import BackgroundRelay
from rudp_smtp.drivers.proxy import Path as Impaired
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.mail.stories import read_story
from rudp_smtp.service.addresses import Address, parse_address
from rudp_smtp.service.clients import TOO_MANY_SESSIONS, ClientLimits
from rudp_smtp.service.mailserver import MailServer, Settings
from tests.service.programs import mails
from tests.service.test_attacks import POLICY, deliver, talk

ONE, ANOTHER = "127.0.0.2", "127.0.0.3"  # neither is the relay's


@asynccontextmanager
async def serving_behind(folder: Path, limits: ClientLimits) -> AsyncIterator[tuple[Address, BackgroundRelay]]:
    numbers = count()
    settings = Settings(policy=POLICY, maildir=folder / "mail", client_limits=limits, notice=lambda text: None)
    made = MailServer(settings, clock=time.time_ns, unique=lambda: f"Q{next(numbers)}", identity="behind")
    async with made as server:
        inner = await server.listen(
            parse_address("rudp://127.0.0.1:0"), client_behind=lambda peer: relay.relay.client_behind(peer)
        )
        link = LinkConfig()
        with BackgroundRelay(("127.0.0.1", inner.port), Impaired(forward=link, reverse=link)) as relay:
            yield replace(inner, port=relay.address[1]), relay
    await aio.shutdown(0.1)


def test_the_received_field_and_the_story_name_the_client_and_not_the_relay(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving_behind(tmp_path, ClientLimits()) as (address, relay):
            assert (await deliver(address, ONE)).startswith("250")
            assert relay.relay.stats.clients == 1

    asyncio.run(main())
    (mail,) = mails(tmp_path)
    assert b"Received: from c ([127.0.0.2])\r\n" in mail
    story = read_story(tmp_path / "mail", mail)
    assert story is not None
    assert story.peer.startswith("127.0.0.2:")


def test_limits_are_of_each_client_behind_the_relay(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            serving_behind(tmp_path, ClientLimits(sessions=1)) as (address, _),
            talk(address, ONE) as first,
        ):
            assert (await first.reply()).startswith("220")
            async with talk(address, ONE) as second:
                assert await second.reply() == str(TOO_MANY_SESSIONS)
            assert (await deliver(address, ANOTHER)).startswith("250")

    asyncio.run(main())


def test_a_relay_forgets_whom_it_let_go() -> None:
    async def main() -> None:
        link = LinkConfig()
        seen: list[tuple[str, int]] = []

        async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peername")[:2])
            writer.close()

        server = await aio.start_server(on_client, "127.0.0.1", 0)
        upstream = server.sockets[0].getsockname()[:2]
        with BackgroundRelay(upstream, Impaired(forward=link, reverse=link)) as relay:
            reader, writer = await aio.open_connection(*relay.address, local_addr=(ONE, 0))
            own = writer.get_extra_info("sockname")[:2]
            await reader.read()
            assert relay.relay.client_behind(seen[0]) == own
            assert relay.relay.client_behind(own) is None
            writer.transport.abort()
        assert relay.relay.client_behind(seen[0]) is None
        server.close()
        await aio.shutdown(0.1)

    asyncio.run(main())
