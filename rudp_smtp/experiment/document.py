"""A scenario as plain data that remembers where each value was written, and the problems found in it."""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import nearest, tell

KeyPath = tuple[str | int, ...]

# What a bare value stands for when a dotted key reaches below it: `transport.congestion: cubic` holds a `model`.
_BARE_FIELDS = {"rate": "value", "queue": "discipline", "transport": "name", "workload": "name"}
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_DIRECTIONS = ("forward", "reverse")


def dotted(path: KeyPath) -> str:
    """("network", "loss", 2) as a person writes it: network.loss[2]."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def steps(key: str) -> KeyPath:
    """The inverse of `dotted`."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(key))


def concrete(key: str) -> list[KeyPath]:
    """The places a dotted key means: `network.both` is both directions."""
    path = steps(key)
    if path[:2] != ("network", "both"):
        return [path]
    return [("network", direction, *path[2:]) for direction in _DIRECTIONS]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: in a file's line, or as `--set`."""

    source: str  # file name, or --set
    line: int  # 0: no file
    key: str  # as it was written, which need not be where it applies (`network.both`, `vary`)
    folder: Path  # relative paths in the value begin here
    axis: str = ""  # the varied key it is a value of

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(slots=True)
class Tree:
    """A YAML value and the place of each of its parts, by path from its own root."""

    value: object
    places: dict[KeyPath, Place]

    def copy(self) -> "Tree":
        return Tree(deepcopy(self.value), dict(self.places))

    def get(self, *path: str | int) -> object:
        """The value at `path`, None when there is none."""
        node = self.value
        for step in path:
            if isinstance(node, list) and isinstance(step, int):
                node = node[step]
            else:
                node = node.get(step) if isinstance(node, Mapping) else None
        return node

    def subtree(self, *path: str | int) -> "Tree":
        depth = len(path)
        return Tree(self.get(*path), {key[depth:]: place for key, place in self.places.items() if key[:depth] == path})

    def only(self, keys: tuple[str, ...]) -> "Tree":
        """The same mapping with none but these keys."""
        assert isinstance(self.value, dict)
        value = {key: value for key, value in self.value.items() if key in keys}
        return Tree(value, {path: place for path, place in self.places.items() if not path or path[0] in keys})

    def locate(self, path: KeyPath) -> Place:
        """Where `path` was written; for what is missing, where its parent was, with the rest of the key."""
        for depth in range(len(path), -1, -1):
            place = self.places.get(path[:depth])
            if place is not None:
                rest = dotted(path[depth:])
                key = place.key + ("" if rest.startswith("[") or not rest or not place.key else ".") + rest
                return Place(place.source, place.line, key, place.folder, place.axis)
        raise AssertionError("a tree without a root")

    def remove(self, path: KeyPath) -> None:
        node = self.get(*map(str, path[:-1]))
        if isinstance(node, dict):
            node.pop(path[-1], None)
        self.places = {key: place for key, place in self.places.items() if key[: len(path)] != path}

    def assign(self, path: KeyPath, new: "Tree", made_by: Place) -> None:
        """Put `new` at `path`. Mappings that have to be made on the way count as written by `made_by`."""
        assert isinstance(self.value, dict)
        self.remove(path)
        node: dict[str, object] = self.value
        for depth, step in enumerate(map(str, path[:-1]), 1):
            child = node.get(step)
            if not isinstance(child, dict):
                child = {} if child is None else {_BARE_FIELDS.get(step, "model"): child}
                node[step] = child
                self.places.setdefault(path[:depth], made_by)
            node = child
        node[str(path[-1])] = deepcopy(new.value)
        self.places.update({(*path, *key): place for key, place in new.places.items()})


@dataclass(slots=True)
class Problems:
    """Everything wrong with a scenario, each once, in the file's order."""

    _found: dict[tuple[Place, str], None] = field(default_factory=dict)

    def add(self, place: Place, message: str) -> None:
        self._found[place, message] = None

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """One line per problem in one ConfigError; its key is the first problem's."""
        found = list(_merge_axes(self._found))
        if not found:
            return
        found.sort(key=lambda problem: (not problem[0].line, problem[0].line))
        lines = [f"{place}: {place.key}: {text}" if place.key else f"{place}: {text}" for place, text in found]
        raise ConfigError("\n".join(dict.fromkeys(lines)), key=found[0][0].key)


def expand_both(tree: Tree, problems: Problems) -> None:
    """Write `network.both` out as two equal directions, so that each can be changed alone."""
    network = tree.get("network")
    if not isinstance(network, Mapping):
        if ("network",) in tree.places:
            text = f"{tell(network)} is not a mapping; expected the key 'both', or 'forward' and 'reverse'"
            problems.add(tree.locate(("network",)), text)
        return
    for key in network:
        if key == "events":
            continue
        if key not in ("both", *_DIRECTIONS):
            problems.add(tree.locate(("network", key)), unknown_key(key, ("both", *_DIRECTIONS, "events")))
        elif key != "both" and "both" in network:
            text = f"{key!r} beside 'both'; expected 'both', or 'forward' and 'reverse'"
            problems.add(tree.locate(("network", key)), text)
    if not network:
        problems.add(tree.locate(("network",)), "needs the key 'both', or 'forward' and 'reverse'")
    if "both" in network:
        both = tree.subtree("network", "both")
        tree.remove(("network", "both"))
        for direction in _DIRECTIONS:
            tree.assign(("network", direction), both, both.places[()])


def unknown_key(name: str, known: tuple[str, ...]) -> str:
    return f"unknown key {name!r}; {nearest(name, known)}"


def _merge_axes(found: Iterable[tuple[Place, str]]) -> Iterable[tuple[Place, str]]:
    """What is wrong with every value of a varied key alike is wrong with the key: say it once."""
    found = list(found)
    same: dict[tuple[str, str], set[str]] = {}
    for place, text in found:
        same.setdefault((place.axis, text), set()).add(place.key)
    for place, text in found:
        if place.axis and len(same[place.axis, text]) > 1:
            place = Place(place.source, place.line, place.axis, place.folder)
        yield place, text
