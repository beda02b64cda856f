"""Quantiles of the beta distribution, which bound proportions: decimals only, so the same digits on every machine.

Read DLMF 8.17 (the incomplete beta function) and 5.11 (Stirling's series).
"""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from statistics import NormalDist

_CONTEXT = Context(prec=28, Emin=-999_999_999, Emax=999_999_999)
_CLOSE = Decimal("1e-10")  # far below the six decimals of a row; the step after it is closer still
_NEGLIGIBLE = Decimal("1e-16")
_STEPS_MAX = 200  # Newton's method takes about ten; halving a bracket would take 44
_TERMS_MAX = 1_000_000
_STIRLING_FROM = 30  # above, eight terms of the series leave less than 1e-20
_STIRLING = tuple(
    Fraction(*term)
    for term in ((1, 12), (-1, 360), (1, 1260), (-1, 1680), (1, 1188), (-691, 360360), (1, 156), (-3617, 122400))
)
_LOG_TWO_PI = Decimal("1.8378770664093454835606594728112353")


def beta_quantile(a: Fraction, b: Fraction, share: Fraction) -> float:
    """The x that `share` of the beta distribution with a, b > 0 lies below: Newton's method inside a bracket."""
    with localcontext(_CONTEXT):
        first, second, wanted = _decimal(a), _decimal(b), _decimal(share)
        scale = _log_gamma(first + second) - _log_gamma(first) - _log_gamma(second)
        low, high, x = Decimal(0), Decimal(1), _guess(first, second, float(share))
        for _ in range(_STEPS_MAX):
            density = (scale + (first - 1) * x.ln() + (second - 1) * (1 - x).ln()).exp()
            excess = _below(x, first, second, density) - wanted
            low, high = (x, high) if excess < 0 else (low, x)
            step = x - excess / density if density else low
            following = step if low < step < high else (low + high) / 2
            if abs(following - x) < _CLOSE:
                break
            x = following
        return float(x)


def beta_share(x: Fraction, a: Fraction, b: Fraction) -> float:
    """What share of the beta distribution lies below x; P(at least k of n) is that of x = p, a = k, b = n - k + 1."""
    if not 0 < x < 1:
        return float(x >= 1)
    with localcontext(_CONTEXT):
        place, first, second = _decimal(x), _decimal(a), _decimal(b)
        scale = _log_gamma(first + second) - _log_gamma(first) - _log_gamma(second)
        density = (scale + (first - 1) * place.ln() + (second - 1) * (1 - place).ln()).exp()
        return float(_below(place, first, second, density))


def _guess(a: Decimal, b: Decimal, share: float) -> Decimal:
    """Where a normal distribution with the same mean and deviation has it, but inside."""
    total = a + b
    deviation = (a * b / (total + 1)).sqrt() / total
    guess = a / total + deviation * Decimal(round(NormalDist().inv_cdf(share), 3))
    return min(max(guess, a / total / 2), 1 - b / total / 2)


def _decimal(number: Fraction) -> Decimal:
    return Decimal(number.numerator) / number.denominator


def _below(x: Decimal, a: Decimal, b: Decimal, density: Decimal) -> Decimal:
    """The share below x. The continued fraction is quick on one side of the mean, so there it is asked."""
    front = density * x * (1 - x)
    if x < (a + 1) / (a + b + 2):
        return front / a * _fraction(x, a, b)
    return 1 - front / b * _fraction(1 - x, b, a)


def _fraction(x: Decimal, a: Decimal, b: Decimal) -> Decimal:
    """DLMF 8.17.22, by Lentz's method."""
    one = Decimal(1)
    c, d = one, 1 / (1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, _TERMS_MAX):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (one + term * d)
            c = one + term / c
            total *= c * d
        if abs(c * d - one) < _NEGLIGIBLE:
            return total
    raise AssertionError("the continued fraction converges")


def _log_gamma(x: Decimal) -> Decimal:
    shift = Decimal(1)
    while x < _STIRLING_FROM:
        shift *= x
        x += 1
    series, power = Decimal(0), x
    for term in _STIRLING:
        series += _decimal(term) / power
        power *= x * x
    return (x - Decimal("0.5")) * x.ln() - x + _LOG_TWO_PI / 2 + series - shift.ln()
