"""What is to be learned of a message from its header section, which passes in pieces: how many hosts it has been at by
its Received fields, with too many of which it goes in circles (RFC 5321 s6.3), and what it says of TLS (RFC 8689 s3).
"""

import re

HEADER_OCTETS = 256 * 1024  # how far fields are looked for: a text without an empty line is no reason to read it all
FIELD_NAME_OCTETS = 128  # of a line as much as tells which field it is
RECEIVED = re.compile(rb"received[ \t]*:", re.IGNORECASE)
_TLS_REQUIRED = re.compile(rb"tls-required[ \t]*:", re.IGNORECASE)
_NO = re.compile(rb"[ \t\r\n]*no[ \t\r\n]*\n", re.IGNORECASE)


class PassingHeader:
    """Reads the header section of a message that is cut anywhere, and keeps no more of it than a line and a value."""

    __slots__ = ("_is_in_tls_required", "_is_over", "_line", "_octets_left", "_tls_required", "_tls_requireds", "hops")

    def __init__(self) -> None:
        self.hops = 0
        self._line = b""  # the beginning of the line being read
        self._octets_left = HEADER_OCTETS
        self._is_over = False  # the header section is
        self._tls_required = b""  # what the field says, folded or not
        self._tls_requireds = 0  # how many of them there are
        self._is_in_tls_required = False

    @property
    def is_tls_optional(self) -> bool:
        """As far as it has come. A field that is there twice, which RFC 8689 section 3 forbids, says nothing."""
        value = self._tls_required
        return self._tls_requireds == 1 and len(value) <= FIELD_NAME_OCTETS and _NO.fullmatch(value) is not None

    def take(self, octets: bytes) -> None:
        if self._is_over:
            return
        octets = octets[: self._octets_left]
        self._octets_left -= len(octets)
        start = 0
        while not self._is_over and start < len(octets):
            end = octets.find(b"\n", start)
            stop = len(octets) if end < 0 else end + 1
            self._line += octets[start : min(stop, start + FIELD_NAME_OCTETS - len(self._line))]
            start = stop
            if end >= 0:
                self._end_line()

    def _end_line(self) -> None:
        line, self._line = self._line, b""
        if not line.rstrip(b"\r\n"):
            self._is_over = True
        elif line[:1] in (b" ", b"\t"):
            if self._is_in_tls_required and len(self._tls_required) <= FIELD_NAME_OCTETS:
                self._tls_required += line
        else:
            self._begin_field(line)

    def _begin_field(self, line: bytes) -> None:
        self._is_in_tls_required = False
        if RECEIVED.match(line):
            self.hops += 1
        elif found := _TLS_REQUIRED.match(line):
            self._is_in_tls_required = True
            self._tls_requireds += 1
            self._tls_required = line[found.end() :]
