import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rudp_smtp.errors import ConfigError
from rudp_smtp.units import (
    PARSERS,
    PRINTERS,
    PROBABILITY_ONE,
    parse_duration,
    parse_probability,
    parse_rate,
    parse_size,
    print_duration,
    print_probability,
    print_rate,
    print_size,
    probability_fraction,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0ms", 0),
        ("1ns", 1),
        ("3us", 3_000),
        ("20ms", 20_000_000),
        ("1.5s", 1_500_000_000),
        ("2min", 120_000_000_000),
        (" 20 ms ", 20_000_000),
        ("2e-3s", 2_000_000),
        ("0.1ns", 0),
    ],
)
def test_a_duration_becomes_whole_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "octets"), [("0B", 0), ("1500B", 1500), ("64KiB", 65_536), ("64kB", 64_000), ("1.5MiB", 3 << 19)]
)
def test_a_size_tells_powers_of_ten_from_powers_of_two(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    ("text", "bits_per_second"), [("8bit", 8), ("20mbit", 20_000_000), ("2.5gbit", 2_500_000_000), ("56kbit", 56_000)]
)
def test_a_rate_is_read_as_tc_writes_it(text: str, bits_per_second: int) -> None:
    assert parse_rate(text) == bits_per_second


def test_decimals_are_exact_where_floats_are_not() -> None:
    assert parse_duration("0.3s") == 300_000_000
    assert parse_duration("9007199254740993ns") == 2**53 + 1
    assert parse_probability("30%") == parse_probability(0.3) == parse_probability("0.3")


@pytest.mark.parametrize(
    ("given", "threshold"),
    [
        (0, 0),
        (0.0, 0),
        ("0%", 0),
        (1, PROBABILITY_ONE),
        ("100%", PROBABILITY_ONE),
        (0.5, PROBABILITY_ONE // 2),
        ("25%", PROBABILITY_ONE // 4),
        (1e-5, round(PROBABILITY_ONE / 100_000)),
    ],
)
def test_a_probability_becomes_a_threshold_out_of_two_to_the_64(given: object, threshold: int) -> None:
    assert parse_probability(given) == threshold


@pytest.mark.parametrize("kind", ["duration", "size", "rate"])
@pytest.mark.parametrize("given", [20, 1.5, "20"])
def test_a_bare_number_is_refused_for_want_of_a_unit(kind: str, given: object) -> None:
    with pytest.raises(ConfigError, match="has no unit; expected a"):
        PARSERS[kind](given)


@pytest.mark.parametrize("kind", ["duration", "size", "rate"])
@pytest.mark.parametrize(
    "given", [None, True, [], {}, "", "ms", "-5ms", "+5ms", "5 5ms", "nan", "infs", "0x10ms", "٣ms", "5ms5", "5\nms;"]
)
def test_what_is_no_quantity_is_refused(kind: str, given: object) -> None:
    with pytest.raises(ConfigError, match=r"expected a|unknown unit"):
        PARSERS[kind](given)


@pytest.mark.parametrize(("kind", "text"), [("duration", "20 sec"), ("size", "64kb"), ("rate", "20Mbit")])
def test_an_unknown_unit_is_named_and_the_known_ones_listed(kind: str, text: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown unit .*\(units: "):
        PARSERS[kind](text)


@pytest.mark.parametrize("text", ["1e999999999ms", "9" * 5000 + "ms", "0." + "1" * 5000 + "ms"])
def test_absurdly_many_digits_are_refused_and_not_computed(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("given", ["130%", 1.3, "1.3", 2, 1e300])
def test_more_than_certain_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="more than certain"):
        parse_probability(given)


def test_a_forgotten_percent_sign_is_guessed() -> None:
    with pytest.raises(ConfigError, match="did you mean 10%"):
        parse_probability(10)


@pytest.mark.parametrize("given", [True, None, [], "", "ten", "-1%", -0.1, float("nan"), float("inf"), "10ms", "1/2"])
def test_what_is_no_probability_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="is not a probability"):
        parse_probability(given)


def test_a_quantity_is_printed_in_the_unit_that_leaves_the_smallest_whole_number() -> None:
    assert print_duration(20_000_000) == "20ms"
    assert print_duration(1_500_000_000) == "1500ms"
    assert print_duration(0) == "0ns"
    assert print_size(65_536) == "64KiB"
    assert print_rate(20_000_000) == "20mbit"
    assert print_probability(parse_probability("0.1%")) == "0.1%"


@pytest.mark.parametrize("kind", ["duration", "size", "rate"])
@given(value=st.integers(0, 1 << 62))
def test_a_printed_quantity_is_read_back_exactly(kind: str, value: int) -> None:
    assert PARSERS[kind](PRINTERS[kind](value)) == value


@given(st.integers(0, PROBABILITY_ONE))
@example(1)
@example(PROBABILITY_ONE - 1)
def test_a_printed_probability_is_read_back_exactly(threshold: int) -> None:
    assert parse_probability(print_probability(threshold)) == threshold


@given(st.floats(0, 1))
def test_a_fraction_survives_to_the_precision_of_a_threshold(fraction: float) -> None:
    assert abs(probability_fraction(parse_probability(fraction)) - fraction) <= 2**-53
