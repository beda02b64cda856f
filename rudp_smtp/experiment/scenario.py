"""YAML -> Scenario (SCENARIOS.md section 3). Everything is checked and made explicit here, the whole grid included.

A problem is told as `file:line: key: what is wrong; what was expected`, and as many at once as can be found. Scalars
are read by YAML 1.2's core schema, so `no`, `010` and `1:30` are text and never a boolean, an octal or sixty-fold.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, NoReturn

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.document import KeyPath, Place, Problems, Tree, concrete, dotted, expand_both, steps
from rudp_smtp.experiment.events import Change
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.units import SECOND, Duration
from rudp_smtp.workload import WORKLOADS

MAX_FILE_BYTES = 1_000_000
MAX_RUNS = 1_000_000  # a plan is a list in memory
MAX_RIVALS = 1_000

_NULL = ("", "null", "Null", "NULL", "~")
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")  # 010 is 8 to some readers and 10 to others: text to us
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every run's budget; reaching one is a named result, not a hang."""

    time: Duration = 600 * SECOND
    events: int = 50_000_000

    def __post_init__(self) -> None:
        if self.time < 1:
            raise ConfigError("a run needs some virtual time; expected a duration such as 600s", key="time")
        if self.events < 1:
            raise ConfigError(f"{self.events} events move nothing; expected at least 1", key="events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """`count` more pairs of hosts that share the run's two links from `start` on, each pair doing all of `workload`.

    The run neither waits for them nor counts them as its own: they are what it has to get on with.
    """

    transport: Annotated[Spec, TRANSPORTS]
    workload: Annotated[Spec, WORKLOADS]
    start: Duration = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_RIVALS:
            raise ConfigError(f"{self.count} rivals; expected at least 1 and at most {MAX_RIVALS}", key="count")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What one cell of the grid runs, in inside units: all that `build` needs but the seed."""

    forward: LinkConfig  # client to server
    reverse: LinkConfig
    transport: Spec
    workload: Spec
    limits: Limits
    rival: Rival | None = None
    events: tuple[Change, ...] = ()
    host_seed: int | None = None  # of what the hosts draw, instead of the run's own


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the grid. `parameters` are the varied keys in the file's order, each with its printed value."""

    parameters: tuple[tuple[str, str], ...]
    configuration: Configuration
    document: str  # canonical JSON of what is run, from network to limits: everything explicit, units printed


@dataclass(frozen=True, slots=True)
class Axis:
    """A varied key and the printed form of its values, in the file's order."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Which cells are the baseline of a paired comparison (the varied keys it fixes), and by which metric."""

    baseline: tuple[tuple[str, str], ...]
    metric: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A checked scenario file. Cells hold the whole grid already, so a bad value anywhere is found at load."""

    name: str
    description: str
    seed: int
    replications: int
    driver: str
    executor: str  # serial | local | local:N
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]  # the product of the axes in the file's order, the last one fastest
    compare: Compare | None
    source: Path = field(compare=False)  # for messages; never in a row or a key

    def document(self) -> dict[str, object]:
        """The resolved scenario for the manifest: JSON-able, in the file's own words, no path of this machine."""
        return {
            "schema": 1,
            "name": self.name,
            "description": self.description,
            "seed": self.seed,
            "replications": self.replications,
            "driver": self.driver,
            **json.loads(self.cells[0].document),
            "vary": {axis.key: list(axis.values) for axis in self.axes},
            "compare": self.compare and {"baseline": dict(self.compare.baseline), "metric": self.compare.metric},
            "executor": self.executor,
        }


def canonical(value: object) -> str:
    """The one JSON text of a JSON-able value: what is hashed (DETERMINISM rule 6)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_setting(text: str) -> tuple[str, str]:
    """What `--set` is given: a dotted key, and YAML text."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as --set network.both.loss.p=5%")
    return key, value


def load_scenario(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> Scenario:
    """Read and check a scenario file; `overrides` are (dotted key, YAML text) pairs as `--set` gives them.

    Raises ConfigError with one line per problem.
    """
    # pydantic takes a tenth of a second to import: `--help` and the worker processes do without.
    from rudp_smtp.experiment.extends import read_extended
    from rudp_smtp.experiment.grid import read_comparison, read_grid
    from rudp_smtp.experiment.schema import read_header

    problems = Problems()
    tree = read_extended(path, problems, _read_file)
    for key, text in overrides:
        _override(tree, key, text, problems)
    problems.raise_any()
    _check_overrides(tree, overrides, problems)
    header = read_header(tree, problems)
    axes, cells = read_grid(tree, problems)
    if header and len(cells) * header.replications > MAX_RUNS:
        message = (
            f"{len(cells)} cells times {header.replications} runs are too many; expected at most {MAX_RUNS} in all"
        )
        problems.add(tree.locate(("replications",)), message)
    if header and header.driver != "sim" and any(cell.configuration.rival for cell in cells):
        problems.add(tree.locate(("rival",)), f"driver {header.driver} moves one pair of hosts; expected driver: sim")
    if header and header.driver != "sim" and any(_hops(cell) > 1 for cell in cells):
        text = f"driver {header.driver} moves one pair of hosts; expected driver: sim"
        problems.add(tree.locate(("workload", "hops")), text)
    if header and header.driver != "sim":
        _check_ceilings(header.driver, cells, tree, problems)
    if header:
        _check_kernel(header.driver, cells, tree, problems)
    comparison = header.compare if header and not problems else None  # an unread axis has no values to compare
    compare = read_comparison(comparison, axes, tree, problems) if comparison else None
    problems.raise_any()
    assert header is not None, "no header without a problem"
    return Scenario(
        name=header.name,
        description=header.description,
        seed=header.seed,
        replications=header.replications,
        driver=header.driver,
        executor=header.executor,
        axes=axes,
        cells=cells,
        compare=compare,
        source=path,
    )


def _hops(cell: Cell) -> int:
    return WORKLOADS.build(cell.configuration.workload).hops


def _check_ceilings(driver: str, cells: Sequence[Cell], tree: Tree, problems: Problems) -> None:
    from rudp_smtp.experiment.live import ceilings

    found: dict[str, str] = {}
    for cell in cells:
        configuration = cell.configuration
        found |= dict(ceilings(configuration.forward, configuration.reverse, configuration.events))
    for direction, text in found.items():
        problems.add(tree.locate(("network", direction, "rate")), f"driver {driver}: {text}")


def _check_kernel(driver: str, cells: Sequence[Cell], tree: Tree, problems: Problems) -> None:
    """Refuse the kernel's own transports where no kernel can speak them, and what they cannot do."""
    for cell in cells:
        configuration, rival = cell.configuration, cell.configuration.rival
        if rival is not None and TRANSPORTS.load(rival.transport.name).needs_kernel:
            text = f"a rival is simulated, and transport {rival.transport.name!r} cannot be; expected another"
            problems.add(tree.locate(("rival", "transport")), text)
        name = configuration.transport.name
        if not TRANSPORTS.load(name).needs_kernel:
            continue
        if driver != "netns":
            text = f"transport {name!r} is the kernel's own, which driver {driver} has not; expected driver: netns"
            problems.add(tree.locate(("transport",)), text)
        if dict(configuration.workload.parameters).get("multiplex") == "stream":
            text = f"transport {name!r} has one stream to a connection; expected multiplex: connection"
            problems.add(tree.locate(("workload", "multiplex")), text)


def load_single(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> tuple[Configuration, int]:
    """The one cell of a scenario that varies nothing, and the seed. Raises ConfigError."""
    scenario = load_scenario(path, overrides)
    if len(scenario.cells) != 1:
        varied = ", ".join(axis.key for axis in scenario.axes)
        text = f"varies {varied}, so it names {len(scenario.cells)} paths; expected one: with vary=null, say"
        raise ConfigError(f"{path}: {text}")
    return scenario.cells[0].configuration, scenario.seed


def _read_file(path: Path, problems: Problems) -> Tree:
    """The file's mapping; what is no mapping at all ends here."""
    top = Place(path.as_posix(), 1, "", path.parent)
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE_BYTES + 1)
        text = octets.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{top.source}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{top.source}:{line}: not UTF-8 text; expected a scenario in YAML") from error
    if len(octets) > MAX_FILE_BYTES:
        raise ConfigError(f"{top.source}: longer than {MAX_FILE_BYTES} bytes; expected a scenario")
    tree = _Reader(top, problems).read(text)
    if not isinstance(tree.value, dict):
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        what = "the file is empty" if tree.value is None else f"{kind} is no scenario"
        raise ConfigError(f"{tree.places[()]}: {what}; expected a mapping of keys: schema, name, network, ...")
    problems.raise_any()
    return tree


def _override(tree: Tree, key: str, text: str, problems: Problems) -> None:
    """Obey one `--set key=text`."""
    place = Place("--set", 0, key, Path())
    if dotted(steps(key)) != key or not key or "[" in key:
        problems.add(place, "not a key; expected names with dots between, such as network.both.loss.p")
        return
    value = _Reader(place, problems).read(text)
    if value.value is None and not text.strip():
        problems.add(place, "no value; expected key=value, or key=null for none")
        return
    varied = key.removeprefix("vary.")
    for path in [("vary", varied)] if varied != key else concrete(key):
        tree.assign(path, value, place)
    expand_both(tree, problems)


def _check_overrides(tree: Tree, overrides: Sequence[tuple[str, str]], problems: Problems) -> None:
    """A key that is varied cannot be set: the grid would undo it silently."""
    vary = tree.get("vary")
    varied = [(key, path) for key in (vary if isinstance(vary, dict) else ()) for path in concrete(key)]
    for key, _ in overrides:
        for name, path in varied:
            if any(own[: len(path)] == path for own in concrete(key)):
                text = f"varied by the scenario; expected vary.{name}=[VALUE, ...], or vary=null first"
                problems.add(Place("--set", 0, key, Path()), text)


class _Loader(yaml.BaseLoader):
    """Composes nodes; resolves nothing. Aliases and tags are refused: they hide where a value was written."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.NodeEvent = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or event.anchor or tag:
            what = f"a tag ({tag})" if tag else f"an anchor or alias ({event.anchor})"
            assert isinstance(event.start_mark, yaml.Mark)
            raise ComposerError(None, None, f"{what} is not taken here; expected the value itself", event.start_mark)
        return super().compose_node(parent, index)


class _Reader:
    """Turns one YAML text into a Tree; `top` is where the text stands."""

    def __init__(self, top: Place, problems: Problems) -> None:
        self._top = top
        self._problems = problems
        self._places: dict[KeyPath, Place] = {}

    def read(self, text: str) -> Tree:
        """Raises ConfigError when the text is not YAML; duplicate keys are added to the problems."""
        self._places = {(): self._top}
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line if error.problem_mark else 0
            hint = "; indent with spaces, not tabs" if "\\t" in str(error.problem) else ""
            self._refuse(line, ", ".join(filter(None, (error.context, error.problem))) + hint)
        except ReaderError as error:
            self._refuse(text.count("\n", 0, error.position), f"character {error.character!r}: {error.reason}")
        except RecursionError:
            self._refuse(0, "nested too deeply")
        value = None if node is None else self._value(node, ())
        return Tree(value, self._places)

    def _refuse(self, line: int, text: str) -> NoReturn:
        self._problems.add(self._place((), line), f"not YAML: {text}")
        self._problems.raise_any()
        raise AssertionError("a problem was added")

    def _place(self, path: KeyPath, line: int) -> Place:
        top = self._top
        key = dotted((top.key, *path)) if top.key else dotted(path)
        return Place(top.source, top.line and line + 1, key, top.folder)

    def _value(self, node: yaml.Node, path: KeyPath) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._places[*path, index] = self._place((*path, index), item.start_mark.line)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else _scalar(node.value)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        mapping: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.add(self._place(path, line), "a list or a mapping is no key; expected a name")
                continue
            key = key_node.value
            place = self._place((*path, key), line)
            if key in mapping:
                first = f" (first in line {lines[key] + 1})" if place.line else ""
                self._problems.add(place, f"duplicate key {key!r}{first}; expected it once")
                continue
            lines[key] = line
            self._places[*path, key] = place
            mapping[key] = self._value(value_node, (*path, key))
        return mapping


def _scalar(text: str) -> object:
    """A plain scalar by YAML 1.2's core schema (section 10.3.2), less what another reader would take otherwise."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and isfinite(float(text)):
        return float(text)
    return text
