"""Events: what one connection tells its application, in the endpoint's common queue."""

from collections import deque

from rudp_smtp.transport import Event, Transport


class Events:
    """Owns nothing but the connection's name: the queue is the endpoint's, so that order holds across connections."""

    __slots__ = ("_queue", "_transport")

    def __init__(self, queue: deque[tuple[Transport, Event]], transport: Transport) -> None:
        self._queue = queue
        self._transport = transport

    def push(self, event: Event) -> None:
        self._queue.append((self._transport, event))
