"""The scenario file's JSON Schema, for editors: read from the same dataclasses and plug-ins that check a scenario.

It knows keys, kinds, units and names. What depends on two keys at once is for `load_scenario` to say.
"""

from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from rudp_smtp.experiment.inline import FILE_KEYS
from rudp_smtp.experiment.inspection import FRAME_NAMES
from rudp_smtp.experiment.schema import SHORTHAND, Body, Header, Network
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.loss import LOSS_MODELS
from rudp_smtp.registry import Registry

Schema = dict[str, Any]

_NUMBER = r"^\s*[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*"
_UNITS: dict[str, Schema] = {
    "duration": {"type": "string", "pattern": _NUMBER + r"(ns|us|ms|s|min)\s*$"},
    "size": {"type": "string", "pattern": _NUMBER + r"(B|kB|MB|GB|KiB|MiB|GiB)\s*$"},
    "rate": {"type": "string", "pattern": _NUMBER + r"(bit|kbit|mbit|gbit)\s*$"},
    "probability": {
        "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": _NUMBER + r"%?\s*$"}]
    },
}
_PLAIN: dict[Any, Schema] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
}


def scenario_schema() -> Schema:
    """Draft 2020-12."""
    header, body = _section(Header), _section(Body)
    link = {"$ref": "#/$defs/link"}
    network = _section(Network)
    network["properties"] |= {"both": link, "forward": link, "reverse": link}
    del network["required"]
    body["properties"]["network"] = network
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rudp_smtp scenario",
        "type": "object",
        "properties": {"extends": {"type": "string"}, **header["properties"], **body["properties"]},
        "additionalProperties": False,
        "anyOf": [{"required": [*header["required"], *body["required"]]}, {"required": ["extends", "name"]}],
        "$defs": {"link": _link()},
    }


def _link() -> Schema:
    """A file says `where` inside the loss it belongs to."""
    link = _section(LinkConfig)
    del link["properties"]["where"]
    return link


def _section(cls: type) -> Schema:
    hints = get_type_hints(cls, include_extras=True)
    needed, properties = [], {}
    for item in fields(cls):
        key = item.name.removesuffix("_")
        properties[key] = _value(hints[item.name], key)
        if item.default is MISSING and item.default_factory is MISSING:
            needed.append(key)
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _value(hint: Any, key: str) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if key == "frame" and hint is str:
        return {"enum": list(FRAME_NAMES)}
    if origin in (Union, UnionType):
        return {"anyOf": [_value(option, key) for option in arguments]}
    if hint is type(None):
        return {"type": "null"}
    if origin is Annotated:
        mark = arguments[1]
        if isinstance(mark, Registry):
            return _plugin(mark)
        return _UNITS[mark] if isinstance(mark, str) else _value(arguments[0], key)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        listed = {"type": "array", "items": _value(arguments[0], key)}
        return {"anyOf": [listed, {"type": "string"}]} if key in FILE_KEYS else listed
    if origin is list:
        return {"type": "array"}
    if origin is dict:
        return {"type": "object"}
    if is_dataclass(hint) and isinstance(hint, type):
        section = _section(hint)
        return {"anyOf": [section, section["properties"][SHORTHAND[hint]]]} if hint in SHORTHAND else section
    return _PLAIN[hint]


def _plugin(registry: Registry[Any]) -> Schema:
    """By name, or with parameters; where a bare value has a meaning, by that."""
    options: list[Schema] = [{"enum": list(registry.names())}]
    for name in registry.names():
        hints = get_type_hints(registry.load(name).__init__, include_extras=True)
        parameters = registry.parameters(name)
        properties = {key: _value(hints[key], key) for key in parameters}
        properties[registry.selector] = {"const": name}
        if registry is LOSS_MODELS:
            properties["where"] = {"enum": ["ingress", "egress"]}
        needed = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
        options.append(
            {
                "type": "object",
                "properties": properties,
                "required": [registry.selector, *needed],
                "additionalProperties": False,
            }
        )
        if registry.shorthand is not None and registry.shorthand[0] == name:
            options.append(properties[registry.shorthand[1]])
    return {"anyOf": options}
