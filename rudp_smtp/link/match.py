"""Match rules: what becomes of a packet for what it is. A link reads sizes; who can read packets is handed in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rudp_smtp.datagram import Label
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import FieldTest, MatchRule
from rudp_smtp.link.following import Follower, Piece


@dataclass(frozen=True, slots=True)
class Headers:
    """What a packet says outside of what it carries."""

    protocol: str
    source_port: int | None  # None: it has no ports
    destination_port: int | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a packet carries: the names of its frames, and its pieces of streams that can be followed."""

    frames: frozenset[str]
    pieces: tuple[Piece, ...]


class Reading(Protocol):
    """One packet, of which is read what is asked for. Whatever its octets are, nothing raises."""

    def headers(self) -> Headers: ...

    def contents(self) -> Contents | None:
        """None: nothing it knows."""

    def passes(self, tests: tuple[FieldTest, ...]) -> bool:
        """Whether all hold, those of one kind of layer of one and the same layer."""


Reader = Callable[[bytes, Label], Reading]


class MatchRules:
    """Owns how often each rule has matched, its `counts`, and the streams that rules look into."""

    def __init__(self, rules: tuple[MatchRule, ...], reader: Reader | None) -> None:
        self._rules = tuple(_Rule(rule) for rule in rules)
        self._reader = reader
        self.counts = [0] * len(rules)
        self._is_reading = any(rule.is_reading for rule in self._rules)
        texts = [rule.text for rule in self._rules if rule.text is not None]
        self._follower = Follower(texts) if texts else None
        if self._is_reading and reader is None:
            text = "only a packet's size is known here, and nobody looks into it; expected 'larger' and 'smaller' only"
            raise ConfigError(text, key="match")

    def judge(self, data: bytes, size: int, label: Label) -> int | None:
        """The place of the first rule whose turn it is; every rule counts what it matches, whoever comes first."""
        reading = self._reader(data, label) if self._is_reading and self._reader is not None else None
        carried: dict[bytes, list[int]] = {}
        if reading is not None and self._follower is not None:
            contents = reading.contents()
            carried = self._follower.carry(contents.pieces) if contents is not None else {}
        found = None
        for place, rule in enumerate(self._rules):
            if not rule.matches(size, reading, carried):
                continue
            self.counts[place] += 1
            if found is None and rule.is_due(self.counts[place]):
                found = place
        return found


class _Rule:
    """A rule, made ready to be asked of every packet: the cheapest question first."""

    __slots__ = ("_is_about_headers", "asked", "is_reading", "tests", "text")

    def __init__(self, asked: MatchRule) -> None:
        self.asked = asked
        self.text = None if asked.contains is None else asked.contains.encode()
        self.tests = asked.tests
        headers = (asked.protocol, asked.source_port, asked.destination_port)
        self._is_about_headers = any(value is not None for value in headers)
        inside = (asked.frame, asked.contains)
        self.is_reading = self._is_about_headers or bool(self.tests) or any(value is not None for value in inside)

    def matches(self, size: int, reading: Reading | None, carried: dict[bytes, list[int]]) -> bool:
        asked = self.asked
        if asked.larger is not None and size <= asked.larger:
            return False
        if asked.smaller is not None and size >= asked.smaller:
            return False
        if not self.is_reading:
            return True
        assert reading is not None, "refused without a reader"
        if self.text is not None:
            transmissions = carried.get(self.text, ())
            if not transmissions or (asked.transmission is not None and asked.transmission not in transmissions):
                return False
        if self._is_about_headers and not self._has_headers(reading.headers()):
            return False
        if asked.frame is not None:
            contents = reading.contents()
            if contents is None or asked.frame not in contents.frames:
                return False
        return not self.tests or reading.passes(self.tests)

    def _has_headers(self, headers: Headers) -> bool:
        asked = self.asked
        return (
            asked.protocol in (None, headers.protocol)
            and asked.source_port in (None, headers.source_port)
            and asked.destination_port in (None, headers.destination_port)
        )

    def is_due(self, count: int) -> bool:
        if self.asked.nth is not None:
            return count == self.asked.nth
        return self.asked.every is None or count % self.asked.every == 0
