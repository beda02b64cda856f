"""An answer that takes long: whoever waits for it over RUDP is still there when it comes."""

import asyncio

import pytest

from rudp_smtp.drivers import aio

LONG = 35.0  # seconds, more than the transport's idle timeout of 30


@pytest.mark.sweep
def test_an_answer_that_takes_longer_than_the_idle_timeout_is_heard() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readline()
        await asyncio.sleep(LONG)
        writer.write(asked)
        writer.close()

    async def ask() -> bytes:
        server = await aio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await aio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(b"how long?\r\n")
        heard = await reader.read()
        writer.close()
        server.close()
        await aio.shutdown()
        return heard

    assert asyncio.run(ask()) == b"how long?\r\n"
