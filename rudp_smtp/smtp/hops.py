"""How many hosts a message has passed, by its Received fields: with too many it goes in circles (RFC 5321 s6.3)."""

import re

HEADER_OCTETS = 256 * 1024  # how far they are looked for: a header without an end must not cost a look at every line
FIELD_NAME_OCTETS = 128  # of a line as much as tells whether it is a Received field
RECEIVED = re.compile(rb"received[ \t]*:", re.IGNORECASE)


class HopCount:
    """Counts the Received fields of a message that comes in pieces, cut anywhere."""

    __slots__ = ("_is_over", "_line", "_seen", "hops")

    def __init__(self) -> None:
        self.hops = 0
        self._line = b""  # the beginning of the line being read
        self._is_over = False  # the header section is, or has been seen enough of
        self._seen = 0

    def take(self, octets: bytes) -> None:
        start = 0
        while not self._is_over and start < len(octets):
            end = octets.find(b"\n", start)
            stop = len(octets) if end < 0 else end + 1
            self._line += octets[start : min(stop, start + FIELD_NAME_OCTETS - len(self._line))]
            start = stop
            if end >= 0:
                self._end_line()
                self._is_over = self._is_over or self._seen + start > HEADER_OCTETS
        self._seen += len(octets)

    def _end_line(self) -> None:
        if not self._line.rstrip(b"\r\n"):
            self._is_over = True
        elif RECEIVED.match(self._line):
            self.hops += 1
        self._line = b""
