"""The trace fields a server puts in front of a message, and the count of those that are there (RFC 5321 s4.4, s6.3).

Nothing behind them is changed: octets in, a field in front, the same octets out.
"""

import re
from datetime import UTC, datetime
from email.utils import format_datetime

from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.units import SECOND

HOPS_MAX = 100  # RFC 5321 section 6.3: a large threshold, normally at least 100
FIELD_NAME_OCTETS = 128  # of a line as much as tells whether it is a Received field

_RECEIVED = re.compile(rb"received[ \t]*:", re.IGNORECASE)


def trace_fields(envelope: Envelope, *, domain: str, now: int, trace_id: str = "") -> bytes:
    """Return-Path and Received, as the server making the final delivery prepends them (RFC 5321 section 4.4)."""
    return_path = f"Return-Path: <{envelope.reverse_path}>\r\n".encode()
    return return_path + received_field(envelope, domain=domain, now=now, trace_id=trace_id)


def received_field(envelope: Envelope, *, domain: str, now: int, trace_id: str = "") -> bytes:
    """What every server on the way prepends. `now` is ns since the Unix epoch; `trace_id`, an atom, is what this
    server calls the message."""
    date = format_datetime(datetime.fromtimestamp(now // SECOND, UTC))
    identity = f" id {trace_id}" if trace_id else ""
    # Naming one of several recipients to another would tell who was in Bcc (RFC 5321 section 7.2).
    recipient = f"\r\n\tfor <{envelope.forward_paths[0]}>" if len(envelope.forward_paths) == 1 else ""
    return (
        f"Received: from {envelope.client_domain or 'unknown'}\r\n"
        f"\tby {domain} with {envelope.protocol}{identity}{recipient};\r\n"
        f"\t{date}\r\n"
    ).encode()


class HopCount:
    """Counts the Received fields of a message that comes in pieces, cut anywhere."""

    __slots__ = ("_is_over", "_line", "hops")

    def __init__(self) -> None:
        self.hops = 0
        self._line = b""  # the beginning of the line being read
        self._is_over = False  # the header section is

    def feed(self, octets: bytes) -> None:
        start = 0
        while not self._is_over and start < len(octets):
            end = octets.find(b"\n", start)
            stop = len(octets) if end < 0 else end + 1
            self._line += octets[start : min(stop, start + FIELD_NAME_OCTETS - len(self._line))]
            start = stop
            if end >= 0:
                self._end_line()

    def _end_line(self) -> None:
        if not self._line.rstrip(b"\r\n"):
            self._is_over = True
        elif _RECEIVED.match(self._line):
            self.hops += 1
        self._line = b""
