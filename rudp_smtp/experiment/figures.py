"""CSV -> figure. Nothing here simulates: a figure can be redrawn from a results folder alone, to the same bytes.

Colours are those of Okabe and Ito (2008), told apart by colour-blind readers; line styles and markers tell them apart
in grey.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, product
from pathlib import Path

from matplotlib import colormaps, rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.ranges import RangeSet

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES = ("-", "--", "-.", ":")
BLUE, VERMILION, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
GREY, SHADE = "#666666", "#fff3c9"

LIGHT, DIVERGING = "YlGn", "PuOr"  # maps of colours: from little to much, and about a middle

SINGLE_RUNS_POINTS_MAX = 20_000  # above, single runs are not drawn: they would be a grey area of many megabytes
LATE = 20  # times the median
_FATAL = ("lost", "queue_full", "too_big")  # the fates of a packet that did not come through
PACKETS_MAX = 2_000  # of a longer transfer its beginning is drawn
DETAIL_PACKETS = 70

Row = Mapping[str, str]


def draw_figures(folder: Path) -> list[Path]:
    """Draw every figure of a results folder, as SVG and PNG; their paths."""
    scenario = json.loads((folder / "manifest.json").read_bytes())["scenario"]
    varied = list(scenario["vary"])
    with style():
        figures = {
            "latency_ecdf": draw_latencies(_read(folder / "messages.csv"), varied, scenario["name"]),
            "time_sequence": draw_time_sequence(_read(folder / "trace.csv"), scenario["name"]),
        }
        return [path for name, figure in figures.items() for path in save(figure, folder / name)]


@contextmanager
def style() -> Iterator[None]:
    """For print: few lines, nothing of the reader's own settings, and the same SVG every time."""
    with rc_context():
        rcdefaults()
        rcParams.update(
            {
                "font.size": 10,
                "axes.titlesize": 11,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "axes.labelsize": 10,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": "#e4e4e4",
                "grid.linewidth": 0.7,
                "legend.fontsize": 9,
                "legend.frameon": False,
                "lines.solid_capstyle": "butt",
                "savefig.dpi": 200,
                "svg.hashsalt": "rudp-smtp",
            }
        )
        yield


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def save(figure: Figure, path: Path) -> list[Path]:
    """Write it as SVG and PNG, the same bytes every time; `path` has no suffix."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what it took to lay out once is not done again for each format
    formats: tuple[tuple[str, dict[str, str | None]], ...] = (("svg", {"Date": None}), ("png", {"Software": None}))
    paths = []
    for suffix, metadata in formats:
        image = io.BytesIO()
        figure.savefig(image, format=suffix, metadata=metadata)
        paths.append(path.with_suffix(f".{suffix}"))
        write_atomic(paths[-1], image.getvalue())
    return paths


# Latency: what share of the messages was answered within a time.


@dataclass(slots=True)
class _Curve:
    """One cell's messages, run by run."""

    label: str
    runs: dict[str, list[float]] = field(default_factory=dict)
    messages: int = 0

    def add(self, row: Row) -> None:
        run = self.runs.setdefault(row["replication"], [])
        self.messages += 1
        if row["latency_ms"]:
            run.append(float(row["latency_ms"]))

    def pooled(self) -> list[float]:
        return sorted(latency for run in self.runs.values() for latency in run)


def draw_latencies(rows: Sequence[Row], varied: Sequence[str], name: str) -> Figure:
    """One curve for each cell over the messages of all its runs, and each run by itself, faintly.

    A message without an answer stays in the denominator: its curve ends below 100 %.
    """
    curves: dict[tuple[str, ...], _Curve] = {}
    for row in rows:
        if row["status"] != "refused":
            cell = tuple(row[key] for key in varied)
            curves.setdefault(cell, _Curve(", ".join(cell))).add(row)
    with_single_runs = len(rows) <= SINGLE_RUNS_POINTS_MAX and any(len(curve.runs) > 1 for curve in curves.values())
    columns = 2 if len(curves) <= 4 else 3
    figure = Figure(figsize=(6.8, 4.4 + 0.2 * (len(curves) // columns)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("time from hand-over to the final reply (ms)")
    axes.set_ylabel("messages answered within that time")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.03)
    _scale_time(axes, [latency for curve in curves.values() for latency in curve.pooled()])
    for curve, look in zip(curves.values(), _looks(list(curves)), strict=True):
        _draw_curve(axes, curve, look, with_single_runs)
    if varied and curves:
        figure.legend(title=_legend_title(varied), loc="outside lower center", ncols=columns)
    sizes = " or ".join(
        dict.fromkeys(f"{len(curve.runs)} runs, {curve.messages} messages" for curve in curves.values())
    )
    sizes = f"each curve: {sizes}" if len(curves) > 1 else sizes
    is_any_answered = any(curve.pooled() for curve in curves.values())
    note = "; thin: single runs" * with_single_runs if is_any_answered else "; no message was answered"
    _head(axes, f"{name}: latency of messages", sizes + note)
    return figure


def _looks(cells: Sequence[tuple[str, ...]]) -> list[tuple[str, str]]:
    """Colour and line style of each cell: the first varied key is the colour and the others the style, if that does.

    Else the place in the grid decides: seven colours and four styles make 28 curves that differ.
    """
    firsts = list(dict.fromkeys(cell[0] for cell in cells)) if cells and cells[0] else []
    rests = list(dict.fromkeys(cell[1:] for cell in cells))
    if 1 < len(firsts) <= len(COLOURS) and 1 < len(rests) <= len(LINE_STYLES):
        return [(COLOURS[firsts.index(cell[0])], LINE_STYLES[rests.index(cell[1:])]) for cell in cells]
    return [(COLOURS[place % len(COLOURS)], LINE_STYLES[place % len(LINE_STYLES)]) for place in range(len(cells))]


def _draw_curve(axes: Axes, curve: _Curve, look: tuple[str, str], with_single_runs: bool) -> None:
    colour, style = look
    if with_single_runs:
        for latencies in curve.runs.values():
            size = curve.messages / len(curve.runs)
            axes.plot(*_steps(sorted(latencies), size), color=colour, linewidth=0.5, alpha=0.25)
    times, heights = _steps(curve.pooled(), curve.messages)
    if heights and heights[-1] < 1:  # some were never answered: the curve goes on at its height
        times, heights = [*times, axes.get_xlim()[1]], [*heights, heights[-1]]
    axes.plot(times, heights, color=colour, linestyle=style, label=curve.label, linewidth=2, zorder=3)


def _steps(ordered: Sequence[float], size: float) -> tuple[list[float], list[float]]:
    """The corners of an empirical distribution over `size` messages, of which these were answered."""
    times = [time for time in ordered for _ in range(2)]
    heights = [height / size for place in range(len(ordered)) for height in (place, place + 1)]
    return times, heights


def _scale_time(axes: Axes, latencies: Sequence[float]) -> None:
    """From zero, unless a few very late messages would press the others against the edge: then logarithmic."""
    if not latencies:
        axes.set_xticks([])
        return
    ordered = sorted(latencies)
    shortest, middle, longest = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    if shortest > 0 and longest > LATE * middle:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(shortest / 1.1, longest * 1.1)
    else:
        axes.set_xlim(0, longest * 1.03 or 1)


def _plain(value: float, _: int | None) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _legend_title(varied: Sequence[str]) -> str | None:
    """The varied keys without the words they all begin with."""
    short = [key.split(".", 1)[-1] for key in varied]
    return ", ".join(short) or None


def _head(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, pad=18)
    axes.text(0, 1.015, note, transform=axes.transAxes, va="bottom", fontsize=8.5, color=GREY)


# Time sequence: where in its stream each packet of a run stood, and what became of it.


@dataclass(slots=True)
class _Sent:
    """One packet that carried octets of the stream."""

    time: float
    ranges: list[tuple[int, int]]
    is_retransmission: bool
    is_lost: bool = False

    def middle(self) -> float:
        return sum(start + stop for start, stop in self.ranges) / (2 * len(self.ranges))


@dataclass(frozen=True, slots=True)
class _Mark:
    """How one kind of packet is shown."""

    label: str
    colour: str
    marker: str
    size: float
    fill: str

    def draw(self, axes: Axes, packets: Sequence[_Sent], scale: float) -> None:
        axes.plot(
            [packet.time for packet in packets],
            [packet.middle() / 1000 for packet in packets],
            label=f"{self.label} ({len(packets)})",
            linestyle="none",
            color=self.colour,
            marker=self.marker,
            markersize=self.size * scale,
            markerfacecolor=self.fill,
            zorder=3,
        )


FIRST = _Mark("first transmission", BLUE, ".", 5, BLUE)
AGAIN = _Mark("retransmission", GREEN, "^", 6, "none")
LOST = _Mark("lost on the way", VERMILION, "x", 6, VERMILION)


@dataclass(frozen=True, slots=True)
class _Acked:
    """The news of one packet's arrival, and up to where all had arrived then."""

    time: float
    middle: float
    without_gap: int


@dataclass(slots=True)
class _Transfer:
    """The stream that carried most: its packets, and how far it was acknowledged when."""

    host: str = ""
    connection: str = ""
    stream: int = 0
    packets: dict[str, _Sent] = field(default_factory=dict)
    acknowledged: list[_Acked] = field(default_factory=list)


def draw_time_sequence(rows: Sequence[Row], name: str) -> Figure:
    """Packets, losses, retransmissions and acknowledgements of the busiest stream of one run: whole, and in detail."""
    transfer = _read_transfer(rows)
    packets = list(transfer.packets.values())
    drawn = packets[:PACKETS_MAX]
    figure = Figure(figsize=(7.2, 7.4), layout="constrained")
    whole, detail = figure.subplots(2, 1, height_ratios=(2, 3))
    title = f"{name}: one run, packet by packet"
    detail.set_xlabel("virtual time (ms)")
    for axes in (whole, detail):
        axes.set_ylabel("offset in the stream (kB)")
    if not drawn:
        whole.set_axis_off()
        detail.set_axis_off()
        _head(whole, title, "no stream octets were sent")
        return figure
    acked = [step for step in transfer.acknowledged if len(drawn) == len(packets) or step.time <= drawn[-1].time]
    first = _most_lossy(drawn)
    _draw_packets(whole, drawn, acked, scale=0.6)
    _draw_packets(detail, drawn, acked, scale=1.0)
    _show(whole, drawn)
    _show(detail, drawn[first : first + DETAIL_PACKETS])
    box = dict(zip(("left", "right", "bottom", "top"), (*detail.get_xlim(), *detail.get_ylim()), strict=True))
    whole.fill_between([box["left"], box["right"]], box["bottom"], box["top"], color=SHADE, zorder=0)
    figure.legend(*detail.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    part = (
        f"the first {len(drawn)} of {len(packets)} packets" if len(drawn) < len(packets) else f"{len(packets)} packets"
    )
    place = f"{transfer.host}, connection {transfer.connection}, stream {transfer.stream}"
    _head(whole, title, f"seed {rows[0]['seed']}; sent by {place}: {part}; below: the shaded part")
    return figure


def _most_lossy(packets: Sequence[_Sent]) -> int:
    """The first of the DETAIL_PACKETS in a row that hold the most losses and retransmissions."""
    events = [0, *accumulate(packet.is_lost + packet.is_retransmission for packet in packets)]
    starts = range(max(1, len(packets) - DETAIL_PACKETS + 1))
    return max(starts, key=lambda start: events[min(start + DETAIL_PACKETS, len(packets))] - events[start])


def _show(axes: Axes, packets: Sequence[_Sent]) -> None:
    """Zoom in on these packets, with some space around them."""
    times, offsets = [packet.time for packet in packets], [packet.middle() / 1000 for packet in packets]
    for limit, values in ((axes.set_xlim, times), (axes.set_ylim, offsets)):
        space = (max(values) - min(values)) * 0.03 + 1
        limit(min(values) - space, max(values) + space)


def _draw_packets(axes: Axes, packets: Sequence[_Sent], acked: Sequence[_Acked], scale: float) -> None:
    times = [step.time for step in acked]
    axes.plot(
        times, [step.middle / 1000 for step in acked], "_", color=GREY, markersize=4 * scale, label="acknowledgement"
    )
    offsets = [step.without_gap / 1000 for step in acked]
    axes.step(times, offsets, where="post", color=BLACK, linewidth=1.0, label="all acknowledged below", zorder=2)
    FIRST.draw(axes, [packet for packet in packets if not packet.is_retransmission], scale)
    AGAIN.draw(axes, [packet for packet in packets if packet.is_retransmission], scale)
    LOST.draw(axes, [packet for packet in packets if packet.is_lost], scale)


def _read_transfer(rows: Sequence[Row]) -> _Transfer:
    transfer = _busiest(rows)
    side = _side(transfer.host)
    link = {"client": "forward", "server": "reverse"}.get(side, "")
    lost_places = {int(row["index"]) for row in rows if row["link"] == link and row["fate"] in _FATAL}
    place = -1  # of the packet among all that the hosts on its side sent, which is its index on the link
    acked = RangeSet()
    for row in rows:
        place += row["event"] == "packet_sent" and _side(row["host"]) == side
        if row["host"] != transfer.host or row["connection"] != transfer.connection:
            continue
        if row["event"] == "packet_sent":
            ranges = [
                (start, stop) for stream, start, stop in _ranges(row) if stream == transfer.stream and start < stop
            ]
            if ranges:
                packet = _Sent(float(row["time_ms"]), ranges, row["is_retransmission"] == "true", place in lost_places)
                transfer.packets[row["packet_number"]] = packet
        elif row["event"] == "packet_acked" and row["packet_number"] in transfer.packets:
            for start, stop in transfer.packets[row["packet_number"]].ranges:
                acked.add(start, stop)
            first = next(iter(acked), (1, 0))
            without_gap = first[1] if first[0] == 0 else 0
            middle = transfer.packets[row["packet_number"]].middle()
            transfer.acknowledged.append(_Acked(float(row["time_ms"]), middle, without_gap))
    return transfer


def _side(host: str) -> str:
    """Which end of the path a host is at: "rival-client" is at the client's."""
    return host.rpartition("-")[2]


def _busiest(rows: Iterable[Row]) -> _Transfer:
    carried: dict[tuple[str, str, int], int] = {}
    for row in rows:
        if row["event"] == "packet_sent":
            for stream, start, stop in _ranges(row):
                key = (row["host"], row["connection"], stream)
                carried[key] = carried.get(key, 0) + stop - start
    return _Transfer(*max(carried, key=lambda key: carried[key])) if carried else _Transfer()


def _ranges(row: Row) -> list[tuple[int, int, int]]:
    """stream:start-stop stream:start-stop ..."""
    ranges = []
    for text in row["streams"].split():
        stream, _, offsets = text.partition(":")
        start, _, stop = offsets.partition("-")
        ranges.append((int(stream), int(start), int(stop)))
    return ranges


def name_panels(figure: Figure, title: str, columns: int) -> None:
    """Over panels that show the same things a title, and under them one legend."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)


# Heat maps: a share for each pair of conditions.


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One panel: `shares[row][column]` from 0 to 1, None where there is none."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    shares: Sequence[Sequence[float | None]]


def draw_heat_maps(panels: Sequence[HeatMap], labels: tuple[str, str], head: tuple[str, str], colours: str) -> Figure:
    """Panels side by side on one scale, every share written into its field; `labels` are of rows and columns."""
    width = sum(1.3 + 0.85 * len(panel.columns) for panel in panels)
    height = 1.9 + 0.42 * max(len(panel.rows) for panel in panels)
    figure = Figure(figsize=(max(width, 5.0), height), layout="constrained")
    for place, axes in enumerate(figure.subplots(1, len(panels), squeeze=False)[0]):
        panel = panels[place]
        shares = [[math.nan if share is None else share for share in row] for row in panel.shares]
        axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
        axes.grid(visible=False)
        axes.set_xticks(range(len(panel.columns)), panel.columns)
        axes.set_yticks(range(len(panel.rows)), panel.rows if place == 0 else [""] * len(panel.rows))
        axes.set_title(panel.title, fontsize=9.5, fontweight="normal")
        axes.set_xlabel(labels[1])
        for row, column in product(range(len(panel.rows)), range(len(panel.columns))):
            share = panel.shares[row][column]
            red, green, blue, _ = colormaps[colours](0.5 if share is None else share)
            ink = BLACK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.45 else "white"
            axes.text(column, row, "-" if share is None else f"{share:.0%}", ha="center", va="center", color=ink)
    figure.axes[0].set_ylabel(labels[0])
    figure.suptitle(f"{head[0]}\n{head[1]}", fontsize=10.5, x=0.01, ha="left")
    return figure
