"""Every message has the same size."""

from dataclasses import dataclass

from rudp_smtp.draws import DrawKey
from rudp_smtp.mail.size import MESSAGE_SIZES, MessageSize, check_size
from rudp_smtp.units import Size


@MESSAGE_SIZES.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(MessageSize):
    size: Size

    @staticmethod
    def check(size: int) -> None:
        check_size(size, "size")

    def octets(self, index: int, draws: DrawKey) -> int:
        return self.size
