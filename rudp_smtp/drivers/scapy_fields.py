"""Tests of any field of any layer that scapy dissects. Import it where a rule has one, and not before.

A field is called as in scapy: its layer's class, a dot, its own name. A packet passes if it has the layer, be it
within another (RUDPStream in RUDP), and the field there is as the test says; of several layers of the kind one
suffices, but for `differs` none may be equal. Several tests of one kind of layer are about one and the same layer.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

from scapy.config import conf
from scapy.fields import FieldListField, FlagsField, PacketField, StrField
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import NoPayload, Packet

from rudp_smtp.drivers.scapy_layer import RUDP
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import FieldTest
from rudp_smtp.registry import nearest

Dissected: TypeAlias = Packet

LISTED_MAX = 30  # names in a message
_NUMBERS = "BbHhIiQqLl"  # struct's letters for whole numbers


class _Wire(Packet):
    """What no header is around. Not IP itself, because what scapy cannot dissect is Raw from the second layer on."""

    name = "wire"
    fields_desc = []  # noqa: RUF012 (scapy's convention)

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        return IPv6 if payload[:1] and payload[0] >> 4 == 6 else IP


@dataclass(frozen=True, slots=True)
class _Test:
    """The test in the field's own values."""

    layer: type[Packet]
    name: str
    equals: object
    differs: object
    at_least: int | None
    at_most: int | None

    def holds(self, value: object) -> bool:
        if self.equals is not None and value != self.equals:
            return False
        if self.at_least is None and self.at_most is None:
            return True
        assert isinstance(value, int), "bounds are for numbers"
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


def dissect(packet: bytes, datagram: bytes | None) -> Dissected:
    """A whole IP packet; `datagram` is what of it is certainly ours, on whatever port."""
    dissected = _Wire(packet)
    if datagram is not None and RUDP not in dissected and UDP in dissected:
        udp = dissected[UDP]
        udp.remove_payload()
        udp.add_payload(RUDP(datagram))
    return dissected


def passes(packet: Dissected, asked: tuple[FieldTest, ...]) -> bool:
    """Whether it does; whatever the packet's octets are, nothing raises."""
    by_layer: dict[type[Packet], list[_Test]] = {}
    for test in map(prepare, asked):
        by_layer.setdefault(test.layer, []).append(test)
    layers = list(_layers(packet))
    return all(
        _is_found([layer for layer in layers if isinstance(layer, kind)], tests) for kind, tests in by_layer.items()
    )


def _is_found(layers: list[Packet], tests: list[_Test]) -> bool:
    """Whether one of the layers passes all the tests; a single `differs` is about all of them."""
    if len(tests) == 1:
        (test,) = tests
        return _holds(test, [value for layer in layers for value in _values(layer, test.name)])
    return any(all(_holds(test, list(_values(layer, test.name))) for test in tests) for layer in layers)


def _holds(test: _Test, values: list[object]) -> bool:
    if test.differs is not None and test.differs in values:
        return False
    return any(test.holds(value) for value in values)


@cache
def prepare(asked: FieldTest) -> _Test:
    """Raises ConfigError, with the key, for what no packet could pass."""
    layer_name, _, name = asked.name.rpartition(".")
    layer = _layer(layer_name, asked.name)
    field = _field(layer, name)
    return _Test(
        layer,
        name,
        _wanted(field, asked.equals, "equals", asked.name),
        _wanted(field, asked.differs, "not", asked.name),
        _bound(field, asked.at_least, "at_least", asked.name),
        _bound(field, asked.at_most, "at_most", asked.name),
    )


def _layers(packet: Packet) -> Iterator[Packet]:
    """The packet's layers, and those in their fields."""
    waiting = [packet]
    while waiting:
        layer = waiting.pop()
        yield layer
        if not isinstance(layer.payload, NoPayload):
            waiting.append(layer.payload)
        for value in layer.fields.values():
            items = value if isinstance(value, list) else [value]
            waiting += [item for item in items if isinstance(item, Packet)]


def _values(layer: Packet, name: str) -> Iterator[object]:
    """What was read into the field: nothing, where it depends on another and is not there."""
    if name not in layer.fields:
        return
    value: Any = layer.fields[name]
    for item in value if isinstance(value, list) else [value]:
        yield int(item) if hasattr(item, "__int__") else item


def _layer(name: str, whole: str) -> type[Packet]:
    if not name:
        text = f"{whole!r} names no layer; expected such as IP.ttl, RUDP.packet_number or RUDPStream.offset"
        raise ConfigError(text, key="field")
    if name not in _known():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some layers complain of what they find installed
            import_module("scapy.layers.all")
    known = _known()
    if name not in known:
        raise ConfigError(f"unknown layer {name!r}; {_nearest(name, known)}", key="field")
    return known[name]


def _known() -> dict[str, type[Packet]]:
    """Layers by name; where there are two, the one that was there first."""
    return {layer.__name__: layer for layer in reversed(list(conf.layers)) if not layer.__name__.startswith("_")}


def _field(layer: type[Packet], name: str) -> Any:
    fields = {field.name: field for field in layer.fields_desc}
    if name not in fields:
        raise ConfigError(f"{layer.__name__} has no field {name!r}; {_nearest(name, fields)}", key="field")
    field: Any = fields[name]
    while (inner := getattr(field, "fld", None) or getattr(field, "dflt", None)) is not None:
        field = inner  # one that is there or not, or is another, depending on others
    if isinstance(field, FieldListField):
        return field.field
    if field.islist or isinstance(field, PacketField):
        text = f"{layer.__name__}.{name} holds several values; expected a field with one"
        raise ConfigError(text, key="field")
    return field


def _nearest(name: str, known: Iterable[object]) -> str:
    """As `registry.nearest`, but what exists is not listed where it is a thousand things."""
    names = tuple(map(str, known))
    if 0 < len(names) <= LISTED_MAX:
        return nearest(name, names)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "expected one that scapy has"


def _is_number(field: Any) -> bool:
    return not isinstance(field, StrField) and field.fmt[-1:] in _NUMBERS


def _wanted(field: Any, given: int | str | None, key: str, name: str) -> object:
    """The value as a dissected packet has it."""
    if given is None:
        return None
    if isinstance(given, str) and isinstance(field, FlagsField):
        return _flags(field, given, key, name)
    if isinstance(given, str) and getattr(field, "s2i", None):
        if given not in field.s2i:
            raise ConfigError(f"{given!r} is no {name}; {_nearest(given, field.s2i)}", key=key)
        return field.s2i[given]
    if _is_number(field) != isinstance(given, int):
        expected = "a whole number" if _is_number(field) else "text, in quotes if it looks like a number"
        raise ConfigError(f"expected {expected}, as {name} is, got {given!r}", key=key)
    return given.encode() if isinstance(given, str) and isinstance(field, StrField) else given


def _flags(field: FlagsField, given: str, key: str, name: str) -> int:
    """Exactly these: letters, or words with + between (SA of TCP.flags, DF+MF of IP.flags)."""
    names = list(field.names)
    is_words = any(len(flag) > 1 for flag in names)
    flags = given.split("+") if is_words else list(given)
    if not flags or not set(flags) <= set(names):
        known = "+".join(names) if is_words else "".join(names)
        raise ConfigError(f"{given!r} are no flags of {name}; expected some of {known}", key=key)
    return sum(1 << names.index(flag) for flag in set(flags))


def _bound(field: Any, given: int | None, key: str, name: str) -> int | None:
    if given is not None and not _is_number(field):
        raise ConfigError(f"{name} is no number; expected 'equals' or 'not'", key=key)
    return given
