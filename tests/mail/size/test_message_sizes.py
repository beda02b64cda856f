"""The contract of every size distribution, and the distributions' own figures."""

import pytest

from rudp_smtp.draws import DrawKey
from rudp_smtp.errors import ConfigError
from rudp_smtp.mail.size import MESSAGE_SIZES, SMALLEST_MESSAGE, MessageSize
from rudp_smtp.registry import Spec

DRAWS = DrawKey(1, "sizes")
EXAMPLES: dict[str, object] = {
    "constant": "16KiB",
    "uniform": {"distribution": "uniform", "min": "1KiB", "max": "64KiB"},
    "choice": {"distribution": "choice", "sizes": ["1KiB", "10KiB", "1MiB"]},
    "lognormal": {"distribution": "lognormal", "median": "16KiB", "sigma": 1.5, "max": "1MiB"},
}


def distribution(value: object) -> MessageSize:
    return MESSAGE_SIZES.build(MESSAGE_SIZES.spec(value, "workload.size"))


@pytest.mark.parametrize("name", MESSAGE_SIZES.names())
def test_every_distribution_gives_possible_sizes_that_depend_on_index_and_key_alone(name: str) -> None:
    made = distribution(EXAMPLES[name])
    sizes = [made.octets(index, DRAWS) for index in range(500)]
    assert min(sizes) >= SMALLEST_MESSAGE
    assert max(sizes) <= 1 << 20
    assert sizes[::-1] == [made.octets(index, DRAWS) for index in range(499, -1, -1)]


def test_a_bare_size_is_a_constant_one() -> None:
    assert MESSAGE_SIZES.spec("16KiB") == Spec("constant", (("size", 16384),))
    assert distribution("16KiB").octets(9, DRAWS) == 16384


def test_uniform_sizes_reach_both_bounds() -> None:
    made = distribution({"distribution": "uniform", "min": "600B", "max": "603B"})
    assert {made.octets(index, DRAWS) for index in range(200)} == {600, 601, 602, 603}


def test_half_of_lognormal_sizes_are_above_the_median_and_a_sixth_beyond_one_sigma() -> None:
    made = distribution({"distribution": "lognormal", "median": "16KiB", "sigma": 1.0})
    sizes = [made.octets(index, DRAWS) for index in range(4000)]
    assert abs(sum(size > 16384 for size in sizes) - 2000) < 130  # four deviations
    assert abs(sum(size > 16384 * 2.718281828 for size in sizes) - 4000 * 0.158655) < 95


def test_lognormal_sizes_are_the_same_on_every_machine() -> None:
    made = distribution({"distribution": "lognormal", "median": "16KiB", "sigma": 1.5})
    assert [made.octets(index, DRAWS) for index in range(6)] == [18159, 8514, 2961, 2301, 33743, 15214]


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ("16", "workload.size", "'16' has no unit"),
        (16384, "workload.size", "16384 has no unit"),
        ("16XB", "workload.size", "unknown unit 'XB'"),
        ("100B", "workload.size", "100B is too small"),
        ("unifrom", "workload.size", "did you mean 'uniform'?"),
        (None, "workload.size", "None is not a size"),
        ("uniform", "workload.size", "needs the parameter 'min'"),
        ({"min": "1KiB"}, "workload.size", "expected the name of a message size, or {distribution: NAME"),
        ({"distribution": "uniform", "min": "2KiB", "max": "1KiB"}, "workload.size.max", "1024B is less than min"),
        ({"distribution": "choice", "sizes": []}, "workload.size.sizes", "at least one"),
        ({"distribution": "choice", "sizes": ["1KiB", "1B"]}, "workload.size.sizes[1]", "too small"),
        ({"distribution": "lognormal", "median": "1KiB", "sigma": -1.0}, "workload.size.sigma", "not from 0 to 4"),
        ({"distribution": "lognormal", "median": "1KiB", "min": "2KiB"}, "workload.size.median", "outside min"),
    ],
)
def test_an_impossible_size_is_refused_where_it_stands(value: object, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MESSAGE_SIZES.spec(value, "workload.size")
    assert caught.value.key == key
    assert words in caught.value.message
