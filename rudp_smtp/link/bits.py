"""Flipped bits of a datagram. Bit 0 is the lowest of the first octet."""

from collections.abc import Iterable

from rudp_smtp.draws import DrawKey


def draw_places(length: int, bits: int, index: int, draws: DrawKey) -> tuple[int, ...]:
    """That many distinct bits (all, if there are fewer) of `length`, keyed by `index`."""
    chosen: dict[int, None] = {}
    for last in range(max(0, length - bits), length):  # Floyd's sampling: one draw for each bit, no repeats
        place = draws.below(index, last + 1, last - length + bits)
        chosen[last if place in chosen else place] = None
    return tuple(chosen)


def flip(data: bytes, places: Iterable[int]) -> bytes:
    """A place beyond the end is nowhere."""
    damaged = bytearray(data)
    for place in places:
        if place < 8 * len(damaged):
            damaged[place >> 3] ^= 1 << (place & 7)
    return bytes(damaged)
