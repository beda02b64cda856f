"""The trace fields a server puts in front of a message (RFC 5321 section 4.4), and a message told from another by
what stands behind them.

Nothing behind them is changed: octets in, a field in front, the same octets out.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from ipaddress import ip_address
from zlib import crc32

from rudp_smtp.smtp.envelope import Envelope
from rudp_smtp.smtp.header import FIELD_NAME_OCTETS, RECEIVED
from rudp_smtp.units import SECOND


def trace_fields(envelope: Envelope, *, domain: str, now: int, trace_id: str = "") -> bytes:
    """Return-Path and Received, as the server making the final delivery prepends them (RFC 5321 section 4.4)."""
    return_path = f"Return-Path: <{envelope.reverse_path}>\r\n".encode()
    return return_path + received_field(envelope, domain=domain, now=now, trace_id=trace_id)


def received_field(envelope: Envelope, *, domain: str, now: int, trace_id: str = "") -> bytes:
    """What every server on the way prepends. `now` is ns since the Unix epoch; `trace_id`, an atom, is what this
    server calls the message."""
    identity = f" id {trace_id}" if trace_id else ""
    # Naming one of several recipients to another would tell who was in Bcc (RFC 5321 section 7.2).
    recipient = f"\r\n\tfor <{envelope.forward_paths[0]}>" if len(envelope.forward_paths) == 1 else ""
    return (
        f"Received: from {envelope.client_domain or 'unknown'}{_tcp_info(envelope.client_address)}\r\n"
        f"\tby {domain} with {envelope.protocol}{identity}{recipient};\r\n"
        f"\t{_date(now // SECOND)}\r\n"
    ).encode()


@lru_cache(maxsize=1)  # many messages arrive in one second
def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


@lru_cache(maxsize=256)  # and from one client
def _tcp_info(address: str) -> str:
    """RFC 5321 section 4.4: what the client calls itself is no proof, its address is some."""
    host = address.partition("%")[0]
    try:
        kind = "IPv6:" if ip_address(host).version == 6 else ""
    except ValueError:
        return ""
    return f" ([{kind}{host}])"


class Fingerprint:
    """Tells a message, in pieces cut anywhere, from another; no defence against malice.

    The Received fields in front are passed over: a host on the way that was cut off and hands the message on once more
    puts another one there, with another time, and it is the same message all the same.
    """

    __slots__ = ("_checksum", "_has_trace", "_held", "_is_in_front", "_is_in_trace", "_octets")

    def __init__(self) -> None:
        self._checksum = self._octets = 0
        self._held = b""  # the beginning of a line, too short to say what it is
        self._is_in_front = True
        self._is_in_trace = False  # in the middle of a line that is passed over
        self._has_trace = False

    def feed(self, octets: bytes) -> None:
        if self._is_in_front:
            octets = self._behind_trace(self._held + octets)
        self._checksum = crc32(octets, self._checksum)
        self._octets += len(octets)

    def text(self) -> str:
        return f"{self._octets + len(self._held)}:{crc32(self._held, self._checksum):08x}"

    def _behind_trace(self, octets: bytes) -> bytes:
        """What of it is not in front any more."""
        start, self._held = 0, b""
        while start < len(octets):
            end = octets.find(b"\n", start)
            beginning = octets[start : start + FIELD_NAME_OCTETS]
            if not self._is_in_trace:
                if end < 0 and len(beginning) < FIELD_NAME_OCTETS:
                    self._held = octets[start:]
                    return b""
                is_continued = self._has_trace and beginning[:1] in (b" ", b"\t")
                if not is_continued and not RECEIVED.match(beginning):
                    self._is_in_front = False
                    return octets[start:]
                self._has_trace = True
            self._is_in_trace = end < 0
            start = len(octets) if end < 0 else end + 1
        return b""
