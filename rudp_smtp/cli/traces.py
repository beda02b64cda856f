"""What --trace shows: the dialogue line by line, and between the lines the packets that carry them."""

import sys
import time

from rudp_smtp.cli.terminal import visible
from rudp_smtp.trace import Fact, PacketLost, PacketReceived, PacketSent

LINE_MAX = 100  # characters shown of a line


class Tracer:
    """Prints to standard error as it happens; times are ms since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._partial = {"C": b"", "S": b""}
        self._is_encrypted = False
        self._is_secret = False  # what the client says next is part of a login
        self._has_asked_for_tls = False

    def emit(self, fact: Fact) -> None:
        """A sink of the transport's facts."""
        match fact:
            case PacketSent():
                streams = ", ".join(f"octets {start}-{stop}" for _, start, stop in fact.streams if stop > start)
                kind = "again " if fact.is_retransmission else "probe " if fact.is_probe else ""
                self._print(f"  -> packet {fact.packet_number:<4} {fact.size:>5} B {kind}{streams}")
            case PacketReceived():
                self._print(f"  <- packet {fact.packet_number:<4} {fact.size:>5} B")
            case PacketLost():
                self._print(f"  xx packet {fact.packet_number:<4} declared lost ({fact.trigger})")
            case _:
                pass

    def on_octets(self, who: str, octets: bytes) -> None:
        """Of the session, as the wire carries them."""
        if self._is_encrypted:
            self._print(f"{who}: [{len(octets)} octets of TLS]")
            return
        *lines, self._partial[who] = (self._partial[who] + octets).split(b"\r\n")
        for line in lines:
            self._on_line(who, line)

    def _on_line(self, who: str, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if who == "C" and self._is_secret:
            self._is_secret = False
            text = "[part of a login]"
        elif who == "C" and text.upper().startswith("AUTH "):
            text = " ".join(text.split(" ")[:2]) + (" [part of a login]" if text.count(" ") > 1 else "")
        elif who == "S" and text.startswith("334"):
            self._is_secret = True
            text = "334 [part of a login]"
        elif who == "C" and text.upper() == "STARTTLS":
            self._has_asked_for_tls = True
        elif who == "S" and self._has_asked_for_tls and text.startswith("220"):
            self._is_encrypted = True
        shown = visible(text[:LINE_MAX]) + ("..." if len(text) > LINE_MAX else "")
        self._print(f"{who}: {shown}")

    def _print(self, text: str) -> None:
        print(f"{(time.monotonic() - self._start) * 1000:9.1f}  {text}", file=sys.stderr)
