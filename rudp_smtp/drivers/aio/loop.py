"""EventLoop: asyncio's own loop, but what connects and serves by host and port does so over RUDP.

    asyncio.Runner(loop_factory=EventLoop).run(main())

runs a program that was written for TCP over our transport as it stands: `asyncio.open_connection`,
`asyncio.start_server` and all that is built on them. Given a socket (`sock=`), a loop does with it what it always did.
"""

import asyncio
from typing import Any

from rudp_smtp.drivers import aio

_IGNORED = ("family", "flags", "proto", "reuse_address", "reuse_port", "backlog", "happy_eyeballs_delay", "interleave")


class EventLoop(asyncio.SelectorEventLoop):
    """Addresses are tried in turn; what concerns TCP alone (`backlog`, `reuse_address`, ...) means nothing here."""

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if options.get("sock") is not None or host is None:
            return await super().create_connection(protocol_factory, host, port, **options)
        return await aio.create_connection(protocol_factory, host, port, **_ours(options))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if options.get("sock") is not None or not isinstance(host, str):
            return await super().create_server(protocol_factory, host, port, **options)
        options.pop("start_serving", None)
        return await aio.create_server(protocol_factory, host, port, **_ours(options))

    async def shutdown_asyncgens(self) -> None:
        """The last that `asyncio.run` asks for: what was said goes out before."""
        await super().shutdown_asyncgens()
        await aio.shutdown()


def _ours(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None and name not in _IGNORED}
