"""`vary` -> the cells of the grid, each checked and printed. A dotted key is obeyed on the file's own data, so a cell
means exactly what a file with that value written in would mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from math import prod
from pathlib import Path

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.document import KeyPath, Place, Problems, Tree, concrete, dotted, expand_both, steps
from rudp_smtp.experiment.inline import Inliner
from rudp_smtp.experiment.metrics import METRICS
from rudp_smtp.experiment.scenario import Axis, Cell, Compare, canonical
from rudp_smtp.experiment.schema import BODY_KEYS, Comparison, read_configuration
from rudp_smtp.mail.corpus import load_corpus
from rudp_smtp.registry import nearest, tell

MAX_CELLS = 10_000
MAX_PROBLEMS = 50  # a grid that is wrong in this many ways need not be walked to its end

# Keys that name a file or a folder, relative to the scenario's own folder, and who will read it.
_PATH_KEYS: dict[tuple[str, ...], Callable[[str], object]] = {
    ("workload", "corpus"): load_corpus,
    ("rival", "workload", "corpus"): load_corpus,
}
_SELECTORS = ("model", "name", "discipline")


@dataclass(slots=True)
class _Varied:
    """A key of `vary` as the file gives it; `labels` are the printed values, known once a cell has been read."""

    key: str
    place: Place
    paths: list[KeyPath]
    values: list[Tree]
    labels: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.labels = [""] * len(self.values)


def read_grid(tree: Tree, problems: Problems) -> tuple[tuple[Axis, ...], tuple[Cell, ...]]:
    """Every cell there is; incomplete as soon as there are problems."""
    varied = _read_vary(tree, problems)
    size = prod(len(axis.values) for axis in varied)
    if size > MAX_CELLS:
        problems.add(tree.locate(("vary",)), f"a grid of {size} cells; expected at most {MAX_CELLS}")
        varied = []
    reader = _CellReader(tree, problems)
    cells = []
    for choice in product(*(range(len(axis.values)) for axis in varied)):
        cell = reader.read(varied, choice)
        if cell is not None:
            cells.append(cell)
        if len(problems) >= MAX_PROBLEMS:
            break
    return tuple(Axis(axis.key, tuple(axis.labels)) for axis in varied), tuple(cells)


def read_comparison(comparison: Comparison, axes: Sequence[Axis], tree: Tree, problems: Problems) -> Compare:
    """Check that the baseline names varied keys and values they take."""
    baseline = []
    known = {axis.key: axis.values for axis in axes}
    for key, value in comparison.baseline.items():
        place = tree.locate(("compare", "baseline", key))
        label = _label(value, value)
        if key not in known:
            problems.add(place, f"{key!r} is not varied; {nearest(key, tuple(known)) if known else 'nothing is'}")
        elif label not in known[key]:
            problems.add(place, f"{tell(value)} is not a value of {key}; {nearest(label, known[key])}")
        baseline.append((key, label))
    if comparison.metric not in METRICS.names():
        text = f"unknown metric {comparison.metric!r}; {nearest(comparison.metric, METRICS.names())}"
        problems.add(tree.locate(("compare", "metric")), text)
    if not baseline:
        problems.add(tree.locate(("compare", "baseline")), "no baseline; expected a varied key and one of its values")
    return Compare(tuple(baseline), comparison.metric)


def _read_vary(tree: Tree, problems: Problems) -> list[_Varied]:
    vary = tree.get("vary")
    varied: list[_Varied] = []
    for key, values in vary.items() if isinstance(vary, Mapping) else ():
        place = tree.locate(("vary", key))
        paths = concrete(key)
        if dotted(steps(key)) != key or "[" in key or paths[0][0] not in BODY_KEYS:
            known = tuple(f"{name}..." for name in BODY_KEYS)
            problems.add(place, f"{key!r} cannot be varied; {nearest(key.split('.')[0], known)}")
        elif values == []:
            problems.add(place, "an empty list leaves no run; expected at least one value")
        elif isinstance(values, list):
            varied.append(_Varied(key, place, paths, _axis_values(tree.subtree("vary", key))))
    for index, axis in enumerate(varied):
        for earlier in varied[:index]:
            if any(before[: len(path)] == path for path in axis.paths for before in earlier.paths):
                problems.add(axis.place, f"would undo {earlier.key!r}; expected the wider key first, or only one")
    return varied


def _axis_values(axis: Tree) -> list[Tree]:
    """The values in a list, each knowing that it is one of an axis."""
    assert isinstance(axis.value, list)
    key = axis.places[()].key
    values = [Tree(value, {}) for value in axis.value]
    for path, place in axis.places.items():
        if path:
            assert isinstance(path[0], int)
            values[path[0]].places[path[1:]] = Place(place.source, place.line, place.key, place.folder, key)
    return values


class _CellReader:
    """Reads the cells of one scenario; owns what it has met on the way: corpus digests, cells."""

    def __init__(self, tree: Tree, problems: Problems) -> None:
        self._tree = tree.only(BODY_KEYS)
        self._problems = problems
        self._digests: dict[Path, str] = {}
        self._inliner = Inliner()
        self._documents: set[str] = set()

    def read(self, varied: list[_Varied], choice: Sequence[int]) -> Cell | None:
        """One cell: `choice` is an index into each axis."""
        before = len(self._problems)
        tree = self._tree.copy()
        for axis, index in zip(varied, choice, strict=True):
            for path in axis.paths:
                tree.assign(path, axis.values[index], axis.place)
            expand_both(tree, self._problems)
        if not self._inliner.inline(tree, self._problems):
            return None
        corpora = self._find_paths(tree)
        found = read_configuration(tree, self._problems)
        if found is None or len(self._problems) > before:
            return None
        configuration, document = found
        for path, target in corpora.items():
            self._name_content(document, path, target)
        for axis, index in zip(varied, choice, strict=True):
            axis.labels[index] = _label(_lookup(document, axis.paths[0]), axis.values[index].value)
        parameters = tuple((axis.key, axis.labels[index]) for axis, index in zip(varied, choice, strict=True))
        text = canonical(document)
        if text in self._documents:
            cell = ", ".join(f"{key} {label}" for key, label in parameters)
            self._problems.add(varied[-1].place, f"the grid has the same cell twice: {cell}")
            return None
        self._documents.add(text)
        return Cell(parameters, configuration, text)

    def _find_paths(self, tree: Tree) -> dict[tuple[str, ...], Path]:
        """Turn the paths in a scenario into paths of this machine; what cannot be read there is a problem."""
        found: dict[tuple[str, ...], Path] = {}
        for key, load in _PATH_KEYS.items():
            given = tree.get(*key)
            if not isinstance(given, str):
                continue
            place = tree.locate(key)
            if not given.strip():
                self._problems.add(place, "an empty path; expected a file or a folder, or null for none")
                continue
            target = (place.folder / given).resolve()
            try:
                if target not in self._digests:
                    load(str(target))
                    self._digests[target] = digest(target)
            except ConfigError as error:
                text = error.message.replace(repr(str(target)), repr(given))
                self._problems.add(place, f"{text}, as seen from {place.folder.as_posix()}/")
                continue
            found[key] = target
            tree.assign(key, Tree(str(target), {(): place}), place)
        return found

    def _name_content(self, document: dict[str, object], path: tuple[str, ...], target: Path) -> None:
        """In rows and keys a path is its last name and what is in it, so they are the same on every machine."""
        section = _lookup(document, path[:-1])
        assert isinstance(section, dict)
        section[path[-1]] = target.name
        section[f"{path[-1]}_sha256"] = self._digests[target]


def digest(target: Path) -> str:
    """sha256 over a file, or over the names and contents of all files in a folder."""
    files = [target] if target.is_file() else [file for file in target.rglob("*") if file.is_file()]
    try:
        lines = [f"{sha256(file.read_bytes()).hexdigest()} {_name(file, target)}\n" for file in files]
    except OSError as error:
        raise ConfigError(f"{error.filename!r} cannot be read: {error.strerror}") from error
    return sha256("".join(sorted(lines)).encode()).hexdigest()


def _name(file: Path, target: Path) -> str:
    """A file's name below the target, also where the name is not UTF-8."""
    return ascii(file.relative_to(target).as_posix())


def _lookup(document: object, path: KeyPath) -> object:
    for step in path:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _label(resolved: object, given: object) -> str:
    """A value as a row shows it: a plug-in by its name and whatever was said of it beyond that."""
    if resolved is None:  # or left unsaid, being the default of a key that came later
        return "none" if given is None or isinstance(given, Mapping | list) else _label(given, None)
    if isinstance(resolved, list):
        return " ".join(_label(item, item) for item in resolved)
    if not isinstance(resolved, Mapping):
        return str(resolved).lower() if isinstance(resolved, bool) else str(resolved)
    said = given if isinstance(given, Mapping) else {}
    parameters = " ".join(
        f"{key}={_label(resolved.get(key), value)}" for key, value in said.items() if key not in _SELECTORS
    )
    name = next((str(resolved[key]) for key in _SELECTORS if key in resolved), "")
    if not name and not said:
        return str(given)
    return f"{name}({parameters})" if name and parameters else name or parameters
