"""The JSON Schema takes every scenario there is, and refuses what an editor should underline."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rudp_smtp.experiment.__main__ import main
from rudp_smtp.experiment.json_schema import scenario_schema
from tests.experiment.test_scenario import BASE, load

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted([*(ROOT / "configs").glob("*.yaml"), *(ROOT / "experiments").glob("*/*.yaml")])
SCHEMA = scenario_schema()
KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def takes(schema: dict[str, Any], value: Any) -> bool:
    """As much of a validator as the schema needs."""
    if "$ref" in schema:
        return takes(SCHEMA["$defs"]["link"], value)
    if "anyOf" in schema and not any(takes(option, value) for option in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kind = schema.get("type")
    if kind and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return False
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return False
    if "minimum" in schema and not schema["minimum"] <= value <= schema["maximum"]:
        return False
    if isinstance(value, list) and "items" in schema:
        return all(takes(schema["items"], item) for item in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if not set(schema.get("required", ())) <= set(value):
            return False
        if schema.get("additionalProperties") is False and not set(value) <= set(known):
            return False
        return all(takes(known[key], item) for key, item in value.items() if key in known)
    return True


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_it_takes_every_scenario_there_is(path: Path) -> None:
    assert takes(SCHEMA, yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("name: base", "nmae: base"),
        ("20ms", "20"),
        ("20mbit", "20"),
        ("p: 10%", "p: 130"),
        ("model: random", "model: randmo"),
        ("p: 10%", "q: 10%"),
        ("{name: rudp}", "{name: rudp, congestion: cubik}"),
        ("messages: 2", "messages: two"),
        ("workload:", "wokload:"),
        ("  both:", "  events: [{at: 1s, blackhole: 3}]\n  both:"),
    ],
)
def test_it_refuses_what_is_no_scenario(good: str, bad: str) -> None:
    assert takes(SCHEMA, yaml.safe_load(BASE))
    assert good in BASE
    assert not takes(SCHEMA, yaml.safe_load(BASE.replace(good, bad)))


RULE = """\
    match:
      - {frame: ack, larger: 100B, smaller: 1kB, nth: 3, action: drop}
      - {contains: MAIL, transmission: 2, protocol: udp, source_port: 2525, destination_port: 2525, action: corrupt}
      - {field: RUDP.type, equals: INITIAL, action: duplicate}
      - {field: IP.ttl, not: 64, at_least: 3, at_most: 99, every: 2, action: delay, delay: 5ms}
    corrupt: {probability: 1%, max_burst: 3}
"""


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("protocol: udp", "protocol: udq"),
        ("transmission: 2", "transmission: second"),
        ("source_port", "sauce_port"),
        ("not: 64", "not: [64]"),
        ("at_most: 99", "at_most: many"),
        ("action: corrupt", "action: corrode"),
        ("max_burst: 3", "max_burst: three"),
    ],
)
def test_it_knows_what_match_rules_and_bursts_may_say(tmp_path: Path, good: str, bad: str) -> None:
    text = BASE.replace("    rate:", f"{RULE}    rate:").replace("p: 10%", "p: 10%, max_burst: 3")
    assert takes(SCHEMA, yaml.safe_load(text))
    assert load(tmp_path, text).cells
    assert good in text
    assert not takes(SCHEMA, yaml.safe_load(text.replace(good, bad)))


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--schema"])
    assert stopped.value.code in (0, None)
    assert json.loads(capsys.readouterr().out) == SCHEMA
