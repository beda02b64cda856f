"""A session moved by asyncio's transports, TCP's and ours: what waits, what is given back, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from rudp_smtp.drivers import aio
from rudp_smtp.drivers.sessions import Patience, SessionProtocol, Work, calling, hold, new_buffer
from rudp_smtp.errors import MailboxError
from rudp_smtp.units import MILLISECOND

HOST = "127.0.0.1"
T = TypeVar("T")
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Parrot:
    """Repeats each line. `work` makes its application wait; `fail` and `stumble` fail it, here or there; `bye` ends."""

    heard: list[bytes] = field(default_factory=list)
    wishes: list[bytes] = field(default_factory=list)
    done: bool = False
    has_ended: bool = False
    has_news: bool = False  # of its end
    _rest: bytes = b""
    _said: list[bytes] = field(default_factory=list)

    def receive_data(self, data: bytes | memoryview) -> None:
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            assert not self.wishes, "nothing is handed in while the application takes its time"
            self.heard.append(line)
            self._said.append(line + b"\n")
            self.done = self.done or line == b"bye"
            if line in (b"work", b"stumble"):
                self.wishes.append(line)
            if line == b"fail":
                raise MailboxError("no mail data any more")

    def receive_eof(self) -> None:
        self.has_ended = self.has_news = self.done = True

    @property
    def has_events(self) -> bool:
        return bool(self.wishes) or self.has_news

    def data_to_send(self) -> bytes:
        return self._said.pop(0) if self._said else b""


@dataclass
class House:
    """A parrot for each who calls, and when its application may go on."""

    parrots: list[Parrot] = field(default_factory=list)
    protocols: list[SessionProtocol] = field(default_factory=list)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    patience: Patience = field(default_factory=Patience)
    cancelled: int = 0

    def begin(self, protocol: SessionProtocol) -> tuple[Parrot, Callable[[], Work | None], Patience]:
        parrot = Parrot()
        self.parrots.append(parrot)
        self.protocols.append(protocol)

        async def work(wish: bytes) -> None:
            try:
                await self.may_go_on.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if wish == b"stumble":
                raise FileNotFoundError("the application's own")

        def react() -> Work | None:
            parrot.has_news = False
            return work(parrot.wishes.pop()) if parrot.wishes else None

        return parrot, react, self.patience


@asynccontextmanager
async def open_house(kind: str, house: House) -> AsyncIterator[Callable[[], Coroutine[object, object, Opened]]]:
    buffer = new_buffer()

    def factory() -> SessionProtocol:
        return SessionProtocol(house.begin, buffer)

    if kind == "tcp":
        listener: asyncio.Server | aio.Server = await asyncio.get_running_loop().create_server(factory, HOST, 0)
        opens = asyncio.open_connection
    else:
        listener = await aio.create_server(factory, HOST, 0)
        opens = aio.open_connection  # type: ignore[assignment]
    port = listener.sockets[0].getsockname()[1]
    try:
        yield lambda: opens(HOST, port)
    finally:
        listener.close()
        await aio.shutdown()


def visit(kind: str, dialogue: Callable[[House, Opened], Coroutine[object, object, T]]) -> T:
    async def run() -> T:
        house = House()
        async with open_house(kind, house) as opens, asyncio.timeout(20):
            stream = await opens()
            try:
                return await dialogue(house, stream)
            finally:
                stream[1].close()

    return asyncio.run(run())


async def put_to_work(writer: asyncio.StreamWriter) -> None:
    """Have the application wait."""
    writer.write(b"work\n")
    await asyncio.sleep(0.05)


both = pytest.mark.parametrize("kind", ["tcp", "rudp"])


@both
def test_what_comes_while_the_application_takes_its_time_waits_for_it(kind: str) -> None:
    async def dialogue(house: House, stream: Opened) -> None:
        reader, writer = stream
        await put_to_work(writer)
        lines = [b"%d" % number for number in range(20_000)]
        writer.write(b"\n".join(lines) + b"\n")
        writer.write_eof()
        await asyncio.sleep(0.05)
        assert house.parrots[0].heard == [b"work"]
        house.may_go_on.set()
        assert await reader.read() == b"\n".join([b"work", *lines]) + b"\n"
        assert house.parrots[0].has_ended

    visit(kind, dialogue)


@both
def test_who_does_not_read_is_not_read_either_and_then_hears_everything(kind: str) -> None:
    lines = [b"%d " % number + b"x" * 1000 for number in range(20_000)]

    async def dialogue(house: House, stream: Opened) -> None:
        reader, writer = stream
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writing = asyncio.create_task(pour(writer))
        await asyncio.sleep(0.5)
        assert len(house.parrots[0].heard) < len(lines)
        assert not writing.done()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await reader.read() == b"\n".join([*lines, b"bye"]) + b"\n"
        await writing

    async def pour(writer: asyncio.StreamWriter) -> None:
        for line in [*lines, b"bye"]:
            writer.write(line + b"\n")
            await writer.drain()

    visit(kind, dialogue)


@both
def test_a_peer_that_goes_while_the_application_works_is_missed_when_that_is_done(kind: str) -> None:
    async def dialogue(house: House, stream: Opened) -> None:
        _, writer = stream
        await put_to_work(writer)
        writer.transport.abort()
        await asyncio.sleep(0.05)
        assert not house.protocols[0].over.done()
        house.may_go_on.set()
        await house.protocols[0].over
        assert house.parrots[0].has_ended

    visit(kind, dialogue)


@both
def test_whoever_is_abandoned_ends_at_once_and_so_does_its_application(kind: str) -> None:
    async def dialogue(house: House, stream: Opened) -> None:
        reader, writer = stream
        await put_to_work(writer)
        await house.protocols[0].abandon()
        assert house.cancelled == 1
        assert house.protocols[0].over.done()
        with suppress(ConnectionResetError):  # ours tells that it was no orderly end
            assert await reader.read() == b""

    visit(kind, dialogue)


@pytest.mark.parametrize(
    ("line", "error"), [(b"fail", MailboxError), (b"stumble", FileNotFoundError)], ids=["in the session", "behind it"]
)
def test_an_error_fails_its_session_alone_and_is_found_there(line: bytes, error: type[Exception]) -> None:
    async def run() -> None:
        house = House()
        house.may_go_on.set()
        async with open_house("tcp", house) as opens, asyncio.timeout(20):
            spoilt, other = await opens(), await opens()
            spoilt[1].write(line + b"\n")
            await spoilt[0].read()
            with pytest.raises(error):
                await house.protocols[0].over
            other[1].write(b"hello\nbye\n")
            assert await other[0].read() == b"hello\nbye\n"
            for _, writer in (spoilt, other):
                writer.close()

    asyncio.run(run())


def test_a_caller_that_is_cancelled_leaves_nothing_behind() -> None:
    async def run() -> None:
        house = House()
        async with open_house("tcp", house) as opens, asyncio.timeout(20):
            reader, writer = await opens()
            writer.write(b"work\n")
            await asyncio.sleep(0.05)
            staying = asyncio.create_task(hold(house.protocols[0]))
            await asyncio.sleep(0)
            staying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await staying
            assert house.cancelled == 1
            assert await reader.read() == b""
            writer.close()

    asyncio.run(run())


@both
def test_the_time_that_the_application_takes_is_not_the_peers(kind: str) -> None:
    async def run() -> None:
        house = House(patience=Patience(idle=100 * MILLISECOND))
        async with open_house(kind, house) as opens, asyncio.timeout(20):
            reader, writer = await opens()
            writer.write(b"work\n")
            await asyncio.sleep(0.3)
            house.may_go_on.set()
            assert await reader.readline() == b"work\n"
            assert not house.protocols[0].over.done()
            await house.protocols[0].over  # now it says nothing
            assert house.parrots[0].has_ended
            writer.close()

    asyncio.run(run())


def test_a_loss_in_the_turn_in_which_the_application_is_done_is_told_to_it() -> None:
    async def dialogue(house: House, stream: Opened) -> None:
        await put_to_work(stream[1])
        (protocol,), (parrot,) = house.protocols, house.parrots
        house.may_go_on.set()
        protocol.transport.abort()
        await protocol.over
        assert (parrot.has_ended, parrot.has_news) == (True, False)

    visit("tcp", dialogue)


class Fountain:
    """Has more to say than anybody takes."""

    def __init__(self) -> None:
        self.pieces = 0
        self.done = False

    @property
    def has_events(self) -> bool:
        return False

    def receive_data(self, data: bytes | memoryview) -> None:
        """Nobody listens."""

    def receive_eof(self) -> None:
        self.done = True

    def data_to_send(self) -> bytes:
        self.pieces += not self.done
        self.done = self.done or self.pieces == 1000
        return b"" if self.done else b"x" * 65536


@both
def test_a_transport_that_is_gone_is_told_nothing_more(kind: str) -> None:
    fountain = Fountain()

    class Deaf(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            asyncio.get_running_loop().call_later(0.3, transport.abort)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        protocol = calling(fountain, lambda: None, Patience())
        if kind == "tcp":
            listener: asyncio.Server | aio.Server = await loop.create_server(Deaf, HOST, 0)
        else:
            listener = await aio.create_server(Deaf, HOST, 0)
        port = listener.sockets[0].getsockname()[1]
        async with asyncio.timeout(20):
            await (loop.create_connection if kind == "tcp" else aio.create_connection)(lambda: protocol, HOST, port)
            await hold(protocol)
        listener.close()
        await aio.shutdown()

    asyncio.run(run())
    assert fountain.pieces < 1000
