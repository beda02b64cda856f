"""Follow streams through the packets that carry them, to find octets wherever a sender cut them.

What a stream's octets were is known from the packets alone, in whatever order and however often they come. Kept of
them is only what further packets can make an occurrence with, and of the occurrences where they end, so a long stream
costs no more than a short one; what a hostile one has too many of is forgotten, oldest first.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

STREAMS_MAX = 256
ISLANDS_MAX = 16  # of one stream: what was seen of it, with gaps between
OCCURRENCES_MAX = 256  # of one text in one stream


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets of a stream as a packet carries them."""

    stream: Hashable  # which one, among all that cross the link in this direction
    offset: int
    data: bytes


@dataclass(slots=True)
class _Island:
    """A stretch without a gap, of which the first and the last octets are known."""

    start: int
    stop: int
    head: bytes
    tail: bytes


@dataclass(slots=True)
class _Found:
    """Occurrences of one text in one stream, by the offset behind them."""

    ends: list[int] = field(default_factory=list)  # in order
    carried: dict[int, int] = field(default_factory=dict)  # how often, in the order they were found

    def add(self, end: int) -> None:
        if len(self.ends) >= OCCURRENCES_MAX:
            oldest = next(iter(self.carried))
            del self.carried[oldest]
            del self.ends[bisect_left(self.ends, oldest)]
        insort(self.ends, end)
        self.carried[end] = 0


class _Stream:
    """Owns what was seen of one stream."""

    __slots__ = ("_edge", "_found", "_islands")

    def __init__(self, texts: tuple[bytes, ...]) -> None:
        self._edge = max(map(len, texts)) - 1  # octets before and behind that an occurrence may need
        self._found = {text: _Found() for text in texts}
        self._islands: list[_Island] = []  # in order; no two touch

    def carry(self, offset: int, data: bytes) -> dict[bytes, list[int]]:
        """Take in octets: how often each occurrence that they complete, or hold the last octet of, was carried so far.

        By text, if there is any, in the order of the stream; 1 is the first time.
        """
        before, behind = self._join(offset, data)
        text, start, stop = before + data + behind, offset - len(before), offset + len(data)
        transmissions = {}
        for wanted, found in self._found.items():
            new = []
            if wanted in text:
                ends = [end for end in _ends(text, wanted, start) if offset < end < stop + len(wanted)]
                new = [end for end in ends if end not in found.carried]
                for end in new:
                    found.add(end)
            if not found.ends:
                continue
            carried = found.ends[bisect_right(found.ends, offset) : bisect_right(found.ends, stop)]
            carried += [end for end in new if end > stop]
            for end in carried:
                found.carried[end] += 1
            if carried:
                transmissions[wanted] = [found.carried[end] for end in carried]
        return transmissions

    def _join(self, start: int, data: bytes) -> tuple[bytes, bytes]:
        """Add to the islands; what is known of the octets right before and right behind these."""
        stop, edge = start + len(data), self._edge
        if len(self._islands) == 1 and len(data) > edge and self._islands[0].stop == start:  # the usual case
            island = self._islands[0]
            if len(island.head) == edge:
                before, island.stop, island.tail = island.tail, stop, data[len(data) - edge :]
                return before, b""
        touched = [island for island in self._islands if island.start <= stop and island.stop >= start]
        first, last = (touched[0], touched[-1]) if touched else (None, None)
        if first is not None and first.start >= start:
            first = None
        if last is not None and last.stop <= stop:
            last = None
        before = first.tail[: max(0, start - first.stop + len(first.tail))] if first else b""
        behind = last.head[max(0, stop - last.start) :] if last else b""
        text = before + data + behind
        whole = _Island(
            first.start if first else start,
            last.stop if last else stop,
            # An island with less than that is known whole, and so is what it grew into.
            first.head if first and len(first.head) == edge else text[:edge],
            last.tail if last and len(last.tail) == edge else text[max(0, len(text) - edge) :],
        )
        islands = [island for island in self._islands if island not in touched]
        insort(islands, whole, key=lambda island: island.start)
        self._islands = islands[-ISLANDS_MAX:]
        return before, behind


class Follower:
    """Owns all streams that cross a link in its direction, and looks for the same texts in each."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._texts = tuple(dict.fromkeys(texts))
        self._streams: dict[Hashable, _Stream] = {}  # in the order they were last seen

    def carry(self, pieces: Iterable[Piece]) -> dict[bytes, list[int]]:
        """Take in what a packet carries; by text how often each occurrence that it ends was carried, this time too."""
        transmissions: dict[bytes, list[int]] = {}
        for piece in pieces:
            if not piece.data:
                continue
            stream = self._streams.pop(piece.stream, None) or _Stream(self._texts)
            self._streams[piece.stream] = stream
            for text, numbers in stream.carry(piece.offset, piece.data).items():
                transmissions.setdefault(text, []).extend(numbers)
        while len(self._streams) > STREAMS_MAX:
            del self._streams[next(iter(self._streams))]
        return transmissions


def _ends(text: bytes, wanted: bytes, start: int) -> list[int]:
    """Where occurrences end, in a text that begins at offset `start`: the last so many, those that overlap too."""
    ends: list[int] = []
    stop = len(text)
    while len(ends) < OCCURRENCES_MAX and (at := text.rfind(wanted, 0, stop)) >= 0:
        stop = at + len(wanted)
        ends.append(start + stop)
        stop -= 1
    return ends[::-1]
