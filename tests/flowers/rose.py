"""A plug-in with every kind of parameter, all optional."""

from dataclasses import dataclass
from typing import Annotated

from rudp_smtp.registry import Spec
from rudp_smtp.units import Duration, Probability, Rate, Size
from tests.flowers import FLOWERS, Flower
from tests.flowers.colours import RED

SMALL_TULIP = Spec("tulip", (("height", 50),))


@FLOWERS.register
@dataclass(slots=True, kw_only=True)
class Rose(Flower):
    soil: str = "loam"
    height: Size = 100
    growth: Rate = 8
    bloom: Duration | None = None
    pricks: Probability = 1 << 63
    thorns: int = 5
    is_wild: bool = False
    colour: str = RED
    waterings: tuple[Duration, ...] = ()
    beside: Annotated[Spec, FLOWERS] = SMALL_TULIP
