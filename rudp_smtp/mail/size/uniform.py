"""Every size from min to max, both included, is as likely as any other."""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.mail.size import MESSAGE_SIZES, MessageSize, check_bounds
from rudp_smtp.units import Size


@MESSAGE_SIZES.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform(MessageSize):
    min: Size
    max: Size

    @staticmethod
    def check(min: int, max: int) -> None:  # noqa: A002 - the scenario's own words
        check_bounds(min, max)

    def octets(self, index: int, draws: DrawKey) -> int:
        return self.min + draws.below(index, self.max - self.min + 1)
