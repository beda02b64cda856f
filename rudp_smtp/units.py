"""Units at the edges: text with a unit in, whole nanoseconds, bytes, bits per second and probabilities inside.

A field's annotation says what it measures (`delay: Duration`), so a plug-in's own signature is enough to read its
parameters from a scenario (see `registry`).
"""

import re
from fractions import Fraction
from typing import Annotated

from rudp_smtp.errors import ConfigError

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

PROBABILITY_ONE = 1 << 64  # a probability is an integer threshold out of this; a draw is below it or not

Duration = Annotated[int, "duration"]  # nanoseconds
Size = Annotated[int, "size"]  # bytes
Rate = Annotated[int, "rate"]  # bits per second
Probability = Annotated[int, "probability"]  # out of PROBABILITY_ONE

# Digits are counted, because the value is computed exactly: 1e999999999ms would fill the memory.
_NUMBER = re.compile(r"([0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,3})?)\s*([A-Za-z%/]*)")
_DURATIONS = {"ns": NANOSECOND, "us": MICROSECOND, "ms": MILLISECOND, "s": SECOND, "min": 60 * SECOND}
_SIZES = {
    "B": 1,
    "kB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
_RATES = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}


def _parse(text: object, scale: dict[str, int], what: str, example: str) -> int:
    match = _NUMBER.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        number = isinstance(text, int | float) and not isinstance(text, bool)
        problem = f"{text!r} has no unit" if number else f"{text!r} is not a {what}"
        raise ConfigError(f"{problem}; expected a {what} such as {example} (units: {', '.join(scale)})")
    number_text, unit = match.groups()
    if unit not in scale:
        problem = f"{text!r} has no unit" if not unit else f"{text!r}: unknown unit {unit!r}"
        raise ConfigError(f"{problem}; expected a {what} such as {example} (units: {', '.join(scale)})")
    return round(Fraction(number_text) * scale[unit])


def parse_duration(text: object) -> Duration:
    """Nanoseconds from "20ms"; a bare number is refused."""
    return _parse(text, _DURATIONS, "duration", "20ms")


def parse_size(text: object) -> Size:
    """Bytes from "64KiB"; a bare number is refused."""
    return _parse(text, _SIZES, "size", "64KiB")


def parse_rate(text: object) -> Rate:
    """Bits per second from "20mbit", as tc writes it; a bare number is refused."""
    return _parse(text, _RATES, "rate", "20mbit")


def parse_probability(text: object) -> Probability:
    """A threshold out of PROBABILITY_ONE from 0.1 or "10%", rounded once."""
    expected = "expected a probability: a fraction from 0 to 1, or with a percent sign, such as 10%"
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise ConfigError(f"{text!r} is not a probability; {expected}")
    match = _NUMBER.fullmatch(text.strip() if isinstance(text, str) else repr(text))
    if match is None or match.group(2) not in ("", "%"):
        raise ConfigError(f"{text!r} is not a probability; {expected}")
    fraction = Fraction(match.group(1)) / (100 if match.group(2) else 1)
    if fraction > 1:
        hint = f" (did you mean {text}%?)" if not match.group(2) and fraction <= 100 else ""
        raise ConfigError(f"{text!r} is more than certain; {expected}{hint}")
    return round(fraction * PROBABILITY_ONE)


def probability_fraction(probability: Probability) -> float:
    """The float nearest to a threshold, for reports only."""
    return probability / PROBABILITY_ONE


def _print(value: int, scale: dict[str, int]) -> str:
    """The unit that leaves the smallest whole number; on a tie the smallest unit, so 0 is 0ns."""
    number, unit = min(((value // factor, unit) for unit, factor in scale.items() if value % factor == 0), key=_number)
    return f"{number}{unit}"


def _number(quantity: tuple[int, str]) -> int:
    return quantity[0]


def print_duration(value: Duration) -> str:
    """The one text that stands for this duration: `parse_duration` gives it back exactly."""
    return _print(value, {unit: factor for unit, factor in _DURATIONS.items() if unit != "min"})


def print_size(value: Size) -> str:
    return _print(value, _SIZES)


def print_rate(value: Rate) -> str:
    return _print(value, _RATES)


def print_probability(value: Probability) -> str:
    """The shortest percentage that is rounded to this threshold."""
    percent = Fraction(value, PROBABILITY_ONE) * 100
    for digits in range(22):  # 10**-20 is finer than the step of 100 / 2**64
        whole, decimals = divmod(round(percent * 10**digits), 10**digits)
        text = f"{whole}.{decimals:0{digits}d}%" if digits else f"{whole}%"
        if parse_probability(text) == value:
            return text
    raise AssertionError(f"no percentage stands for {value}")


PARSERS = {
    "duration": parse_duration,
    "size": parse_size,
    "rate": parse_rate,
    "probability": parse_probability,
}

PRINTERS = {
    "duration": print_duration,
    "size": print_size,
    "rate": print_rate,
    "probability": print_probability,
}
