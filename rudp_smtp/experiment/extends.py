"""`extends: other.yaml`: another scenario as the base, and what this one says instead.

Mappings are merged key by key, however deep; everything else, a list too, takes the place of what the base has. A
plug-in with another name takes its place whole, parameters included. A name and a description are never inherited.
"""

from collections.abc import Callable
from pathlib import Path

from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.document import KeyPath, Problems, Tree, expand_both
from rudp_smtp.registry import tell

_SELECTORS = ("model", "name", "discipline")
_OWN = ("name", "description")

ReadFile = Callable[[Path, Problems], Tree]


def read_extended(path: Path, problems: Problems, read_file: ReadFile) -> Tree:
    """The file's tree with everything it extends under it, `network.both` written out."""
    chain = [path.resolve()]
    trees = [read_file(path, problems)]
    while (base := trees[-1].get("extends")) is not None:
        place = trees[-1].locate(("extends",))
        if not isinstance(base, str) or not base.strip():
            problems.add(place, f"expected the name of another scenario's file, got {tell(base)}")
            problems.raise_any()
            raise AssertionError("a problem was added")
        target = place.folder / base
        if target.resolve() in chain:
            cycle = [*(file.name for file in chain[chain.index(target.resolve()) :]), target.name]
            text = f"leads back to itself: {' -> '.join(cycle)}; expected a base that does not"
            problems.add(place, text)
            problems.raise_any()
        chain.append(target.resolve())
        try:
            trees.append(read_file(target, problems))
        except ConfigError as error:
            if target.is_file():
                raise
            reason = error.message.rpartition(": ")[2]
            problems.add(place, f"{base!r} cannot be read, as seen from {place.folder.as_posix()}/: {reason}")
            problems.raise_any()
    for tree in trees:
        tree.remove(("extends",))
        expand_both(tree, problems)
    problems.raise_any()
    merged = trees.pop()
    while trees:
        for key in _OWN:
            merged.remove((key,))
        upper = trees.pop()
        _merge(merged, upper, ())
        merged.places[()] = upper.places[()]
    return merged


def _merge(merged: Tree, upper: Tree, path: KeyPath) -> None:
    """Lay what `upper` has at `path` over what is there."""
    mine, theirs = upper.get(*path), merged.get(*path)
    if isinstance(mine, dict) and theirs is not None and not (path and _is_replaced(mine, theirs)):
        for key in mine:
            _merge(merged, upper, (*path, key))
    else:
        merged.assign(path, upper.subtree(*path), upper.locate(path))


def _is_replaced(mine: dict[str, object], theirs: object) -> bool:
    """Whether it names a plug-in that is not the base's."""
    for selector in _SELECTORS:
        if selector in mine:
            return mine[selector] != (theirs.get(selector) if isinstance(theirs, dict) else theirs)
    return not isinstance(theirs, dict | str)
