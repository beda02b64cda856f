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
    try:
        async with asyncio.timeout(patience.total / SECOND):
            await react()
            while await _flush(session, writer, patience):
                await _fill(session, reader, patience)
                await react()
    except (_StreamLost, TimeoutError):
        session.receive_eof()
        await react()
    finally:
        await _hang_up(writer, patience)


async def _fill(session: Session, reader: asyncio.StreamReader, patience: Patience) -> None:
    """Wait for something to come and hand it over."""
    try:
        async with asyncio.timeout(patience.idle / SECOND):
            data = await reader.read(READ_OCTETS)
    except OSError as error:
        raise _StreamLost from error
    if data:
        session.receive_data(data)
    else:
        session.receive_eof()


async def _flush(session: Session, writer: asyncio.StreamWriter, patience: Patience) -> bool:
    """Write what the session has to say, piece by piece as the peer takes it; whether it goes on."""
    while data := session.data_to_send():
        try:
            async with asyncio.timeout(patience.idle / SECOND):
                writer.write(data)
                await writer.drain()
        except OSError as error:
            raise _StreamLost from error
    return not session.done


async def _hang_up(writer: asyncio.StreamWriter, patience: Patience) -> None:
    """Close behind the last word. Without a limit, a peer that does not read would keep the connection for ever."""
    writer.close()
    try:
        async with asyncio.timeout(patience.idle / SECOND):
            await writer.wait_closed()
    except OSError:
        writer.transport.abort()
