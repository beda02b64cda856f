"""Listening and connecting by address: asyncio's transports, ours or TCP's."""

import asyncio
import errno
import os
from collections.abc import Callable, Hashable
from typing import Protocol

from rudp_smtp.drivers import aio
from rudp_smtp.drivers.sessions import SessionProtocol
from rudp_smtp.errors import DriverError
from rudp_smtp.service.addresses import Address
from rudp_smtp.trace import Sink
from rudp_smtp.transport import ConnectionLimits, TransportPlugin

Factory = Callable[[], SessionProtocol]


class Listener(Protocol):
    """asyncio's server, or ours."""

    def close(self) -> None: ...


async def listen(
    address: Address,
    factory: Factory,
    *,
    transport: TransportPlugin | None = None,
    sink: Sink | None = None,
    limits: ConnectionLimits = aio.LIMITS,
    client_of: Callable[[Hashable], str] = aio.client_at,
) -> tuple[Listener, Address]:
    """Have a protocol made for each stream that comes in; the listener, and where it listens. Raises DriverError.

    `limits` are of connections over our transport: those over TCP are the kernel's."""
    try:
        if address.is_rudp:
            server: aio.Server | asyncio.Server = await aio.create_server(
                factory,
                address.host,
                address.port,
                transport=transport,
                sink=sink,
                limits=limits,
                client_of=client_of,
            )
        else:
            server = await asyncio.get_running_loop().create_server(factory, address.host, address.port)
    except OSError as error:
        raise DriverError(f"cannot listen on {address}: {_reason(error)}") from error
    port: int = server.sockets[0].getsockname()[1]
    return server, address.at(port)


async def connect(
    address: Address,
    protocol: SessionProtocol,
    seconds: float,
    *,
    transport: TransportPlugin | None = None,
    sink: Sink | None = None,
) -> None:
    """Open a stream for this protocol, or raise DriverError: refused, unreachable, no answer within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            if address.is_rudp:
                await aio.create_connection(
                    lambda: protocol, address.host, address.port, transport=transport, sink=sink
                )
            else:
                await asyncio.get_running_loop().create_connection(lambda: protocol, address.host, address.port)
    except TimeoutError as error:
        raise DriverError(f"cannot connect to {address}: no answer") from error
    except OSError as error:
        raise DriverError(f"cannot connect to {address}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """asyncio's own text names no cause; that of a name which is no host has a number that is not the kernel's."""
    if error.errno is None or error.errno <= 0:
        return error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return f"{os.strerror(error.errno)}; stop who listens there, or take another port (0 is any free one)"
    return os.strerror(error.errno)
