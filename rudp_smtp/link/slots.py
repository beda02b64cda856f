"""Packets wait for the next slot and leave together (tc-netem(8) `slot`): what a shared medium does to them.

A slot that nothing waited for is not kept: the next packet waits for one of its own. After `packets` or `bytes` a slot
is used up, by the packet that reaches either.
"""

from rudp_smtp.draws import DrawKey
from rudp_smtp.link.config import SlotConfig
from rudp_smtp.link.fates import Fates

_ENDLESS = 1 << 62


class Slots:
    """Owns the next slot's time and what may still leave in it. Packets are told in the order they get ready."""

    __slots__ = ("_config", "_draws", "_fates", "_number", "_octets_left", "_opens", "_packets_left")

    def __init__(self, config: SlotConfig, draws: DrawKey, fates: Fates | None = None) -> None:
        self._config = config
        self._draws = draws
        self._fates = fates
        self._number = 0
        self._opens = -1
        self._packets_left = self._octets_left = 0

    def release(self, ready: int, size: int) -> int:
        """When a packet that is ready now may leave."""
        if self._opens < ready:
            self._open_after(ready)
        opens = self._opens
        self._packets_left -= 1
        self._octets_left -= size
        if self._packets_left <= 0 or self._octets_left <= 0:
            self._open_after(opens)
        return opens

    def _open_after(self, time: int) -> None:
        config = self._config
        wait = self._wait(self._number)
        if self._fates is not None:
            self._fates.waits[self._number] = wait
        self._opens = time + config.min_delay + wait
        self._number += 1
        self._packets_left = config.packets or _ENDLESS
        self._octets_left = config.bytes or _ENDLESS

    def _wait(self, number: int) -> int:
        config = self._config
        if config.waits is not None:
            return config.waits[number] if number < len(config.waits) else 0
        return self._draws.below(number, config.delay_max - config.min_delay + 1)
