"""The class of the folder's plug-in, not in its `__init__`."""

from dataclasses import dataclass

from tests.flowers import FLOWERS, Flower


@FLOWERS.register
@dataclass(slots=True, kw_only=True)
class Orchid(Flower):
    soil: str
