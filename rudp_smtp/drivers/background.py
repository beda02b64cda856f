"""The relay beside whatever else a program does: in a thread of its own, from the start of a `with` to its end."""

import threading
from types import TracebackType

from rudp_smtp.drivers.clock import Waiter
from rudp_smtp.drivers.proxy import Path, Relay
from rudp_smtp.drivers.sockets import Endpoint
from rudp_smtp.trace import Sink

LOOPBACK = ("127.0.0.1", 0)


class BackgroundRelay:
    """Owns the thread, the waiter and the relay; the relay's counters may be read meanwhile and afterwards."""

    def __init__(
        self, upstream: Endpoint, path: Path, *, listen: Endpoint = LOOPBACK, sink: Sink | None = None
    ) -> None:
        self._waiter = Waiter()
        self.relay = Relay(listen, upstream, path, waiter=self._waiter, sink=sink)
        self.address = self.relay.address
        self._thread = threading.Thread(target=self.relay.run, name="relay", daemon=True)

    def __enter__(self) -> "BackgroundRelay":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.relay.stop()
        self._thread.join()
        self.relay.close()
        self._waiter.close()
