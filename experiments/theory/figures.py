"""The simulator beside the textbooks: a figure for each formula, its curve and what was measured.

    python experiments/theory/figures.py [--quick] [--only FIGURE] [--replications N] [--set KEY=VALUE] [--output DIR]

`tests/theory` holds each formula to an interval; this shows them over a wider range. A point is the mean over
seeded runs with its 99 % interval, of a distribution the share of all there were. Finished runs are kept and not run
again; those of distributions are, for it is their facts that are counted, and they are short.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import groupby
from math import sqrt
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.figures import COLOURS, GREY, MARKERS, save, style
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.statistics import Interval, mean_interval, proportion_interval
from rudp_smtp.experiment.study import (
    Row,
    make_folder,
    read_scenario,
    read_table,
    results_folder,
    run_file,
    settings_of,
    study_arguments,
)
from rudp_smtp.experiment.tables import encode_csv
from rudp_smtp.trace import Fact, LinkFate, PacketSent

HERE = Path(__file__).parent
LOSS, RECOVERY = "network.forward.loss.p", "network.forward.loss.r"
CONFIDENCE = Fraction(99, 100)
FRAME_BITS, PAYLOAD_BITS, LINE_RATE = 8_000, 978 * 8, 8_000_000
SYN_FRAMES = 0.03  # what a SYN takes of the line, in frames
PACKET_BITS = (1472 - 30) * 8  # of the stream in a full packet of rudp
RTT_MS, RTT_S, TIMEOUT = 40, 0.04, 4
A_WINDOW = 8  # of the figures by window
EXPECTED_MIN = 10  # a tail is shown as far as theory expects so many: where it ends must not depend on what was seen
QUICK_ARQ = {"replications": "8", "workload.duration": "2s"}
QUICK = {
    "dialogue": {"replications": "40"},
    "reno": {"replications": "8", "workload.duration": "20s"},
    "transmissions": {"replications": "2"},
    "bursts": {"replications": "2"},
}

Formula = Callable[[float], float]
Rows = list[Row]
Points = dict[float, list[float]]


@dataclass(frozen=True, slots=True)
class Series:
    """One curve, and the points that should lie on it (none: the curve alone)."""

    label: str
    formula: Formula | None
    points: Points
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure's words and axes."""

    title: str
    note: str
    x_label: str
    y_label: str
    is_log: bool = False
    is_share: bool = True
    legend_columns: int = 3


# Running


def run(options: argparse.Namespace, study: str, tag: str = "", changes: dict[str, str] | None = None) -> Rows:
    """Run (or resume) one scenario; its runs.csv."""
    folder = results_folder(options, f"theory-{study.replace('_', '-')}{tag}")
    return run_file(HERE / f"{study}.yaml", folder, (changes or {}) | settings(options, study))


def settings(options: argparse.Namespace, study: str) -> dict[str, str]:
    return (QUICK.get(study, QUICK_ARQ) if options.quick else {}) | settings_of(options)


def run_with_propagation(options: argparse.Namespace, study: str, a: int) -> Rows:
    """One scenario at another `a`: the delay both ways and the ideal timer go with it."""
    changes = {
        "network.forward.delay.time": f"{a}ms",
        "network.reverse.delay.time": f"{a * 1_000_000 - 1}ns",
        "transport.timer.interval": f"{1 + 2 * a}ms",
    }
    return run(options, study, f"-a{a}", changes)


def probability(text: str) -> float:
    return float(text.removesuffix("%")) / 100


def line_use(rows: Iterable[Row], key: str, a: int) -> Points:
    """By `key`: the share of the line's time that carried frames which counted, from the first one's arrival on."""
    points: Points = defaultdict(list)
    for row in rows:
        seconds = float(row["completion_ms"]) / 1000
        in_vain = (SYN_FRAMES + 3 * a) * FRAME_BITS / LINE_RATE  # SYN, SYN_ACK, and the first frame's propagation
        octets = float(row["goodput_bps"]) * seconds
        text = row[key]
        x = probability(text) if text.endswith("%") else float(text)
        points[x].append(octets / PAYLOAD_BITS * FRAME_BITS / LINE_RATE / (seconds - in_vain))
    return points


# Counting what the facts of a run repeat


class Transmissions:
    """How often the client sent each segment of its stream."""

    def __init__(self) -> None:
        self._of: Counter[tuple[int, int, int]] = Counter()

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, PacketSent) and fact.host == "client":
            self._of.update(fact.streams)

    def lengths(self) -> Iterable[int]:
        return self._of.values()


class Bursts:
    """How many packets in a row the way out lost. The last one of a run that came to its end was not lost."""

    def __init__(self) -> None:
        self._fates: list[str] = []

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, LinkFate) and fact.link == "forward":
            self._fates.append(fact.fate)

    def lengths(self) -> Iterable[int]:
        return (len(list(group)) for fate, group in groupby(self._fates) if fate == "lost")


def count(
    options: argparse.Namespace, study: str, key: str, listener: type[Transmissions] | type[Bursts]
) -> dict[float, Counter[int]]:
    """Do the runs of a scenario, listening, and leave counts.csv; by `key`, how many there were of each length."""
    scenario = read_scenario(HERE / f"{study}.yaml", list(settings(options, study).items()))
    path = make_folder(results_folder(options, f"theory-{study}")) / "counts.csv"
    rows = []
    for planned in plan(scenario):
        sink = listener()
        stop = execute(planned, sink).stop
        assert stop == "done", stop
        parameters = planned.parameters()
        cell = [planned.key, planned.seed, *parameters.values()]
        rows += [[*cell, length, times] for length, times in sorted(Counter(sink.lengths()).items())]
    write_atomic(path, encode_csv(["run", "seed", *parameters, "length_count", "times_count"], rows))
    counts: dict[float, Counter[int]] = defaultdict(Counter)
    for row in read_table(path):
        counts[probability(row[key])][int(row["length_count"])] += int(row["times_count"])
    return counts


# Formulas, in a, p and W as tests/theory has them


def go_back_n_by_window(a: int, p: float) -> Formula:
    full = 1 + 2 * a

    def share(window: float) -> float:
        return (1 - p) / (1 + 2 * a * p) if window >= full else window * (1 - p) / (full * (1 - p + window * p))

    return share


def go_back_n_burst(a: int, p: float) -> Formula:
    """As `tests/theory` derives it for windows that leave at once."""
    full, q = 1 + 2 * a, 1 - p

    def share(window: float) -> float:
        w = round(window)
        if w >= full:
            return q / (1 + 2 * a * p)
        whole = q**w / (1 - q**w)
        last = sum(i * p * q**i for i in range(w)) / (1 - q**w)
        return q / p / (full * (1 + whole) + last)

    return share


def selective_repeat_by_window(q: float, window: float) -> float:
    return q * min(1.0, window / (1 + 2 * A_WINDOW))


def pftk(p: float) -> float:
    """Padhye and others (2000), equation 32, b = 1, in packets per round trip."""
    q = 1 - p
    window = 1 + sqrt(8 * q / (3 * p) + 1)
    share = min(1.0, (1 - q**3) * (1 + q**3 * (1 - q ** (window - 3))) / (1 - q**window))
    backed_off = 1 + p + 2 * p**2 + 4 * p**3 + 8 * p**4 + 16 * p**5 + 32 * p**6
    return float((q / p + window + share / q) / (window / 2 + 1 + share * backed_off * TIMEOUT / q))


# Drawing


def blank(sheet: Sheet, points: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(sheet.x_label)
    axes.set_ylabel(sheet.y_label)
    axes.set_title(sheet.title, pad=30)
    note = f"{sheet.note}\nlines: theory; points: {points} with their 99 % intervals"
    axes.text(0, 1.015, note, transform=axes.transAxes, va="bottom", fontsize=8.5, color=GREY)
    return figure, axes


def draw(sheet: Sheet, series: Sequence[Series], xs: Sequence[float]) -> Figure:
    runs = max((len(values) for one in series for values in one.points.values()), default=0)
    figure, axes = blank(sheet, f"means of {runs} runs")
    for place, one in enumerate(series):
        draw_series(axes, one, xs, place)
    scale(axes, sheet)
    figure.legend(loc="outside lower center", ncols=sheet.legend_columns)
    return figure


def draw_series(axes: Axes, series: Series, xs: Sequence[float], place: int) -> None:
    colour = COLOURS[place % len(COLOURS)]
    if series.formula is not None:
        line = "--" if series.is_dashed else "-"
        label = None if series.points else series.label
        axes.plot(xs, [series.formula(x) for x in xs], line, color=colour, linewidth=1.4, label=label)
    if not series.points:
        return
    places = sorted(series.points)
    means = [fmean(series.points[x]) for x in places]
    intervals = [mean_interval(series.points[x], CONFIDENCE) for x in places]
    draw_points(axes, places, means, intervals, label=series.label, place=place)


def draw_points(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    intervals: Sequence[Interval],
    *,
    label: str,
    place: int,
) -> None:
    below = [max(0.0, y - (i.low if i.low is not None else y)) for y, i in zip(ys, intervals, strict=True)]
    above = [max(0.0, (i.high if i.high is not None else y) - y) for y, i in zip(ys, intervals, strict=True)]
    axes.errorbar(
        xs,
        ys,
        yerr=[below, above],
        fmt=MARKERS[place % len(MARKERS)],
        color=COLOURS[place % len(COLOURS)],
        markersize=5,
        markerfacecolor="white",
        capsize=3,
        linewidth=1.2,
        label=label,
        zorder=3,
    )


def draw_tails(sheet: Sheet, kind: str, label: str, counts: dict[float, Counter[int]], again: Formula) -> Figure:
    """What share was as long or longer, for geometric lengths: `again` is the chance of one more, by what was varied.

    Each length is a draw of its own here, so that all runs together are one sample, and its intervals are exact. But
    the points of a curve are not: what is longer than n + 1 is longer than n, so neighbours stray together.
    """
    least = min(sum(lengths.values()) for lengths in counts.values())
    figure, axes = blank(sheet, f"shares of at least {least:,} {kind}")
    for place, (varied, lengths) in enumerate(sorted(counts.items())):
        q, total = again(varied), sum(lengths.values())
        shown = 1
        while total * q**shown >= EXPECTED_MIN:
            shown += 1
        xs = range(1, shown + 1)
        longer = [sum(times for length, times in lengths.items() if length >= x) for x in xs]
        axes.plot(xs, [q ** (x - 1) for x in xs], color=COLOURS[place], linewidth=1.4)
        intervals = [proportion_interval(times, total, CONFIDENCE) for times in longer]
        shares = [times / total for times in longer]
        draw_points(axes, xs, shares, intervals, label=f"{label} = {100 * varied:g}%", place=place)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=sheet.legend_columns)
    return figure


def scale(axes: Axes, sheet: Sheet) -> None:
    if sheet.is_log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        return
    if sheet.x_label.startswith("loss"):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(left=0)
    if sheet.is_share:
        axes.set_ylim(0, 1.02 if axes.get_ylim()[1] > 0.5 else None)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


# The figures

LOSS_LABEL, USE_LABEL = "loss of frames, p", "share of the line's time used"
PROPAGATIONS = (1, 3, 8)
SMOOTH = [x / 200 for x in range(101)]
WINDOWS = [float(window) for window in range(1, 34)]


def by_loss(options: argparse.Namespace, study: str, sheet: Sheet, formula: Callable[[int, float], float]) -> Figure:
    """Use of the line by loss, a curve for each a."""
    series = []
    for a in PROPAGATIONS:
        points = line_use(run_with_propagation(options, study, a), LOSS, a)
        series.append(Series(f"a = {a}", partial(formula, a), points))
    return draw(sheet, series, SMOOTH)


def by_window(rows: Rows, key: str, p: str) -> Points:
    return line_use([row for row in rows if row[LOSS] == p], key, A_WINDOW)


def stop_and_wait(options: argparse.Namespace) -> Figure:
    sheet = Sheet("Stop-and-wait", "(1 − p)/(1 + 2a); a: propagation over serialisation time", LOSS_LABEL, USE_LABEL)
    return by_loss(options, "stop_and_wait", sheet, lambda a, p: (1 - p) / (1 + 2 * a))


def go_back_n(options: argparse.Namespace) -> Figure:
    note = "(1 − p)/(1 + 2ap); window 64, at least 1 + 2a"
    sheet = Sheet("Go-back-N, the window fills the path", note, LOSS_LABEL, USE_LABEL)
    return by_loss(options, "go_back_n", sheet, lambda a, p: (1 - p) / (1 + 2 * a * p))


def selective_repeat(options: argparse.Namespace) -> Figure:
    note = "1 − p, whatever a is; 64 frames unacknowledged at most, at least 1 + 2a"
    sheet = Sheet("Selective repeat, the window fills the path", note, LOSS_LABEL, USE_LABEL)
    return by_loss(options, "selective_repeat", sheet, lambda a, p: 1 - p)


def go_back_n_window(options: argparse.Namespace) -> Figure:
    rows = run(options, "go_back_n_window")
    key = "transport.window"
    series = []
    for p in ("1%", "10%"):
        share = probability(p)
        series.append(
            Series(f"p = {p}, windows sent at once", go_back_n_burst(A_WINDOW, share), by_window(rows, key, p))
        )
    series += [
        Series(f"p = {p}, the formula", go_back_n_by_window(A_WINDOW, probability(p)), {}, True) for p in ("1%", "10%")
    ]
    note = "W(1 − p)/((1 + 2a)(1 − p + Wp)), from W = 1 + 2a = 17 on (1 − p)/(1 + 2ap)"
    sheet = Sheet("Go-back-N by its window, a = 8", note, "window W (frames)", USE_LABEL, legend_columns=2)
    return draw(sheet, series, WINDOWS)


def selective_repeat_window(options: argparse.Namespace) -> Figure:
    rows, spans = run(options, "selective_repeat_window"), run(options, "selective_repeat_span")
    series = []
    for p in ("1%", "10%"):
        q = 1 - probability(p)
        points = by_window(rows, "transport.in_flight", p)
        series.append(Series(f"p = {p}, W frames unacknowledged", partial(selective_repeat_by_window, q), points))
    series += [
        Series(f"p = {p}, W from the first missing", None, by_window(spans, "transport.window", p))
        for p in ("1%", "10%")
    ]
    note = "W(1 − p)/(1 + 2a), from W = 1 + 2a = 17 on 1 − p; counted from the first missing frame, it stalls"
    sheet = Sheet("Selective repeat by its window, a = 8", note, "window W (frames)", USE_LABEL, legend_columns=2)
    return draw(sheet, series, WINDOWS)


def reno(options: argparse.Namespace) -> Figure:
    points: Points = defaultdict(list)
    for row in run(options, "reno"):
        points[probability(row[LOSS])].append(float(row["goodput_bps"]) * RTT_S / PACKET_BITS)
    xs = [10 ** (-3.2 + x / 40) for x in range(105)]
    series = [
        Series("measured goodput", None, points),
        Series("Mathis, periodic loss: √(3/2)/√p", lambda p: sqrt(1.5 / p), {}),
        Series("Mathis, random loss: 1.31/√p", lambda p: 1.31 / sqrt(p), {}, True),
        Series("PFTK, delivered: (1 − p) × equation 32", lambda p: (1 - p) * pftk(p), {}, True),
    ]
    note = "a time-out is 4 round trips, every packet is acknowledged; no other limit than loss"
    sheet = Sheet(
        "NewReno under random loss", note, "loss of packets, p", "packets per round trip", is_log=True, legend_columns=2
    )
    return draw(sheet, series, xs)


def dialogue(options: argparse.Namespace) -> Figure:
    points: Points = defaultdict(list)
    for row in run(options, "dialogue"):
        points[probability(row[LOSS])].append(float(row["completion_ms"]) / RTT_MS / 20)
    series = [
        Series("measured, either side repeats: (1 + p)/(1 − p)", lambda p: (1 + p) / (1 - p), points),
        Series("only the asker repeats: 1/(1 − p)²", lambda p: 1 / (1 - p) ** 2, {}, True),
    ]
    note = "20 turns of question and answer; loss is noticed after one round trip"
    label = "round trips for each turn"
    sheet = Sheet("A dialogue under loss", note, "loss each way, p", label, is_share=False, legend_columns=1)
    return draw(sheet, series, [x / 200 for x in range(65)])


def transmissions(options: argparse.Namespace) -> Figure:
    counts = count(options, "transmissions", LOSS, Transmissions)
    note = "sent n times or more: pⁿ⁻¹; selective repeat, acknowledgements unharmed"
    sheet = Sheet("Transmissions of a frame", note, "transmissions n", "share of frames sent n times or more")
    return draw_tails(sheet, "frames", "p", counts, lambda p: p)


def bursts(options: argparse.Namespace) -> Figure:
    counts = count(options, "bursts", RECOVERY, Bursts)
    note = "n or more: (1 − r)ⁿ⁻¹, in the mean 1/r; r: from the bad state to the good one"
    sheet = Sheet("Bursts of a Gilbert-Elliott line", note, "frames n lost in a row", "share of bursts of n or more")
    return draw_tails(sheet, "bursts", "r", counts, lambda r: 1 - r)


FIGURES = (
    stop_and_wait,
    go_back_n,
    go_back_n_window,
    selective_repeat,
    selective_repeat_window,
    reno,
    dialogue,
    transmissions,
    bursts,
)


def main() -> None:
    parser = study_arguments(__doc__, quick="few and short runs, wider intervals")
    parser.add_argument("--only", choices=[figure.__name__ for figure in FIGURES], help="one of the figures")
    options = parser.parse_args()
    folder = make_folder(results_folder(options, "theory-figures"))
    for make in FIGURES:
        if options.only in (None, make.__name__):
            with style():
                for path in save(make(options), folder / make.__name__):
                    print(path)


if __name__ == "__main__":
    main()
