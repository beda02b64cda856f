"""Is every impairment what it says? Each model of a link, alone and without a transport, against its theory.

    python experiments/certify/certify.py [--quick] [--only MODEL] [--output DIR]

Packets enough to bound every share to 2 % of itself at 99 % (149 thousand at 10 %, 1.7 million at 1 %); 10 % with
--quick. Every statement has a p-value, exact where there is an exact test, and a verdict at 99 % for all of them
together (Holm 1979): of a hundred seeds, one has the word `disagrees` anywhere in a right harness's table. What leaves
nothing to chance may differ nowhere. Writes certify.csv and a figure for each model; exit status 1 if anything
disagrees.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import certify_delay
import certify_fates
import certify_inference as inference
import certify_loss
import certify_queues
import certify_rate
from certify_lab import LEVEL, Case, Check, Laboratory
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.figures import save, style
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.study import make_folder, report_arguments, results_folder
from rudp_smtp.experiment.tables import encode_csv

MODELS: dict[str, Callable[[Laboratory], list[Case]]] = {
    "random": certify_loss.random,
    "gemodel": certify_loss.gemodel,
    "state": certify_loss.state,
    "exact": certify_loss.exact_models,
    "delay": certify_delay.delays,
    "order": certify_delay.order,
    "slot": certify_delay.slots,
    "rate": certify_rate.rates,
    "limits": certify_rate.limits,
    "red": certify_queues.red,
    "pie": certify_queues.pie,
    "fq_codel": certify_queues.fq_codel,
    "reorder": certify_fates.reorder,
    "duplicate": certify_fates.duplicate,
    "corrupt": certify_fates.corrupt,
}
AGREES, DISAGREES, TOO_FEW = "agrees", "disagrees", "too few packets"
COLUMNS = (
    "model", "check", "packets_count", "theoretical", "achieved", "low", "high", "p_value", "p_adjusted", "verdict",
)  # fmt: skip
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Judged:
    """A check among all the others that were made with it."""

    model: str
    check: Check
    adjusted: float

    @property
    def verdict(self) -> str:
        if self.adjusted <= 1 - LEVEL:
            return DISAGREES
        return AGREES if self.check.is_precise else TOO_FEW

    def row(self) -> list[str | int | float | None]:
        check = self.check
        numbers = (check.theoretical, check.achieved, check.interval.low, check.interval.high)
        rounded = [None if number is None else round(number, DIGITS) for number in numbers]
        p_values = [float(f"{value:.4g}") for value in (check.p_value, self.adjusted)]
        return [self.model, check.what, check.packets, *rounded, *p_values, self.verdict]


def judge(cases: Sequence[Case]) -> list[Judged]:
    checks = [(case.model, check) for case in cases for check in case.checks]
    adjusted = inference.holm(check.p_value for _, check in checks)
    return [Judged(model, check, value) for (model, check), value in zip(checks, adjusted, strict=True)]


def certify(lab: Laboratory, models: Sequence[str] = tuple(MODELS)) -> tuple[list[Case], list[Judged]]:
    cases = [case for model in models for case in MODELS[model](lab)]
    return cases, judge(cases)


def main() -> int:
    parser = report_arguments(__doc__, quick="a 20th of the packets at most, shares bounded to 10 %%")
    parser.add_argument("--only", choices=tuple(MODELS), action="append", help="this model; may be given again")
    options = parser.parse_args()
    folder = make_folder(results_folder(options, "certify"))
    cases, judged = certify(Laboratory(is_quick=options.quick), options.only or tuple(MODELS))
    write_atomic(folder / "certify.csv", encode_csv(COLUMNS, [item.row() for item in judged]))
    with style():
        for case in cases:
            figure = Figure(figsize=(7.2, 3.6), layout="constrained")
            case.draw(figure)
            save(figure, folder / _file_name(case.model))
    Console(width=150).print(_table(judged))
    wrong = sum(item.verdict == DISAGREES for item in judged)
    few = sum(item.verdict == TOO_FEW for item in judged)
    print(f"{len(judged)} checks: {wrong} disagree, {few} of too few packets; in {folder}")
    return 1 if wrong or few else 0


def _file_name(model: str) -> str:
    return model.replace(",", "").replace("%", "").replace(" ", "_")


def _table(judged: Sequence[Judged]) -> Table:
    table = Table(title="Models of a link against their theory, 99 % for all together", title_justify="left")
    for name in ("model", "check", "packets", "theory", "achieved", "99 % interval", "p", "verdict"):
        table.add_column(name, justify="left" if name in ("model", "check", "verdict") else "right", no_wrap=True)
    last = ""
    for item in judged:
        check = item.check
        interval = "" if check.interval.low is None else f"{check.interval.low:.5g} - {check.interval.high:.5g}"
        p_value = "exact" if check.p_value in (0.0, 1.0) else f"{check.p_value:.3f}"
        numbers = [f"{check.packets:,}", f"{check.theoretical:.6g}", f"{check.achieved:.6g}", interval, p_value]
        table.add_row("" if item.model == last else item.model, check.what, *numbers, item.verdict)
        last = item.model
    return table


if __name__ == "__main__":
    sys.exit(main())
