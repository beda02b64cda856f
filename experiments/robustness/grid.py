"""How near the default transport comes to what a path allows, from 256 kbit/s to 1 Gbit/s and from 2 ms to 600 ms.

    python experiments/robustness/grid.py [--quick] [--replications N] [--set KEY=VALUE] [--output DIR]

Each cell sends for as long as an ideal sender would need for its share of octets: one round trip of handshake, then 10
packets for each flow, twice as many in each round trip until the path is full, and the path's rate less headers and
losses from then on. A cell's utilisation is what had arrived by then as a share of the ideal. Prints a summary for each
impairment and number of flows, names the worst cells, writes the usual tables and `cells.csv`, and draws the worst of
each rate and delay. Finished runs are kept and not run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean, median

from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.figures import LIGHT, HeatMap, draw_heat_maps, save, style
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.records import Record
from rudp_smtp.experiment.scenario import Axis, Cell, Scenario
from rudp_smtp.experiment.study import (
    make_folder,
    read_scenario,
    results_folder,
    run_scenario,
    settings_of,
    study_arguments,
)
from rudp_smtp.experiment.tables import Results, encode_csv
from rudp_smtp.units import MILLISECOND, SECOND, parse_duration, parse_rate

SCENARIO = Path(__file__).parent / "grid.yaml"

RTTS = ("2ms", "40ms", "250ms", "600ms")
RATES = ("256kbit", "2mbit", "20mbit", "200mbit", "1gbit")
QUEUES = ("0.25", "1", "4")  # times the bandwidth-delay product
IMPAIRMENTS = ("none", "loss 1%", "loss 10%", "burst loss", "reordering")
FLOWS = ("1", "2", "8")
QUICK = (("40ms", "250ms"), ("2mbit", "20mbit", "200mbit"), ("1",), IMPAIRMENTS, ("1", "8"))
AXES = ("rtt", "rate", "queue_bdp", "impairment", "flows")

PACKET = 1_500
PAYLOAD_SHARE = 0.96  # of a packet: TRANSPORT.md section 2's bound
INITIAL_WINDOW = 10 * 1_440  # octets, RFC 9002 section 7.2
QUEUE_MIN = 4 * PACKET  # a path of 64 octets has a queue all the same
TRANSFER_SECONDS, TRANSFER_ROUNDS = 5, 30  # of the path's rate, whichever is more ...
BUDGET, BUDGET_QUICK = 40_000_000, 6_000_000  # ... and octets at most: a cell is to take a second or two
LOST = {"loss 1%": 0.01, "loss 10%": 0.1, "burst loss": 0.01}
WORST = 20


@dataclass(frozen=True, slots=True)
class Condition:
    """One cell, by its axes."""

    rtt: str
    rate: str
    queue_bdp: str
    impairment: str
    flows: str

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        return tuple((axis, getattr(self, axis)) for axis in AXES)

    @property
    def delay(self) -> int:
        return parse_duration(self.rtt) // 2

    @property
    def capacity(self) -> float:
        """Octets of payload that arrive in a second at best."""
        return parse_rate(self.rate) / 8 * PAYLOAD_SHARE * (1 - LOST.get(self.impairment, 0))

    @property
    def queue(self) -> int:
        bdp = parse_rate(self.rate) * parse_duration(self.rtt) / 8 / SECOND
        return max(round(bdp * float(self.queue_bdp)), QUEUE_MIN)

    def ideal_seconds(self, octets: float) -> float:
        """How long the ideal sender takes for so many octets."""
        rtt = parse_duration(self.rtt) / SECOND
        window, seconds = float(INITIAL_WINDOW * int(self.flows)), 1.5 * rtt
        while window < self.capacity * rtt and octets > window:
            octets -= window
            window *= 2
            seconds += rtt
        return seconds + octets / min(self.capacity, window / rtt)

    def octets(self, budget: int) -> int:
        seconds = max(TRANSFER_SECONDS, TRANSFER_ROUNDS * parse_duration(self.rtt) / SECOND)
        return min(budget, round(self.capacity * seconds))

    def overrides(self, budget: int) -> list[tuple[str, str]]:
        duration = round(self.ideal_seconds(self.octets(budget)) * SECOND)
        settings = [
            ("network.both.delay.time", f"{self.delay}ns"),
            ("network.both.rate", self.rate),
            ("network.both.queue.limit", f"{self.queue}B"),
            ("workload.flows", self.flows),
            ("workload.duration", f"{duration}ns"),
        ]
        if self.impairment.startswith("loss"):
            share = self.impairment.removeprefix("loss ")
            settings.append(("network.both.loss", f"{{model: random, p: {share}, where: egress}}"))
        elif self.impairment == "burst loss":  # 5 packets in a row on average, a hundredth of all
            settings.append(("network.both.loss", "{model: gemodel, p: 0.202%, r: 20%, where: egress}"))
        elif self.impairment == "reordering":  # 5 ms at 40 ms
            hold = max(self.delay // 4, MILLISECOND)
            settings.append(("network.both.reorder", f"{{probability: 2%, hold: {hold}ns}}"))
        return settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """A condition and what came of it, over its replications."""

    condition: Condition
    bound_bps: float
    goodput_bps: float
    records: Sequence[Record]

    @property
    def utilisation(self) -> float:
        return self.goodput_bps / self.bound_bps

    def mean(self, metric: str) -> float | None:
        values = [value for record in self.records if (value := record.metrics[metric]) is not None]
        return fmean(values) if values else None


def conditions(axes: Sequence[Sequence[str]]) -> list[Condition]:
    """The grid, less the queues that are no longer than a shorter one."""
    found: dict[tuple[object, ...], Condition] = {}
    for values in product(*axes):
        condition = Condition(*values)
        key = (condition.rtt, condition.rate, condition.queue, condition.impairment, condition.flows)
        found.setdefault(key, condition)
    return list(found.values())


def grid_scenario(wanted: Sequence[Condition], budget: int, settings: Sequence[tuple[str, str]]) -> Scenario:
    """One scenario whose cells are the conditions: no product of keys says that, as the queue depends on the path."""
    cells = []
    for condition in wanted:
        scenario = read_scenario(SCENARIO, [*condition.overrides(budget), *settings])
        (cell,) = scenario.cells
        cells.append(Cell(condition.labels, cell.configuration, cell.document))
    axes = [Axis(axis, tuple(dict.fromkeys(getattr(c, axis) for c in wanted))) for axis in AXES]
    return replace(scenario, axes=tuple(axes), cells=tuple(cells))


def outcomes(wanted: Sequence[Condition], results: Results, budget: int) -> list[Outcome]:
    found = []
    by_cell = results.by_cell()
    for condition in wanted:
        records = by_cell[condition.labels]
        octets = condition.octets(budget)
        bound = octets * 8 / condition.ideal_seconds(octets)
        goodput = fmean(record.metrics["goodput_bps"] or 0 for record in records)
        found.append(Outcome(condition, bound, goodput, records))
    return found


def cells_csv(found: Sequence[Outcome]) -> bytes:
    """A row for each cell, as means over its replications."""
    metrics = ("fairness_ratio", "queue_delay_mean_ms", "excess_wire_ratio", "spurious_count")
    columns = [*AXES, "queue_bytes", "bound_bps", "goodput_bps", "utilisation_ratio", *metrics]
    rows = []
    for outcome in found:
        condition = outcome.condition
        row: list[str | int | float | None] = [value for _, value in condition.labels]
        row += [condition.queue, round(outcome.bound_bps), round(outcome.goodput_bps), round(outcome.utilisation, 6)]
        rows.append([*row, *(outcome.mean(metric) for metric in metrics)])
    return encode_csv(columns, rows)


def summary(found: Sequence[Outcome]) -> Table:
    shown = Table(title="Goodput as a share of the ideal sender's, over all rates, delays and queues")
    for heading in ("impairment", "flows", "cells", "median", "worst tenth", "worst", "octets too many", "Jain, worst"):
        shown.add_column(heading, justify="left" if heading == "impairment" else "right")
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in found:
        groups.setdefault((outcome.condition.impairment, outcome.condition.flows), []).append(outcome)
    for (impairment, flows), group in groups.items():
        shares = sorted(outcome.utilisation for outcome in group)
        excess = [value for outcome in group if (value := outcome.mean("excess_wire_ratio")) is not None]
        jain = [value for outcome in group if (value := outcome.mean("fairness_ratio")) is not None]
        shown.add_row(
            impairment,
            flows,
            str(len(group)),
            f"{median(shares):.0%}",
            f"{shares[len(shares) // 10]:.0%}",
            f"{shares[0]:.0%}",
            f"{fmean(excess):.1%}" if excess else "-",
            f"{min(jain):.2f}" if jain else "-",
        )
    return shown


def worst(found: Sequence[Outcome]) -> Table:
    shown = Table(title=f"The {WORST} worst cells")
    for heading in (*AXES, "Mbit/s", "ideal Mbit/s", "share"):
        shown.add_column(heading, justify="left" if heading == "impairment" else "right")
    for outcome in sorted(found, key=lambda outcome: outcome.utilisation)[:WORST]:
        labels = (value for _, value in outcome.condition.labels)
        rates = (outcome.goodput_bps, outcome.bound_bps)
        shown.add_row(*labels, *(f"{rate / 1e6:.3g}" for rate in rates), f"{outcome.utilisation:.0%}")
    return shown


def draw(found: Sequence[Outcome], path: Path) -> list[Path]:
    """For each impairment the worst share over queues and flows, by rate and delay."""
    shares: dict[tuple[str, str, str], float] = {}
    for outcome in found:
        key = (outcome.condition.impairment, outcome.condition.rate, outcome.condition.rtt)
        shares[key] = min(outcome.utilisation, shares.get(key, outcome.utilisation))
    impairments, rates, rtts = (list(dict.fromkeys(key[place] for key in shares)) for place in range(3))
    panels = [
        HeatMap(impairment, rates, rtts, [[shares.get((impairment, rate, rtt)) for rtt in rtts] for rate in rates])
        for impairment in impairments
    ]
    head = ("Goodput of the default transport as a share of the ideal sender's", "the worst of all queues and flows")
    with style():
        return save(draw_heat_maps(panels, ("rate", "RTT"), head, LIGHT), path)


def main() -> None:
    options = study_arguments(__doc__, quick="a tenth of the grid, and shorter").parse_args()
    settings = list(settings_of(options).items())
    budget = BUDGET_QUICK if options.quick else BUDGET
    folder = make_folder(results_folder(options, "robustness"))  # before the grid, which takes seconds to lay out
    wanted = conditions(QUICK if options.quick else (RTTS, RATES, QUEUES, IMPAIRMENTS, FLOWS))
    results = run_scenario(grid_scenario(wanted, budget, settings), folder)
    found = outcomes(wanted, results, budget)
    write_atomic(folder / "cells.csv", cells_csv(found))
    console = Console(width=120)
    console.print(summary(found))
    console.print(worst(found))
    console.print(
        f"in {folder}: runs.csv, cells.csv, {', '.join(path.name for path in draw(found, folder / 'shares'))}"
    )


if __name__ == "__main__":
    main()
