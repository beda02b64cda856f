"""Match rules: what becomes of a packet for what it is. A link reads sizes; who can read contents is handed in."""

from collections.abc import Callable
from dataclasses import dataclass

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import MatchRule


@dataclass(frozen=True, slots=True)
class Contents:
    """What a reader finds in a datagram: the names of its frames, and the octets of each piece of stream data."""

    frames: frozenset[str]
    pieces: tuple[bytes, ...]


Reader = Callable[[bytes], Contents | None]  # None: not a packet it knows


class MatchRules:
    """Owns how often each rule has matched: its `counts`."""

    def __init__(self, rules: tuple[MatchRule, ...], reader: Reader | None) -> None:
        self._rules = rules
        self._reader = reader
        self.counts = [0] * len(rules)
        self._is_reading = any(rule.frame is not None or rule.contains is not None for rule in rules)
        if self._is_reading and reader is None:
            text = "'frame' and 'contains' look into our own packets, which nobody can here; expected sizes only"
            raise ConfigError(text, key="match")

    def judge(self, data: bytes, size: int) -> int | None:
        """The place of the first rule whose turn it is; every rule counts what it matches, whoever comes first."""
        contents = self._reader(data) if self._is_reading and self._reader is not None else None
        found = None
        for place, rule in enumerate(self._rules):
            if not _matches(rule, size, contents):
                continue
            self.counts[place] += 1
            if found is None and _is_due(rule, self.counts[place]):
                found = place
        return found


def _matches(rule: MatchRule, size: int, contents: Contents | None) -> bool:
    if rule.larger is not None and size <= rule.larger:
        return False
    if rule.smaller is not None and size >= rule.smaller:
        return False
    if rule.frame is not None and (contents is None or rule.frame not in contents.frames):
        return False
    if rule.contains is None:
        return True
    wanted = rule.contains.encode()
    return contents is not None and any(wanted in piece for piece in contents.pieces)


def _is_due(rule: MatchRule, count: int) -> bool:
    if rule.nth is not None:
        return count == rule.nth
    return rule.every is None or count % rule.every == 0
