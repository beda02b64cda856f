"""asyncio's own way to connect and to serve, over our transport: the four calls, named and used as asyncio's.

    reader, writer = await aio.open_connection("127.0.0.1", 2525)
    server = await aio.start_server(on_client, "127.0.0.1", 2525)

Programs written for asyncio's TCP run over these unchanged (aiosmtpd, aiosmtplib), STARTTLS and TLS included.
`create_connection` opens a connection of its own for its one stream; `create_server` hands each stream that a peer
opens to a protocol of its own. `transport` is the plug-in with its parameters; what is not said is the default profile
with smaller windows, since the peer may be anybody.
"""

import asyncio
import secrets
import socket
import ssl as tls
from collections.abc import Awaitable, Callable

from rudp_smtp.datagram import DEFAULT_PORT, Address, client_name
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.aio.port import OPEN_PORTS, SOCKET_BUFFER, Port
from rudp_smtp.drivers.aio.securing import start_tls
from rudp_smtp.drivers.aio.server import ProtocolFactory, Server
from rudp_smtp.drivers.aio.stream import StreamTransport
from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import Spec
from rudp_smtp.trace import Sink
from rudp_smtp.transport import TRANSPORTS, ConnectionLimits, Endpoint, LimitedEndpoint, TransportPlugin
from rudp_smtp.units import SECOND

__all__ = [
    "DEFAULT_PORT",
    "Server",
    "create_connection",
    "create_server",
    "open_connection",
    "shutdown",
    "start_server",
]

STREAM_WINDOW = 16 << 20
STREAMS_MAX = 16  # of a peer's connection: ours have one
# Who has connected says so that it waits: an answer may take longer than the idle timeout of 30 s, SMTP's ten minutes.
KEEP_ALIVE = 10 * SECOND
LIMIT = 1 << 16  # asyncio's own, of a StreamReader

LIMITS = ConnectionLimits()
UNUSED_TIMEOUT = 60.0  # seconds; our own clients close a connection with its stream


def client_at(peer: Address) -> str:
    """The name under which whoever is at this address is counted."""
    assert isinstance(peer, tuple)
    return client_name(str(peer[0]))


OnClient = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


async def create_connection(
    factory: ProtocolFactory,
    host: str,
    port: int = DEFAULT_PORT,
    *,
    ssl: tls.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    local_addr: tuple[str, int] | None = None,
    transport: TransportPlugin | None = None,
    sink: Sink | None = None,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """As `loop.create_connection`. Raises ConnectionRefusedError where nobody listens, TimeoutError where nobody
    answers, ssl.SSLError; the facts of the connection go to `sink`."""
    if server_hostname is not None and not ssl:
        raise ValueError("server_hostname is only meaningful with ssl")
    context = tls.create_default_context() if ssl is True else (ssl or None)
    stream = await _connect(host, port, local_addr, _endpoint_of(transport, sink, accepts=False))
    is_well = False
    try:
        if context is not None:
            name = host if server_hostname is None else server_hostname
            secured = await start_tls(
                stream, factory, context, server_side=False, server_hostname=name, timeout=ssl_handshake_timeout
            )
            is_well = True
            return secured
        protocol = factory()
        stream.introduce(protocol)
        is_well = True
    finally:
        if not is_well:
            stream.abort()
    return stream, protocol


async def create_server(
    factory: ProtocolFactory,
    host: str,
    port: int = DEFAULT_PORT,
    *,
    ssl: tls.SSLContext | None = None,
    ssl_handshake_timeout: float | None = None,
    transport: TransportPlugin | None = None,
    sink: Sink | None = None,
    limits: ConnectionLimits = LIMITS,
    client_of: Callable[[Address], str] = client_at,
    unused_timeout: float = UNUSED_TIMEOUT,
) -> Server:
    """As `loop.create_server`; port 0 is any free one, which `sockets` tells. `limits` are of each address listened at,
    and of its clients, which are told apart by `client_of`. A connection that has had no stream for `unused_timeout`
    seconds is closed."""
    loop = asyncio.get_running_loop()
    server = Server(factory, ssl, ssl_handshake_timeout)
    is_well = False
    try:
        for family, _, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            endpoint = _endpoint_of(transport, sink, accepts=True)
            if not isinstance(endpoint, LimitedEndpoint):
                raise ConfigError("this transport does not limit what a client opens; use rudp")
            endpoint.limit_clients(limits, client_of)
            bound = _socket(family)
            unused = int(unused_timeout * SECOND)
            server.add(Port(endpoint, bound, server.on_opened, unused_timeout=unused), bound)
            bound.bind(address)
        is_well = True
    finally:
        if not is_well:
            server.abort()
    return server


async def open_connection(
    host: str, port: int = DEFAULT_PORT, *, limit: int = LIMIT, **options: object
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As `asyncio.open_connection`; `options` are create_connection's."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(lambda: protocol, host, port, **options)  # type: ignore[arg-type]
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def start_server(
    on_client: OnClient, host: str, port: int = DEFAULT_PORT, *, limit: int = LIMIT, **options: object
) -> Server:
    """As `asyncio.start_server`; `options` are create_server's."""
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.BaseProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, on_client, loop=loop)

    return await create_server(factory, host, port, **options)  # type: ignore[arg-type]


async def shutdown(patience: float = 1.0) -> None:
    """Before the loop ends: give what was written and closed `patience` seconds to arrive, then close every port.

    The kernel does this for TCP when a process has ended; here nobody would be left to repair losses.
    """
    loop = asyncio.get_running_loop()
    ours = [port for port in OPEN_PORTS if port.loop is loop]
    closing = [port.closed for port in ours if port.is_single]
    if closing:
        await asyncio.wait(closing, timeout=patience)
    for port in ours:
        port.close()


def _endpoint_of(transport: TransportPlugin | None, sink: Sink | None, *, accepts: bool) -> Endpoint:
    plugin = transport
    if plugin is None:
        windows = (("connection_window", STREAM_WINDOW + STREAM_WINDOW // 2), ("stream_window", STREAM_WINDOW))
        own = ("max_streams", STREAMS_MAX) if accepts else ("keep_alive", KEEP_ALIVE)
        plugin = TRANSPORTS.build(Spec("rudp", tuple(sorted([own, *windows]))))
    # Who could guess these draws could forge tokens and hit connections blindly.
    draws = DrawKey(secrets.randbits(63), "live")
    return plugin.endpoint(host="server" if accepts else "client", accepts=accepts, draws=draws, sink=sink)


async def _connect(host: str, port: int, local: tuple[str, int] | None, endpoint: Endpoint) -> StreamTransport:
    """A stream to the first address of `host` that answers."""
    loop = asyncio.get_running_loop()
    errors: list[OSError] = []
    for family, _, _, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        bound = _socket(family)
        ours = Port(endpoint, bound)
        is_well = False
        try:
            if local is not None:
                bound.bind(local)
            bound.connect(address)  # so that ICMP's word reaches us
            stream = await ours.connect(address)
            is_well = True
        except OSError as error:  # TimeoutError is one
            errors.append(error)
            continue
        finally:
            if not is_well:
                ours.close()
        ours.is_single = True
        return stream
    raise errors[-1]


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
    return made
