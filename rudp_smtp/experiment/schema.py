"""The fixed part of a scenario file: which keys there are, read by pydantic from the very dataclasses they end in.

A frozen dataclass whose annotations wear units (`units`) or name a folder of plug-ins (`registry`) is all that a
section needs: `read` makes the value, `describe` says it again with every default and unit written out.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.document import KeyPath, Problems, Tree, dotted, steps, unknown_key
from rudp_smtp.experiment.events import LINK_KEYS, Change, Event, looked_up
from rudp_smtp.experiment.executor import read_executor
from rudp_smtp.experiment.inspection import FRAME_NAMES
from rudp_smtp.experiment.scenario import Configuration, Limits, Rival
from rudp_smtp.link.config import LinkConfig, MatchRule, RateConfig
from rudp_smtp.registry import UNSAID, Registry, Spec, describe_value, nearest, tell
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.units import PARSERS
from rudp_smtp.workload import WORKLOADS

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SHORTHAND: dict[type, str] = {RateConfig: "value"}  # `rate: 20mbit` is {value: 20mbit}
MAX_SEED = 2**63 - 1
MAX_REPLICATIONS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Both directions; `both` has been written out by then."""

    forward: LinkConfig
    reverse: LinkConfig
    events: tuple[Event, ...] = field(default=(), metadata=UNSAID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The baseline's varied keys with a value each, and the metric."""

    baseline: dict[str, object]
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What holds for every run of the scenario."""

    schema: Literal[1]
    name: str
    description: str = ""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 1
    replications: Annotated[int, Field(ge=1, le=MAX_REPLICATIONS)] = 30
    driver: Literal["sim", "udp", "netns"] = "sim"
    vary: dict[str, list[object]] | None = None
    compare: Comparison | None = None
    executor: str = "local"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} names no folder of results; expected letters, digits, '.', '_' and '-'", key="name"
            )
        read_executor(self.executor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a run runs; any key below may be varied."""

    network: Network
    transport: Annotated[Spec, TRANSPORTS]
    workload: Annotated[Spec, WORKLOADS]
    limits: Limits = field(default_factory=Limits)
    rival: Rival | None = None
    host_seed: int | None = field(default=None, metadata=UNSAID)

    def __post_init__(self) -> None:
        if self.host_seed is not None and not 0 <= self.host_seed <= MAX_SEED:
            raise ConfigError(f"{self.host_seed} is out of range; expected at most {MAX_SEED}", key="host_seed")


HEADER_KEYS = tuple(item.name for item in fields(Header))
BODY_KEYS = tuple(item.name for item in fields(Body))


def read(cls: type[T], tree: Tree, problems: Problems) -> T | None:
    """The mapping in `tree` as a `cls`, or None with what is wrong added to `problems`."""
    try:
        section: T = _adapter(cls).validate_python(tree.value)  # type: ignore[arg-type] # a class is hashable
        return section
    except ValidationError as error:
        for details in error.errors(include_url=False):
            path, text = _explain(details, cls)
            problems.add(tree.locate(path), text)
        return None


def read_header(tree: Tree, problems: Problems) -> Header | None:
    """The part that is not varied; keys that are nowhere in a scenario are found here."""
    assert isinstance(tree.value, dict)
    known = (*HEADER_KEYS, *BODY_KEYS)
    for key in tree.value:
        if key not in known:
            problems.add(tree.locate((key,)), unknown_key(key, known))
    return read(Header, tree.only(HEADER_KEYS), problems)


def read_configuration(tree: Tree, problems: Problems) -> tuple[Configuration, dict[str, object]] | None:
    """One cell of the grid: what it runs, and the same as a scenario says it."""
    _hoist_where(tree, problems)
    body = read(Body, tree.only(BODY_KEYS), problems)
    if body is None:
        return None
    network = body.network
    document = describe(body)
    if body.rival is None:
        del document["rival"]  # a run without one keeps its key
    for link in ("forward", "reverse"):
        _sink_where(document, link)
    for direction, config in (("forward", network.forward), ("reverse", network.reverse)):
        _check_rules(config.match, tree, ("network", direction, "match"), problems)
    changes = _ChangeReader(tree, document, problems).read(network.events)
    configuration = Configuration(
        forward=network.forward,
        reverse=network.reverse,
        transport=body.transport,
        workload=body.workload,
        limits=body.limits,
        rival=body.rival,
        events=changes,
        host_seed=body.host_seed,
    )
    return configuration, document


def describe(value: object) -> dict[str, object]:
    """A section the way a scenario says it, everything explicit: two that mean the same are equal."""
    assert is_dataclass(value)
    hints = get_type_hints(type(value), include_extras=True)
    described: dict[str, object] = {}
    for item in fields(value):
        given, hint = getattr(value, item.name), hints[item.name]
        if item.metadata.get("unsaid") and given == item.default:
            continue
        is_section = is_dataclass(given) and not isinstance(given, Spec)
        described[_key(item)] = describe(given) if is_section else _describe_plain(given, hint)
    return described


def _describe_plain(given: object, hint: object) -> object:
    if isinstance(given, tuple) and given and is_dataclass(given[0]):
        return [describe(item) for item in given]
    return dict(given) if isinstance(given, dict) else describe_value(given, hint)


def _check_rules(rules: tuple[MatchRule, ...], tree: Tree, path: KeyPath, problems: Problems) -> None:
    """A link knows neither our frames' names nor scapy's fields."""
    for number, rule in enumerate(rules):
        if rule.frame is not None and rule.frame not in FRAME_NAMES:
            text = f"unknown frame {rule.frame!r}; {nearest(rule.frame, FRAME_NAMES)}"
            problems.add(tree.locate((*path, number, "frame")), text)
        for place, test in enumerate(rule.tests, start=len(rule.fields) - len(rule.tests)):
            from rudp_smtp.drivers.scapy_fields import prepare  # takes a second, which only such a rule is worth

            inside = () if place < 0 else ("fields", place)  # the rule's own is before those it lists
            try:
                prepare(test)
            except ConfigError as error:
                problems.add(tree.locate((*path, number, *inside, error.key)), error.message)


class _ChangeReader:
    """Reads `set` of each event by writing it into its directions and reading those again."""

    def __init__(self, tree: Tree, document: dict[str, object], problems: Problems) -> None:
        self._tree = tree
        self._document = document
        self._problems = problems
        self._together = {direction: tree.copy() for direction in ("forward", "reverse")}
        self._keys: dict[str, dict[str, None]] = {"forward": {}, "reverse": {}}  # set so far

    def read(self, events: tuple[Event, ...]) -> tuple[Change, ...]:
        changes = []
        for place, event in enumerate(events):
            settings: dict[tuple[str, ...], object] = {} if event.mtu is None else {("mtu",): event.mtu}
            for key in event.set or {}:
                for direction in event.directions:
                    settings |= self._setting(place, key, direction)
            changes.append(Change(event, tuple(settings.items())))
        for direction, changed in self._together.items():
            if events and not self._problems:
                read(LinkConfig, changed.subtree("network", direction), self._problems)
        return tuple(changes)

    def _setting(self, event: int, key: str, direction: str) -> dict[tuple[str, ...], object]:
        """One key of one direction: its path and its value in inside units, or nothing if it is refused."""
        path = tuple(map(str, steps(key)))
        given = ("network", "events", event, "set", key)
        where = self._tree.locate(given)
        undone = next((other for other in self._keys[direction] if _overlap(other, key)), None)
        if dotted(path) != key or path[0] not in LINK_KEYS or path[0] == "where":
            known = tuple(name for name in LINK_KEYS if name != "where")
            self._problems.add(where, f"{key!r} is no key of a link; {nearest(key, known)}")
            return {}
        if undone is not None:
            self._problems.add(where, f"would undo {undone!r}; expected only one of them in all events")
            return {}
        self._keys[direction][key] = None
        value = Tree(self._tree.get(*given), {(): where})
        alone = self._tree.copy()
        for changed in (alone, self._together[direction]):
            changed.assign(("network", direction, *path), value, where)
        link = read(LinkConfig, alone.subtree("network", direction), self._problems)
        if link is None:
            return {}
        if key == "match":
            _check_rules(link.match, self._tree, given, self._problems)
        self._print(event, key, describe(link))
        return {path: looked_up(link, path)}

    def _print(self, event: int, key: str, link: dict[str, object]) -> None:
        """Say a setting in the one way it is said, so that runs that mean the same have the same key."""
        printed: Any = link
        for step in steps(key):
            printed = printed.get(step)
        network: Any = self._document["network"]
        network["events"][event]["set"][key] = printed


def _overlap(one: str, other: str) -> bool:
    return one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _hoist_where(tree: Tree, problems: Problems) -> None:
    """A file says `where` inside the loss it belongs to; LinkConfig keeps it beside the model it knows nothing of."""
    for direction in ("forward", "reverse"):
        link = ("network", direction)
        if tree.get(*link, "where") is not None:
            text = "'where' belongs to the loss; expected loss: {model: NAME, where: egress}"
            problems.add(tree.locate((*link, "where")), text)
        where = tree.subtree(*link, "loss", "where")
        if where.value is not None:
            tree.remove((*link, "loss", "where"))
            tree.assign((*link, "where"), where, where.places[()])


def _sink_where(document: dict[str, object], direction: str) -> None:
    network = document["network"]
    assert isinstance(network, dict)
    link = network[direction]
    where = link.pop("where")
    if link["loss"] is not None:
        link["loss"]["where"] = where


@cache
def _adapter(cls: Hashable) -> TypeAdapter[Any]:
    assert isinstance(cls, type)
    return TypeAdapter(_section(cls))


def _section(cls: type) -> Any:
    """A dataclass as pydantic obeys it: no unknown keys, no coercion, and the class's own last word."""
    hints = get_type_hints(cls, include_extras=True)
    keys = {
        # An alias, because a field may not be called `schema`; None is never used: the class fills its own defaults.
        f"{item.name}_": (_translate(hints[item.name]), Field(... if _is_needed(item) else None, alias=_key(item)))
        for item in fields(cls)
    }
    config = ConfigDict(extra="forbid", strict=True)
    model: type[BaseModel] = create_model(cls.__name__, __config__=config, **keys)  # type: ignore[call-overload]

    def make(section: BaseModel) -> object:
        return cls(**{name.removesuffix("_"): getattr(section, name) for name in section.model_fields_set})

    def expand(value: object) -> object:
        is_bare = cls in SHORTHAND and value is not None and not isinstance(value, Mapping | list)
        return {SHORTHAND[cls]: value} if is_bare else value

    return Annotated[model, BeforeValidator(expand), AfterValidator(_refusing(make))]


def _key(item: Any) -> str:
    """A field as a file calls it: `for` is no name in Python."""
    name: str = item.name
    return name.removesuffix("_")


def _is_needed(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _translate(hint: Any) -> Any:
    """An annotation of ours as one of pydantic's."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return Union[tuple(_translate(option) for option in get_args(hint))]  # noqa: UP007 (made of a tuple)
    if origin is Annotated:
        mark = get_args(hint)[1]
        if isinstance(mark, Registry):
            return Annotated[Spec, PlainValidator(_refusing(mark.spec))]
        return Annotated[int, PlainValidator(_refusing(PARSERS[mark]))] if isinstance(mark, str) else hint
    if origin is tuple:
        items: Any = tuple[_translate(get_args(hint)[0]), ...]  # type: ignore[misc] # made at run time
        return Annotated[items, BeforeValidator(_tuple)]
    return _section(hint) if isinstance(hint, type) and is_dataclass(hint) else hint


def _tuple(value: object) -> object:
    """A list of a file as the tuple a frozen section holds."""
    return tuple(value) if isinstance(value, list) else value


def _refusing(convert: Callable[[Any], object]) -> Callable[[object], object]:
    """Let pydantic collect our refusals with its own."""

    def validate(value: object) -> object:
        try:
            return convert(value)
        except ConfigError as error:
            raise PydanticCustomError("refused", "{text}", {"text": error.message, "key": error.key}) from None

    return validate


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list of values",
    "tuple_type": "a list of values",
    "dict_type": "a mapping of keys",
}


def _explain(error: ErrorDetails, cls: type) -> tuple[KeyPath, str]:
    """Where, and one of our sentences: what is wrong, what was expected, the nearest name."""
    path, kind, given, context = error["loc"], error["type"], error["input"], error.get("ctx", {})
    if kind == "refused":
        return (*path, *steps(context["key"])), context["text"]
    if kind == "missing":
        return path[:-1], f"needs the key {path[-1]!r}"
    if kind == "extra_forbidden":
        return path, unknown_key(str(path[-1]), tuple(_keys(_hint_at(cls, path[:-1]))))
    hint = _hint_at(cls, path)
    if kind == "model_type":
        return path, f"{tell(given)} is not a mapping; expected the keys {', '.join(_keys(hint))}"
    if kind == "literal_error":
        return path, f"{path[-1]} {tell(given)} does not exist; {nearest(str(given), tuple(map(str, get_args(hint))))}"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return path, f"{tell(given)} is out of range; expected {bound}"
    if kind in _EXPECTED:
        return path, f"expected {_EXPECTED[kind]}, got {tell(given)}"
    return path, f"{tell(given)}: {error['msg']}"


def _keys(hint: Any) -> list[str]:
    """A section's keys as a file gives them."""
    return [_key(item) for item in fields(hint) if item.name != "where"]


def _hint_at(cls: type, path: KeyPath) -> Any:
    """The bare type that a path through sections leads to."""
    hint: Any = cls
    for step in path:
        if is_dataclass(hint):
            hints = get_type_hints(hint)
            hint = hints[str(step)] if str(step) in hints else hints[f"{step}_"]
        else:
            hint = get_args(hint)[0] if get_origin(hint) is tuple else None
        if get_origin(hint) in (Union, UnionType):
            hint = next(option for option in get_args(hint) if option is not type(None))
    return hint
