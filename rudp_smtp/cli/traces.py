"""What --trace shows: the dialogue line by line, and between the lines the packets that carry them."""

import time

from rudp_smtp.cli.terminal import tell, visible
from rudp_smtp.smtp.transcript import Said, Watch
from rudp_smtp.trace import Fact, PacketLost, PacketReceived, PacketSent

LINE_MAX = 100  # characters shown of a line


class Tracer:
    """Prints to standard error as it happens; times are ms since the start.

    Of a server's many sessions each is called by its client, and each connection's packets by the listener's port and
    the connection's number there.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()

    def watching(self, client: str = "") -> Watch:
        """Who shows what is said in the session with this one."""
        whose = f"{client} " if client else ""

        def watch(said: Said) -> None:
            shown = visible(said.text[:LINE_MAX]) + ("..." if len(said.text) > LINE_MAX else "")
            self.print(f"{whose}{said.who}{'/TLS' if said.is_encrypted else ''}: {shown}")

        return watch

    def print(self, text: str) -> None:
        tell(f"{(time.monotonic() - self._start) * 1000:9.1f}  {text}", is_aside=True)


class PacketTracer:
    """A sink of the transport's facts, beneath a Tracer's dialogue. `port`: that of a listener, with its many
    connections."""

    def __init__(self, tracer: Tracer, port: int | None = None) -> None:
        self._tracer = tracer
        self.port = port

    def emit(self, fact: Fact) -> None:
        match fact:
            case PacketSent():
                streams = ", ".join(f"octets {start}-{stop}" for _, start, stop in fact.streams if stop > start)
                kind = "again " if fact.is_retransmission else "probe " if fact.is_probe else ""
                text = f"  -> packet {fact.packet_number:<4} {fact.size:>5} B {kind}{streams}"
            case PacketReceived():
                text = f"  <- packet {fact.packet_number:<4} {fact.size:>5} B"
            case PacketLost():
                text = f"  xx packet {fact.packet_number:<4} declared lost ({fact.trigger})"
            case _:
                return
        self._tracer.print(text if self.port is None else f"{self.port}#{fact.connection}{text}")
