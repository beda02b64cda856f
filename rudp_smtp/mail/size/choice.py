"""One of the listed sizes, each as likely as any other; list one twice and it is twice as likely."""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.mail.size import MESSAGE_SIZES, MessageSize, check_size
from rudp_smtp.units import Size


@MESSAGE_SIZES.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(MessageSize):
    sizes: tuple[Size, ...]

    @staticmethod
    def check(sizes: tuple[int, ...]) -> None:
        if not sizes:
            raise ConfigError("expected at least one size", key="sizes")
        for position, size in enumerate(sizes):
            check_size(size, f"sizes[{position}]")

    def octets(self, index: int, draws: DrawKey) -> int:
        return self.sizes[draws.below(index, len(self.sizes))]
