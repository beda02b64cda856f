"""rudp-smtp decode: a capture as a readable trace, one line for each packet.

Exit status: 0, or 2 for a file that is not pcapng, is damaged or ends too early; what could be read is printed first.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rudp_smtp.drivers.capture import INBOUND, OUTBOUND, Captured, CaptureError, read_capture
from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.wire.frames import AckFrame, Frame, PaddingFrame, StreamFrame
from rudp_smtp.wire.packet import INITIAL, decode_packet

DESCRIPTION = "Print a pcapng capture as a readable trace, one line for each packet."

OK, BAD_INPUT, UNREAD = 0, 2, 141
TEXT_MAX = 40  # characters of stream data on a line
RANGES_MAX = 4  # of an ACK on a line
_ARROWS = {INBOUND: "<-", OUTBOUND: "->"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a pcapng file, such as experiment --capture writes")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        for captured in read_capture(options.file.read_bytes()):
            print(line(captured))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough, as `| head` has
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for what is still flushed at exit
        return UNREAD
    except OSError as error:
        print(f"{options.file}: {error.strerror}", file=sys.stderr)
        return BAD_INPUT
    except CaptureError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return BAD_INPUT
    return OK


def line(captured: Captured) -> str:
    """Time, who saw it, which way it went, its number, its size and its frames."""
    arrow = _ARROWS.get(captured.direction, "--")
    peer = captured.source if captured.direction == INBOUND else captured.target
    place = f"{captured.time / 1e6:14.6f} ms  {captured.interface} {arrow} {peer[0]}:{peer[1]}"
    try:
        packet = decode_packet(captured.data)
    except PacketDecodeError as error:
        return f"{place}  {len(captured.data)} B  not a packet: {error}"
    kind = "INITIAL" if packet.kind == INITIAL else "ONE_RTT"
    frames = ", ".join(map(describe, packet.frames))
    return f"{place}  {kind} #{packet.packet_number}  {len(captured.data)} B  {frames}"


def describe(frame: Frame) -> str:
    name = type(frame).__name__.removesuffix("Frame")
    match frame:
        case StreamFrame():
            fin = " fin" if frame.is_fin else ""
            return f"Stream {frame.stream_id}:{frame.offset}-{frame.offset + len(frame.data)}{fin} {_text(frame.data)}"
        case AckFrame():
            ranges = " ".join(f"{start}-{stop - 1}" for start, stop in frame.ranges[:RANGES_MAX])
            more = len(frame.ranges) - RANGES_MAX
            return f"Ack {ranges}{f' and {more} more' if more > 0 else ''}"
        case PaddingFrame():
            return f"Padding {frame.length} B"
        case _:
            return name


def _text(data: bytes) -> str:
    """As ASCII with escapes: what a peer sent must not move the terminal's cursor."""
    shown = ascii(data[:TEXT_MAX].decode("latin-1"))
    return f"{shown}..." if len(data) > TEXT_MAX else shown
