"""A folder of plug-ins for test_registry.py: flowers, chosen by name."""

from rudp_smtp.registry import Registry


class Flower:
    """What all of them are."""


FLOWERS: Registry[Flower] = Registry("flower", __name__, context=("soil",), support=("colours",))
BOUQUETS: Registry[Flower] = Registry(
    "flower", __name__, context=("soil",), support=("colours",), selector="flower", shorthand=("tulip", "height")
)
