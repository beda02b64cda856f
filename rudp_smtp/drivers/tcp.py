"""Sessions over TCP: a listener and a caller."""

import asyncio
from collections.abc import Callable

from rudp_smtp.drivers.sessions import Patience, React, Session, SessionProtocol, calling, hold, new_buffer
from rudp_smtp.errors import DriverError
from rudp_smtp.units import SECOND


async def start_server(
    answer: Callable[[], tuple[Session, React]], host: str, port: int, *, patience: Patience | None = None
) -> asyncio.Server:
    """Listen, and hold one session per connection. Raises DriverError where that cannot be."""
    buffer = new_buffer()
    limits = patience or Patience()
    try:
        return await asyncio.get_running_loop().create_server(
            lambda: SessionProtocol(lambda protocol: (*answer(), limits), buffer), host, port
        )
    except OSError as error:
        raise DriverError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


async def deliver(session: Session, react: React, host: str, port: int, *, patience: Patience | None = None) -> None:
    """Call a server and stay until the session is over. Raises DriverError where nobody answers."""
    limits = patience or Patience()
    protocol = calling(session, react, limits)
    try:
        async with asyncio.timeout(limits.idle / SECOND):
            await asyncio.get_running_loop().create_connection(lambda: protocol, host, port)
    except OSError as error:  # TimeoutError is one
        raise DriverError(f"cannot connect to {host} port {port}: {error.strerror or error}") from error
    await hold(protocol)
