"""Message size plug-ins: how large the generated messages are, one value or a distribution of them."""

from abc import ABC, abstractmethod

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import Registry

SMALLEST_MESSAGE = 512  # octets; `mail.generator` makes every size from here on exactly
LARGEST_MESSAGE = 64 << 20  # twice what our server takes: a message is built in memory, and in every process


class MessageSize(ABC):
    """Integer or correctly rounded arithmetic only: the same draw is the same size on every machine."""

    @abstractmethod
    def octets(self, index: int, draws: DrawKey) -> int:
        """The size of message `index`, line ends counted, before dot-stuffing."""


def check_size(octets: int, key: str) -> None:
    """Refuse a size that no message with a header section has, or that no memory should."""
    if octets > LARGEST_MESSAGE:
        raise ConfigError(
            f"{octets}B is too large: a generated message has at most {LARGEST_MESSAGE >> 20}MiB", key=key
        )
    if octets < SMALLEST_MESSAGE:
        raise ConfigError(f"{octets}B is too small: a generated message has at least {SMALLEST_MESSAGE}B", key=key)


def check_bounds(smallest: int, largest: int) -> None:
    """Refuse an interval that is empty, or leaves the sizes there are."""
    check_size(smallest, "min")
    if largest < smallest:
        raise ConfigError(f"{largest}B is less than min, {smallest}B", key="max")
    check_size(largest, "max")


MESSAGE_SIZES: Registry[MessageSize] = Registry(
    "message size", __name__, selector="distribution", shorthand=("constant", "size")
)
