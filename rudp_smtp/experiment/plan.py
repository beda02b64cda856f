"""Scenario -> list[Run]: the grid of `vary` times the replications, each with its key (DETERMINISM rule 6)."""

from dataclasses import dataclass

from rudp_smtp.experiment.scenario import Configuration, Scenario

Parameter = str | int | float


@dataclass(frozen=True, slots=True)
class Run:
    """One run, ready to be sent to a worker. Neither `index` nor the scenario's name is part of `key`: the same
    experiment under another name or in another grid is the same run."""

    index: int  # its place in the plan: the order of rows
    cell: tuple[tuple[str, str], ...]  # varied keys in the file's order, printed values
    replication: int
    seed: int  # the same for this replication in every cell: runs are paired by it
    configuration: Configuration
    document: str  # canonical JSON of the resolved configuration, corpus digest included
    key: str  # sha256, hexadecimal

    def parameters(self) -> dict[str, Parameter]:
        """Every parameter as a dotted column (network.forward.delay.time -> "20ms"), sorted; absent stages omitted."""
        raise NotImplementedError


def plan(scenario: Scenario) -> list[Run]:
    """Every run in a fixed order: the grid in the file's order (last key fastest), then replications."""
    raise NotImplementedError
