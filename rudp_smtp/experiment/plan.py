"""Scenario -> list[Run]: the grid of `vary` times the replications, each with its key (DETERMINISM rule 6)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from rudp_smtp.draws import DRAW_SCHEME, DrawKey
from rudp_smtp.experiment.scenario import Configuration, Scenario, canonical

MODEL_VERSION = 4
"""Part of every run's key. Whoever changes what a run does, be it by one packet or one nanosecond, adds one; stored
runs are then run again, and the golden digests in tests/golden are made anew in the same commit."""

LISTED_MAX = 1_000  # a longer list is told in a row by its hash; the manifest has it whole
SEED_BITS = 53  # what every reader of a CSV keeps exactly

Parameter = str | int | float


@dataclass(frozen=True, slots=True)
class Run:
    """One run, ready to be sent to a worker.

    `key` is of what the run does: the resolved configuration, the seed, the versions. The scenario's name, the place
    in the plan, the replication's number and how the keys were written are not in it, so the same run under another
    name or in another grid is not run again.
    """

    index: int  # its place in the plan: the order of rows
    cell: tuple[tuple[str, str], ...]  # varied keys in the file's order, printed values
    replication: int
    seed: int  # the same for this replication in every cell: runs are paired by it
    configuration: Configuration
    document: str  # canonical JSON of the resolved configuration, corpus digest included
    key: str  # sha256, hexadecimal
    driver: str = "sim"

    @property
    def cell_label(self) -> str:
        """The cell by what it varies, as a person would look it up; empty where nothing is varied."""
        return ", ".join(f"{key}={value}" for key, value in self.cell)

    def parameters(self) -> dict[str, Parameter]:
        """Every parameter as a dotted column (network.forward.delay.time -> "20ms"), sorted; absent stages omitted."""
        return dict(_flatten("", json.loads(self.document)))


def plan(scenario: Scenario) -> list[Run]:
    """Every run in a fixed order: the grid in the file's order (last key fastest), then replications."""
    seeds = replication_seeds(scenario.seed, scenario.replications)
    runs: list[Run] = []
    for cell in scenario.cells:
        resolved = json.loads(cell.document)
        for replication, seed in enumerate(seeds):
            key = run_key(resolved, scenario.driver, seed)
            what = (cell.parameters, replication, seed, cell.configuration, cell.document, key, scenario.driver)
            runs.append(Run(len(runs), *what))
    return runs


def replication_seeds(seed: int, replications: int) -> list[int]:
    """One seed per replication, the same in every cell. More replications leave the earlier seeds as they are."""
    draws = DrawKey(seed, "replication")
    return [draws.draw(replication) >> (64 - SEED_BITS) for replication in range(replications)]


def run_key(resolved: dict[str, object], driver: str, seed: int) -> str:
    """The name of a run's result: equal keys, equal rows."""
    identity = {
        "scenario": resolved,
        "driver": driver,
        "seed": seed,
        "model_version": MODEL_VERSION,
        "draw_scheme": DRAW_SCHEME,
    }
    return sha256(canonical(identity).encode()).hexdigest()


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, Parameter]]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _flatten(f"{prefix}.{key}" if prefix else key, value[key])
    elif isinstance(value, list) and len(value) > LISTED_MAX:
        yield prefix, f"{len(value)} values, sha256 {sha256(canonical(value).encode()).hexdigest()}"
    elif isinstance(value, list):
        yield prefix, " ".join(str(item) for _, item in (pair for entry in value for pair in _flatten(prefix, entry)))
    elif isinstance(value, bool):
        yield prefix, str(value).lower()
    elif isinstance(value, str | int | float):
        yield prefix, value
