"""A sans-IO session over any of asyncio's transports, TCP's or ours. It knows octets and time, not SMTP.

The order is the pump's: input, let the application react, drain the output, wait. While the application takes its time
nothing more is handed in, so the peer feels it as back-pressure.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

from rudp_smtp.errors import RudpError
from rudp_smtp.units import SECOND

READ_OCTETS = 128 * 1024  # at once: smaller buffers cost more calls, larger ones leave the processor's cache


class Session(Protocol):
    """One side of a dialogue over an ordered byte stream, such as `smtp.Server` or `smtp.Client`."""

    def receive_data(self, data: bytes | memoryview) -> None:
        """The octets are the caller's again when this returns."""

    def receive_eof(self) -> None: ...

    def data_to_send(self) -> bytes: ...

    @property
    def has_events(self) -> bool:
        """Something has happened that its application did not see yet."""

    @property
    def done(self) -> bool: ...


Work = Coroutine[object, object, None]
# The application looks at its session's events and answers them. If it has to wait for something before its session may
# go on, it returns that, and sees to the rest of the events behind it.
React = Callable[[], Work | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a peer may take, in ns. Running out of it ends the session as if the peer had closed."""

    idle: int = 300 * SECOND  # RFC 5321 section 4.5.3.2.7: at least 5 minutes for the next command
    total: int = 3600 * SECOND  # so that one octet every 299 s does not hold a session for ever


Begin = Callable[["SessionProtocol"], tuple[Session, React, Patience]]  # asked when there is a transport


class SessionProtocol(asyncio.BufferedProtocol):
    """Moves one session over its transport until it is over, and closes that behind it.

    `over` is done when nothing more will happen; an error of the application's is found there. `buffer` is free again
    after each call, so that the sessions of a loop may share one.
    """

    __slots__ = ("_ahead", "_begin", "_buffer", "_is_closing", "_is_eof_due", "_is_lost", "_is_reading_paused",
                 "_is_writing_paused", "_react", "_session", "_watch", "_work", "over", "transport")  # fmt: skip

    transport: asyncio.Transport  # once there is one, as are the next three
    _session: Session
    _react: React
    _watch: "_Watch"

    def __init__(self, begin: Begin, buffer: memoryview) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begin = begin
        self._buffer = buffer
        self._work: asyncio.Task[None] | None = None  # what the application is waiting for
        self._ahead = bytearray()  # what came before the session could go on
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._is_eof_due = False
        self._is_closing = False
        self._is_lost = False

    # What the application asks

    def wake(self) -> None:
        """The session has something to say, and nobody asked it."""
        if not self._is_busy:
            self._go_on()

    async def abandon(self) -> None:
        """End at once: whoever ends us does not wait for the peer."""
        work = self._work
        if not self.over.done():
            self.over.set_result(None)
        self.transport.abort()
        if work is not None:
            work.cancel()
            await asyncio.wait([work])

    # What asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._session, self._react, patience = self._begin(self)
        self._watch = _Watch(transport, patience)
        self._go_on()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._buffer[:nbytes]
        if self._is_busy:
            self._ahead += data
            self._is_reading_paused = True
            self.transport.pause_reading()
        else:
            self._go_on(data)

    def eof_received(self) -> bool:
        self._is_eof_due = True
        self.wake()
        return True  # we close when the session is over

    def pause_writing(self) -> None:
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        self.wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._is_writing_paused = False
        self._watch.close()
        if not self._session.done and not self.over.done():
            self._session.receive_eof()
        self.wake()

    # The order of things

    @property
    def _is_busy(self) -> bool:
        return self._work is not None or self._is_writing_paused

    def _go_on(self, data: memoryview | None = None, *, has_reacted: bool = False) -> None:
        """What fails here has failed this session; of what nobody foresaw the loop's exception handler hears too."""
        if self.over.done():
            return
        is_well = False
        try:
            if data is not None:
                self._session.receive_data(data)
            if has_reacted or self._has_reacted():
                self._advance()
            is_well = True
        except RudpError as error:  # such as that of a store, from which the session draws its mail data
            self._fail(error)
            is_well = True
        finally:
            if not is_well:
                self._fail(sys.exc_info()[1])

    def _has_reacted(self) -> bool:
        """Let the application see what happened; False: it has to wait for something."""
        work = self._react()
        if work is None:
            return True
        self._watch.rest()
        self._work = asyncio.get_running_loop().create_task(work)
        self._work.add_done_callback(self._on_worked)
        return False

    def _advance(self) -> None:
        """Drain and react in turn, then wait: for the application, for the peer to read, or for it to say something."""
        while not self.over.done():
            if self._is_lost:
                return self.over.set_result(None)
            if self._is_writing_paused:
                return self._watch.expect()
            had_news = self._session.has_events
            # What is written to a transport that is gone goes nowhere, and must not count as sent.
            is_gone = self.transport.is_closing() and not self._is_closing
            data = b"" if is_gone else self._session.data_to_send()
            is_news = self._session.has_events and not had_news  # to send may be to find out
            if data:
                self.transport.write(data)
            elif self._session.done:
                if self._is_closing:
                    self._watch.expect()  # a peer that does not read would keep the connection for ever
                    return self.transport.close()
                self._is_closing = True
            elif self._take_ahead():
                is_news = True
            elif not is_news:
                return self._watch.expect()
            if is_news and not self._has_reacted():
                return None
        return None

    def _on_worked(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if work.cancelled() or self.over.done():
            self.transport.abort()
        elif (error := work.exception()) is not None:
            self._fail(error)
        else:
            self._go_on(has_reacted=not self._session.has_events)  # the transport may have been lost meanwhile

    def _fail(self, error: BaseException | None) -> None:
        if error is not None and not self.over.done():
            self.over.set_exception(error)
        self.transport.abort()

    def _take_ahead(self) -> bool:
        """Hand in what waited for the session; False: it has to wait for the peer."""
        if self._ahead:
            data, self._ahead = memoryview(self._ahead), bytearray()
            self._session.receive_data(data)
        elif self._is_reading_paused:
            self._is_reading_paused = False
            self.transport.resume_reading()
            return False
        elif self._is_eof_due:
            self._is_eof_due = False
            self._session.receive_eof()
        else:
            return False
        return True


async def hold(protocol: SessionProtocol) -> None:
    """Stay until a session is over; raise what its application raised."""
    try:
        await protocol.over
    except asyncio.CancelledError:
        await protocol.abandon()
        raise


def calling(session: Session, react: React, patience: Patience) -> SessionProtocol:
    """The protocol of a session that is there before its transport, as a client's is."""
    return SessionProtocol(lambda protocol: (session, react, patience), new_buffer())


def new_buffer() -> memoryview:
    return memoryview(bytearray(READ_OCTETS))


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
