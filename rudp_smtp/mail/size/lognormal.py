"""Log-normal sizes, the shape of real mailboxes: most messages small, a few very large.

A departure from the rule that distributions come from integer tables: `decimal` defines exp, ln and sqrt as correctly
rounded, so their digits are the same on every machine, which is what the tables are for.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.mail.size import MESSAGE_SIZES, SMALLEST_MESSAGE, MessageSize, check_bounds
from rudp_smtp.units import Size

CONTEXT = Context(prec=28, rounding=ROUND_HALF_EVEN)
SIGMA_MAX = 4

# P. J. Acklam's rational approximations of the normal quantile, relative error below 1.2e-9: each a pair of
# polynomials, highest power first.
CENTRE_NUMERATOR = (
    "-39.69683028665376 220.9460984245205 -275.9285104469687 138.3577518672690 -30.66479806614716 2.506628277459239"
)
CENTRE_DENOMINATOR = "-54.47609879822406 161.5858368580409 -155.6989798598866 66.80131188771972 -13.28068155288572 1"
TAIL_NUMERATOR = (
    "-0.007784894002430293 -0.3223964580411365 -2.400758277161838 -2.549732539343734 4.374664141464968 "
    "2.938163982698783"
)
TAIL_DENOMINATOR = "0.007784695709041462 0.3224671290700398 2.445134137142996 3.754408661907416 1"
TAIL = Decimal("0.02425")


def _polynomial(coefficients: str, x: Decimal) -> Decimal:
    value = Decimal(0)
    for coefficient in coefficients.split():
        value = CONTEXT.fma(value, x, Decimal(coefficient))
    return value


def normal_quantile(p: Decimal) -> Decimal:
    """The z that a standard normal variable stays below with probability p, 0 < p < 1."""
    if p > Decimal("0.5"):
        return CONTEXT.minus(normal_quantile(CONTEXT.subtract(Decimal(1), p)))
    if p < TAIL:
        q = CONTEXT.sqrt(CONTEXT.multiply(Decimal(-2), CONTEXT.ln(p)))
        return CONTEXT.divide(_polynomial(TAIL_NUMERATOR, q), _polynomial(TAIL_DENOMINATOR, q))
    q = CONTEXT.subtract(p, Decimal("0.5"))
    square = CONTEXT.multiply(q, q)
    numerator = CONTEXT.multiply(_polynomial(CENTRE_NUMERATOR, square), q)
    return CONTEXT.divide(numerator, _polynomial(CENTRE_DENOMINATOR, square))


@MESSAGE_SIZES.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal(MessageSize):
    """`sigma` is the deviation of the size's natural logarithm; sizes beyond the bounds become the bounds."""

    median: Size
    sigma: float = 1.0
    min: Size = SMALLEST_MESSAGE
    max: Size = 10 << 20

    @staticmethod
    def check(
        median: int,
        sigma: float = 1.0,
        min: int = SMALLEST_MESSAGE,  # noqa: A002 - the scenario's own words
        max: int = 10 << 20,  # noqa: A002
    ) -> None:
        check_bounds(min, max)
        if not min <= median <= max:
            raise ConfigError(f"{median}B is outside min, {min}B, to max, {max}B", key="median")
        if not 0 <= sigma <= SIGMA_MAX:
            raise ConfigError(f"{sigma!r} is not from 0 to {SIGMA_MAX}", key="sigma")

    def octets(self, index: int, draws: DrawKey) -> int:
        p = CONTEXT.divide(Decimal(2 * draws.draw(index) + 1), Decimal(1 << 65))
        factor = CONTEXT.exp(CONTEXT.multiply(Decimal(repr(self.sigma)), normal_quantile(p)))
        size = int(CONTEXT.to_integral_value(CONTEXT.multiply(Decimal(self.median), factor)))
        return max(self.min, min(size, self.max))
