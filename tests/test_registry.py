"""The registry, on the folder tests/flowers."""

import pickle

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import Spec
from tests.flowers import BOUQUETS, FLOWERS
from tests.flowers.orchid.plant import Orchid
from tests.flowers.rose import Rose
from tests.flowers.tulip import Tulip


def refusal(value: object, key: str = "bed.flower") -> tuple[str, str]:
    """The key and the message a scenario's author is shown."""
    with pytest.raises(ConfigError) as refused:
        FLOWERS.spec(value, key)
    return refused.value.key, refused.value.message


def test_the_names_are_those_of_the_files_and_folders_without_importing_them() -> None:
    assert FLOWERS.names() == ("orchid", "poppy", "rose", "tulip")


def test_a_name_stands_for_the_class_in_its_file() -> None:
    assert FLOWERS.load("rose") is Rose
    assert FLOWERS.load("tulip") is Tulip


def test_the_name_of_a_folder_stands_for_the_class_it_imports() -> None:
    assert FLOWERS.load("orchid") is Orchid


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown flower 'rosa'; did you mean 'rose'\? known: orchid"):
        FLOWERS.load("rosa")
    assert refusal("zzz") == ("bed.flower", "unknown flower 'zzz'; known: orchid, poppy, rose, tulip")
    assert refusal({"model": "rosa", "height": "1B"})[0] == "bed.flower.model"


def test_a_bare_name_takes_the_defaults() -> None:
    spec = FLOWERS.spec("rose")
    assert spec == Spec("rose")
    assert FLOWERS.build(spec) == Rose()


def test_parameters_are_read_by_what_their_annotations_measure() -> None:
    spec = FLOWERS.spec(
        {
            "model": "rose",
            "height": "2kB",
            "growth": "1mbit",
            "bloom": "3s",
            "pricks": "25%",
            "thorns": 7,
            "is_wild": True,
            "colour": "white",
            "waterings": ["1ms", "2ms"],
            "beside": {"model": "tulip", "height": "9B"},
        }
    )
    assert FLOWERS.build(spec, soil="clay") == Rose(
        soil="clay",
        height=2000,
        growth=1_000_000,
        bloom=3_000_000_000,
        pricks=1 << 62,
        thorns=7,
        is_wild=True,
        colour="white",
        waterings=(1_000_000, 2_000_000),
        beside=Spec("tulip", (("height", 9),)),
    )


def test_an_optional_parameter_may_be_null() -> None:
    assert FLOWERS.build(FLOWERS.spec({"model": "rose", "bloom": None})) == Rose(bloom=None)


def test_a_spec_is_a_value_whatever_the_order_of_its_keys() -> None:
    one = FLOWERS.spec({"model": "rose", "thorns": 1, "colour": "pink"})
    other = FLOWERS.spec({"colour": "pink", "thorns": 1, "model": "rose"})
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ({"model": "rose", "hight": "2B"}, "bed.flower.hight", "has no parameter 'hight'; did you mean 'height'"),
        ({"model": "rose", "soil": "clay"}, "bed.flower.soil", "has no parameter 'soil'"),
        ({"model": "rose", 5: "clay"}, "bed.flower.5", "has no parameter 5"),
        ({"model": "rose", "height": 2}, "bed.flower.height", "has no unit"),
        ({"model": "rose", "height": None}, "bed.flower.height", "is not a size"),
        ({"model": "rose", "pricks": "130%"}, "bed.flower.pricks", "more than certain"),
        ({"model": "rose", "thorns": True}, "bed.flower.thorns", "expected a whole number, got true"),
        ({"model": "rose", "thorns": 1.0}, "bed.flower.thorns", "expected a whole number, got 1.0"),
        ({"model": "rose", "is_wild": 1}, "bed.flower.is_wild", "expected true or false, got 1"),
        ({"model": "rose", "waterings": "1ms"}, "bed.flower.waterings", "expected a list of values, got '1ms'"),
        ({"model": "rose", "waterings": ["1ms", 2]}, "bed.flower.waterings[1]", "2 has no unit"),
        ({"model": "rose", "beside": "tulp"}, "bed.flower.beside", "did you mean 'tulip'"),
        ({"model": "rose", "beside": {"model": "tulip", "height": 1}}, "bed.flower.beside.height", "has no unit"),
        ("tulip", "bed.flower", "needs the parameter 'height'"),
        ({"model": "tulip", "height": "2kB"}, "bed.flower.height", "too high for a tulip"),
        ({"height": "2kB"}, "bed.flower", "expected the name of a flower"),
        ({"model": 5}, "bed.flower", "expected the name of a flower"),
        (["rose"], "bed.flower", "expected the name of a flower"),
        (None, "bed.flower", "expected the name of a flower"),
        (5, "bed.flower", "expected the name of a flower"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_at_its_key(value: object, key: str, message: str) -> None:
    refused_key, refused_message = refusal(value)
    assert refused_key == key
    assert message in refused_message


def test_a_bare_value_may_stand_for_one_parameter_of_one_plug_in() -> None:
    assert BOUQUETS.spec("9B") == Spec("tulip", (("height", 9),))
    assert BOUQUETS.spec({"flower": "tulip", "height": "9B"}) == BOUQUETS.spec("9B")


@pytest.mark.parametrize(
    ("value", "message"),
    [(9, "has no unit"), ("9 miles", "unknown unit"), ("2kB", "too high"), ("tulp", "did you mean 'tulip'")],
)
def test_a_bare_value_that_is_wrong_is_refused_where_it_stands(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        BOUQUETS.spec(value, "vase")
    assert refused.value.key == "vase"


@pytest.mark.parametrize(
    "value",
    [
        "rose",
        "orchid",
        {"model": "tulip", "height": "64B"},
        {"model": "rose", "bloom": "90s", "pricks": 0.1, "waterings": ["1us"], "is_wild": True},
    ],
)
def test_a_description_is_complete_and_means_the_same(value: object) -> None:
    spec = FLOWERS.spec(value)
    described = FLOWERS.describe(spec)
    again = FLOWERS.spec(described)
    assert FLOWERS.describe(again) == described
    assert FLOWERS.build(again, soil="clay") == FLOWERS.build(spec, soil="clay")


def test_a_description_fills_in_the_defaults_in_a_scenario_s_words() -> None:
    described = FLOWERS.describe(FLOWERS.spec({"model": "rose", "thorns": 6}))
    assert described == {
        "model": "rose",
        "height": "100B",
        "growth": "8bit",
        "bloom": None,
        "pricks": "50%",
        "thorns": 6,
        "is_wild": False,
        "colour": "red",
        "waterings": [],
        "beside": {"model": "tulip", "height": "50B"},
    }
