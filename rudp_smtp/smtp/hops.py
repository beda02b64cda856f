"""How many hosts a message has passed, by its Received fields: with too many it goes in circles (RFC 5321 s6.3)."""

import re

HEADER_OCTETS = 256 * 1024  # how far fields are looked for: a text without an empty line is no reason to read it all
FIELD_NAME_OCTETS = 128  # of a line as much as tells whether it is a Received field
RECEIVED = re.compile(rb"received[ \t]*:", re.IGNORECASE)


class HopCount:
    """Counts the Received fields of a message that comes in pieces, cut anywhere."""

    __slots__ = ("_is_over", "_line", "_octets_left", "hops")

    def __init__(self) -> None:
        self.hops = 0
        self._line = b""  # the beginning of the line being read
        self._octets_left = HEADER_OCTETS
        self._is_over = False  # the header section is

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
        if not self._line.rstrip(b"\r\n"):
            self._is_over = True
        elif RECEIVED.match(self._line):
            self.hops += 1
        self._line = b""
