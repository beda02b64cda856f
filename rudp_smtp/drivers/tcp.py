"""Sessions over TCP: a listener and a caller."""

import asyncio
from collections.abc import Callable

from rudp_smtp.drivers.sessions import READ_OCTETS, Patience, React, Session, hold
from rudp_smtp.errors import DriverError
from rudp_smtp.units import SECOND


async def start_server(
    answer: Callable[[], tuple[Session, React]],
    host: str,
    port: int,
    *,
    patience: Patience | None = None,
    sessions_max: int = 1000,
) -> asyncio.Server:
    """Listen, and hold one session per connection; above `sessions_max` a caller waits for its greeting."""
    slots = asyncio.Semaphore(sessions_max)

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with slots:
            session, react = answer()
            await hold(session, react, (reader, writer), patience or Patience())

    try:
        return await asyncio.start_server(on_connection, host, port, limit=READ_OCTETS)
    except OSError as error:
        raise DriverError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


async def deliver(session: Session, react: React, host: str, port: int, *, patience: Patience | None = None) -> None:
    """Call a server and stay until the session is over."""
    patience = patience or Patience()
    try:
        async with asyncio.timeout(patience.idle / SECOND):
            stream = await asyncio.open_connection(host, port, limit=READ_OCTETS)
    except OSError as error:  # TimeoutError is one
        raise DriverError(f"cannot connect to {host} port {port}: {error.strerror or error}") from error
    await hold(session, react, stream, patience)
