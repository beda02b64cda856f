"""Keyed draws: what a draw decides is its key, so no draw moves another (DETERMINISM: paired comparison).

A base module, not part of `link`, because the mail generator and connection IDs draw the same way.
"""

from hashlib import blake2b

from rudp_smtp.units import PROBABILITY_ONE

DRAW_SCHEME = 1  # part of every run's key: another scheme gives other fates


class DrawKey:
    """One purpose's draws: the same (seed, names, index, attempt) gives the same 64-bit integer everywhere."""

    __slots__ = ("_prefix",)

    def __init__(self, seed: int, *names: str) -> None:
        label = "\0".join(names).encode()
        self._prefix = blake2b(seed.to_bytes(8, "big", signed=True) + label, digest_size=8, person=b"rudp-smtp")

    @property
    def seed(self) -> int:
        """`DrawKey(seed, ...)` is what `derive(...)` gives."""
        return int.from_bytes(self._prefix.digest(), "big", signed=True)

    def derive(self, *names: str) -> "DrawKey":
        """Another purpose's draws under this key, unrelated to its own."""
        return DrawKey(self.seed, *names)

    def draw(self, index: int, attempt: int = 0) -> int:
        """A uniform integer in [0, 2**64)."""
        state = self._prefix.copy()
        state.update(index.to_bytes(8, "big") if attempt == 0 else b"\0%d/%d" % (index, attempt))
        return int.from_bytes(state.digest(), "big")

    def below(self, index: int, limit: int, attempt: int = 0) -> int:
        """A uniform integer in [0, limit): limit is far below 2**64, so the bias of the product is below 2**-40."""
        return self.draw(index, attempt) * limit >> 64

    def happens(self, index: int, probability: int, attempt: int = 0) -> bool:
        """Decide an event of this probability (out of PROBABILITY_ONE); 0 and 1 need no draw."""
        if probability <= 0:
            return False
        return probability >= PROBABILITY_ONE or self.draw(index, attempt) < probability
