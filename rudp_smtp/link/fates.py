"""What a link decided by chance, packet by packet: enough to decide it again without.

`Fates` is filled by a link that is given one. Lists of packets in a configuration (`list` models, `duplicated`,
`flips`, `packets` of a reorder stage, `waits` of slots) say the same things back to a link.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rudp_smtp.errors import ConfigError


@dataclass(slots=True)
class Fates:
    """Packets by index, originals and copies apart; only what was decided otherwise than by the rest of the link."""

    lost: list[int] = field(default_factory=list)
    copies_lost: list[int] = field(default_factory=list)
    duplicated: list[int] = field(default_factory=list)
    flips: list[tuple[int, int, int]] = field(default_factory=list)  # (index, copy, bit)
    rule_flips: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # rule -> (its count of matches, bit)
    displaced: list[int] = field(default_factory=list)
    copies_displaced: list[int] = field(default_factory=list)
    offsets: dict[int, int] = field(default_factory=dict)  # of delays, ns
    copies_offsets: dict[int, int] = field(default_factory=dict)
    waits: dict[int, int] = field(default_factory=dict)  # of slots by number, ns beyond `min_delay`


def check_indexes(packets: Sequence[int], key: str) -> None:
    """Raise ConfigError at what is no index."""
    for position, index in enumerate(packets):
        if index < 0:
            raise ConfigError(f"{index} is no packet; indexes count from 0", key=f"{key}[{position}]")


def check_groups(numbers: Sequence[int], size: int, what: str, key: str) -> None:
    """Raise ConfigError unless these are whole groups that begin with an index."""
    if len(numbers) % size:
        raise ConfigError(f"{len(numbers)} numbers are not {what}; expected {size} for each", key=key)
    for position in range(0, len(numbers), size):
        if numbers[position] < 0:
            raise ConfigError(f"{numbers[position]} is no packet; indexes count from 0", key=f"{key}[{position}]")


def pairs(numbers: Sequence[int]) -> Mapping[int, int]:
    """(index, value) pairs written one after the other."""
    return dict(zip(numbers[0::2], numbers[1::2], strict=True))


def places_by_packet(triples: Sequence[int]) -> dict[tuple[int, int], list[int]]:
    """(index, copy, bit) written one after the other: the bits to flip of each packet."""
    places: dict[tuple[int, int], list[int]] = {}
    for index, copy, bit in zip(triples[0::3], triples[1::3], triples[2::3], strict=True):
        places.setdefault((index, copy), []).append(bit)
    return places
