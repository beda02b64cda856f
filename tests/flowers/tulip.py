"""A plug-in with a parameter that must be given, and a check."""

from dataclasses import dataclass

from rudp_smtp.errors import ConfigError
from rudp_smtp.units import Size
from tests.flowers import BOUQUETS, FLOWERS, Flower


@FLOWERS.register
@BOUQUETS.register
@dataclass(slots=True, kw_only=True)
class Tulip(Flower):
    soil: str
    height: Size

    @staticmethod
    def check(*, height: int) -> None:
        if height > 1000:
            raise ConfigError("too high for a tulip", key="height")
