"""YAML -> Scenario (SCENARIOS.md section 3). Every value is explicit and checked here; nothing is looked up later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rudp_smtp.registry import Spec
from rudp_smtp.units import Duration


@dataclass(frozen=True, slots=True)
class Limits:
    """Every run's budget; reaching one is a named result."""

    time: Duration
    events: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What one cell of the grid runs, in inside units: all that `build` needs but the seed."""

    forward: object  # client to server: link.link.LinkConfig
    reverse: object
    transport: Spec
    workload: Spec
    limits: Limits


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the grid. `parameters` are the varied keys in the file's order, each with its printed value."""

    parameters: tuple[tuple[str, str], ...]
    configuration: Configuration
    document: str  # canonical JSON of network, transport, workload and limits: everything explicit, units printed


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
    cells: tuple[Cell, ...]
    compare: Compare | None
    source: Path  # for messages; never in a row or a key

    def document(self) -> Mapping[str, object]:
        """The resolved scenario for the manifest: JSON-able, in the file's own words, no path of this machine."""
        raise NotImplementedError


def load_scenario(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> Scenario:
    """Read and check a scenario file; `overrides` are (dotted key, YAML text) pairs as `--set` gives them.

    Raises ConfigError with one line per problem: `file:line: key: what is wrong; what was expected`.
    """
    raise NotImplementedError
