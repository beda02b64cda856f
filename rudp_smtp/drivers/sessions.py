"""A sans-IO session over any stream of asyncio's, TCP or ours. It knows octets and time, not SMTP.

The order is the pump's: input, let the application react, drain the output, wait. While the application takes its time
nothing is read, so the peer feels it as back-pressure.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rudp_smtp.units import SECOND

READ_OCTETS = 256 * 1024


class Session(Protocol):
    """One side of a dialogue over an ordered byte stream, such as `smtp.Server` or `smtp.Client`."""

    def receive_data(self, data: bytes) -> None: ...

    def receive_eof(self) -> None: ...

    def data_to_send(self) -> bytes: ...

    @property
    def done(self) -> bool: ...


React = Callable[[], Awaitable[None]]  # the application looks at its session's events and answers them


class _StreamLost(Exception):
    """Reading or writing failed. The application's own errors are not this one, and nobody's to swallow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a peer may take, in ns. Running out of it ends the session as if the peer had closed."""

    idle: int = 300 * SECOND  # RFC 5321 section 4.5.3.2.7: at least 5 minutes for the next command
    total: int = 3600 * SECOND  # so that one octet every 299 s does not hold a session for ever


async def hold(
    session: Session, react: React, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], patience: Patience
) -> None:
    """Move a session over an open stream until it is over, and close the stream behind it."""
    reader, writer = stream
    watch = _Watch(writer.transport, patience)
    try:
        await react()
        while await _flush(session, writer, watch):
            await _fill(session, reader, watch)
            await react()
    except _StreamLost:
        session.receive_eof()
        await react()
    except asyncio.CancelledError:  # whoever ends us does not wait for the peer
        writer.transport.abort()
        raise
    finally:
        await _hang_up(writer, watch)


class _Watch:
    """Owns the one timer of a session. Who runs out of patience aborts the stream, as if the peer had gone.

    A time-out of its own around every read and write would cost more than the dialogue; this one is only moved.
    """

    __slots__ = ("_due", "_end", "_handle", "_idle", "_loop", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, patience: Patience) -> None:
        self._transport = transport
        self._idle = patience.idle / SECOND
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + patience.total / SECOND
        self._due = self._end
        self._handle = self._loop.call_at(self._end, self._look)
        self.expect()

    def expect(self) -> None:
        """From here on the peer has to do something."""
        self._due = min(self._loop.time() + self._idle, self._end)
        if self._due < self._handle.when():
            self._handle.cancel()
            self._handle = self._loop.call_at(self._due, self._look)

    def rest(self) -> None:
        """What follows is ours to do."""
        self._due = self._end

    def close(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        if self._loop.time() >= self._due:
            self._transport.abort()
        else:
            self._handle = self._loop.call_at(self._due, self._look)


async def _fill(session: Session, reader: asyncio.StreamReader, watch: _Watch) -> None:
    """Wait for something to come and hand it over."""
    watch.expect()
    try:
        data = await reader.read(READ_OCTETS)
    except OSError as error:
        raise _StreamLost from error
    watch.rest()
    if data:
        session.receive_data(data)
    else:
        session.receive_eof()


async def _flush(session: Session, writer: asyncio.StreamWriter, watch: _Watch) -> bool:
    """Write what the session has to say, piece by piece as the peer takes it; whether it goes on."""
    while data := session.data_to_send():
        watch.expect()
        try:
            writer.write(data)
            await writer.drain()
        except OSError as error:
            raise _StreamLost from error
        watch.rest()
    return not session.done


async def _hang_up(writer: asyncio.StreamWriter, watch: _Watch) -> None:
    """Close behind the last word. Without a limit, a peer that does not read would keep the connection for ever."""
    writer.close()
    watch.expect()
    try:
        await writer.wait_closed()
    except OSError:
        writer.transport.abort()
    finally:
        watch.close()
