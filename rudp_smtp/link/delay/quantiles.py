"""Tables of equally likely delays, netem's way (tc-netem(8) distribution), each made once from whole numbers.

netem's own `pareto` has a deviation of 0.82 where 1 is asked for: it is scaled as if its tail were not cut off. Here a
table is centred and scaled by what it really has in it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isqrt

from rudp_smtp.link.delay import Piece

ENTRIES = 4096  # as many as netem's tables have
UNIT = 1 << 32  # a deviation, in a table


def standardised(values: Sequence[int]) -> tuple[int, ...]:
    """The same values with mean 0 and deviation UNIT, but for rounding."""
    count = len(values)
    total = sum(values)
    centred = [count * value - total for value in values]
    deviation = isqrt(sum(value * value for value in centred) // count)
    return tuple(value * UNIT // deviation for value in centred)


def even_points(offsets: Iterable[int]) -> list[Piece]:
    """The distribution of a table of equally likely offsets."""
    counts = sorted(Counter(offsets).items())
    total = sum(count for _, count in counts)
    return [(offset, offset, count / total) for offset, count in counts]


def pareto_quantile(entry: int, unit: int) -> int:
    """The middle of cell `entry` of the Pareto distribution of shape 3, which has its mean at 1.5 and begins at 1.

    (1 - u) ** (-1/3) is a cube root: exact in whole numbers.
    """
    return _cube_root(2 * ENTRIES * unit**3 // (2 * (ENTRIES - entry) - 1))


def _cube_root(number: int) -> int:
    """The largest whole number whose cube is not above `number`, by Newton's iteration from above."""
    root = 1 << -(-number.bit_length() // 3)
    while True:
        better = (2 * root + number // (root * root)) // 3
        if better >= root:
            return root
        root = better
