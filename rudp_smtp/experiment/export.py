"""A run -> a scenario that replays it: what chance decided is given packet by packet, so no seed changes it.

The hosts draw from the run's own seed (`host_seed`), a queue that draws too (`queue_seed`); what needs no chance, as
rates, queues and events, stays what it was. Long lists go into files beside the scenario.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.build import execute, link_draws
from rudp_smtp.experiment.files import write_atomic
from rudp_smtp.experiment.plan import Run
from rudp_smtp.experiment.schema import HEADER_KEYS
from rudp_smtp.link.config import MatchRule
from rudp_smtp.link.fates import Fates
from rudp_smtp.registry import Spec
from rudp_smtp.units import parse_duration, print_duration

DIRECTIONS = ("forward", "reverse")
LISTED_MAX = 12  # numbers; a longer list has a file of its own

Document = dict[str, Any]


def export_fate(run: Run, name: str, folder: Path) -> Path:
    """Do the run once more, looking on, and write it as a scenario called `name`; its path."""
    fates = {direction: Fates() for direction in DIRECTIONS}
    execute(run, fates=fates)
    lists = _Lists(name, folder)
    document: Document = json.loads(run.document)
    network = document["network"]
    seed = link_draws(run).seed
    for direction in DIRECTIONS:
        link = network[direction]
        lists.direction = direction
        _pin(link, fates[direction], lists)
        if link["queue"]["discipline"] != "droptail":
            link["queue_seed"] = seed
        if link.get("match"):
            config = getattr(run.configuration, direction)
            link["match"] = list(_exact_rules(link["match"], config.match, fates[direction]))
    if "events" in network:
        network["events"] = [_without_chance(event, place, network) for place, event in enumerate(network["events"])]
    document.setdefault("host_seed", run.seed)
    _locate_corpora(document, run, folder)
    what = f"{run.cell_label or name}: one run, of seed {run.seed}, with the fate of every packet given"
    header = {"schema": 1, "name": name, "description": what, "seed": 1, "replications": 1, "executor": "serial"}
    assert set(header) <= set(HEADER_KEYS)
    path = folder / f"{name}.yaml"
    write_atomic(path, "".join(_yaml({**header, **document})).encode())
    return path


class _Lists:
    """Writes lists of numbers, each under the name of what it holds; owns nothing but where."""

    def __init__(self, name: str, folder: Path) -> None:
        self.direction = ""
        self._name = name
        self._folder = folder

    def give(self, numbers: Sequence[int], what: str, columns: str) -> list[int] | str:
        """The list itself, or the name of its file. `columns` says what a line has: a number for each word."""
        if len(numbers) <= LISTED_MAX:
            return list(numbers)
        name = f"{self._name}.{self.direction}.{what}"
        width = len(columns.split(", "))
        lines = [" ".join(map(str, numbers[at : at + width])) for at in range(0, len(numbers), width)]
        write_atomic(self._folder / name, "\n".join([f"# {columns}", *lines, ""]).encode())
        return name


def _pin(link: Document, fates: Fates, lists: _Lists) -> None:
    """Put what chance decided in the place of the chances."""
    if link["loss"] is not None or fates.lost:
        where = link["loss"]["where"] if link["loss"] else "ingress"
        packets = lists.give(fates.lost, "lost", "packet")
        copies = lists.give(fates.copies_lost, "copies_lost", "packet")
        link["loss"] = {"model": "list", "packets": packets, "copies": copies, "where": where}
    if fates.duplicated:
        link |= {"duplicate": "0%", "duplicated": lists.give(fates.duplicated, "duplicated", "packet")}
    link["duplicate"] = "0%"
    link["corrupt"] = None
    if fates.flips:
        flips = lists.give([number for flip in fates.flips for number in flip], "flips", "packet, copy, bit")
        link["corrupt"] = {"probability": "0%", "flips": flips}
    if link["reorder"] is not None:
        link["reorder"] = {
            "probability": "0%",
            "hold": link["reorder"]["hold"],
            "packets": lists.give(fates.displaced, "displaced", "packet"),
            "copies": lists.give(fates.copies_displaced, "copies_displaced", "packet"),
        }
    _pin_delay(link["delay"], fates, lists)
    if link.get("slot"):
        waits = [fates.waits[number] for number in range(len(fates.waits))] or [0]
        link["slot"] |= {"max_delay": None, "waits": lists.give(waits, "waits", "wait")}


def _pin_delay(delay: Document, fates: Fates, lists: _Lists) -> None:
    offsets = [fates.offsets.get(index, 0) for index in range(max(fates.offsets, default=-1) + 1)]
    copies = [number for pair in fates.copies_offsets.items() for number in pair]
    delay["jitter"] = _exact_jitter(delay["jitter"])
    delay["distribution"] = {
        "model": "list",
        "offsets": lists.give(offsets, "offsets", "nanoseconds"),
        "copies": lists.give(copies, "copies_offsets", "packet, nanoseconds"),
    }


def _exact_jitter(jitter: str) -> str:
    """An offset counts jitters: where there are any, one nanosecond."""
    return print_duration(min(parse_duration(jitter), 1))


def _exact_rules(documents: Sequence[Document], rules: Sequence[MatchRule], fates: Fates) -> Iterator[Document]:
    """A rule that corrupts becomes one for each time it did; it counts what it did, so its turns stay where they were.

    A turn that an earlier rule took from it is not among them: the earlier one takes it again.
    """
    for place, (document, rule) in enumerate(zip(documents, rules, strict=True)):
        if rule.action != "corrupt" or rule.flips is not None:
            yield document
            continue
        for count, bit in fates.rule_flips.get(place, []):
            yield {**document, "nth": count, "every": None, "flips": [bit]}


# What an event may set, and what becomes of it: the lists have all that chance decided meanwhile.
_KEPT = ("mtu", "rate", "queue", "header_bytes", "delay.time", "delay.jitter", "delay.keep_order", "reorder.hold")
_LISTED = ("loss", "duplicate", "corrupt", "delay.distribution", "reorder.probability", "reorder.gap")


def _without_chance(event: Document, place: int, network: Document) -> Document:
    settings = dict(event["set"] or {})
    if isinstance(delay := settings.pop("delay", None), Mapping):
        settings |= {f"delay.{key}": value for key, value in delay.items()}
    kept = {key: value for key, value in settings.items() if _is_below(key, _KEPT)}
    if "delay.jitter" in kept:
        kept["delay.jitter"] = _exact_jitter(kept["delay.jitter"])
    directions = DIRECTIONS if event["on"] == "both" else (event["on"],)
    dropped = [key for key in settings if key not in kept]
    for key in dropped:
        if not _is_below(key, _LISTED) or any(network[direction].get("slot") for direction in directions):
            text = f"sets {key!r}, which no list of packets replays; expected a scenario without"
            raise ConfigError(text, key=f"network.events[{place}].set")
    if dropped and not kept and not event["blackhole"] and event["mtu"] is None:
        # The run's events are counted: something has to happen then, but nothing that makes a difference.
        return {**event, "on": directions[0], "set": {"header_bytes": network[directions[0]]["header_bytes"]}}
    return {**event, "set": kept or None}


def _is_below(key: str, tops: Sequence[str]) -> bool:
    return any(key == top or key.startswith(f"{top}.") for top in tops)


def _locate_corpora(document: Document, run: Run, folder: Path) -> None:
    """A row tells a corpus by its last name and its hash; a scenario, by a path from its own folder."""
    rival = run.configuration.rival
    workloads: list[tuple[Any, Spec]] = [(document["workload"], run.configuration.workload)]
    if rival is not None:
        workloads.append((document["rival"]["workload"], rival.workload))
    for section, spec in workloads:
        if "corpus_sha256" in section:
            del section["corpus_sha256"]
            section["corpus"] = os.path.relpath(str(dict(spec.parameters)["corpus"]), folder)


def _yaml(value: Document, indent: str = "") -> Iterator[str]:
    """YAML's block style down to the last mapping; what is in it is JSON, which is YAML too."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield f"{indent}{key}:\n"
            yield from _yaml(dict(inner), indent + "  ")
        elif isinstance(inner, list) and inner and isinstance(inner[0], Mapping):
            yield f"{indent}{key}:\n"
            yield from (f"{indent}  - {json.dumps(item)}\n" for item in inner)
        else:
            yield f"{indent}{key}: {json.dumps(inner)}\n"
