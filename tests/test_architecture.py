"""STYLE's import table, forbidden modules and sizes, checked on the tree itself so that they cannot drift."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rudp_smtp"
MODULES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]

BASE = {"", "errors", "units", "ranges", "registry", "trace", "draws", "datagram", "machine"}
LAYERS: dict[str, set[str]] = {
    "wire": BASE,
    "recovery": BASE,
    "ack": BASE,
    "link": BASE,
    "smtp": BASE,
    "mail": BASE | {"smtp"},
    "transport": BASE | {"wire", "recovery", "ack"},
    "workload": BASE | {"transport", "smtp", "mail"},
    "drivers": BASE | {"link"},
    "experiment": BASE | {"wire", "recovery", "ack", "link", "smtp", "mail", "transport", "workload", "drivers"},
    "pytest_plugin": BASE | {"link", "drivers", "experiment"},  # one more composition root
    "web": BASE | {"smtp", "mail"},
    "service": BASE | {"smtp", "mail", "transport", "drivers"},  # a composition root, too
    "cli": BASE
    | {
        "web",
        "service",
        "wire",
        "recovery",
        "ack",
        "link",
        "smtp",
        "mail",
        "transport",
        "workload",
        "drivers",
        "experiment",
    },
}
WAITS = {"asyncio", "socket", "subprocess", "scapy", "time", "select", "selectors", "threading", "signal", "ssl"}
PEERS = {"aioquic", "kcp", "cryptography"}
FILES = {"os", "pathlib", "shutil", "tempfile", "sqlite3", "mailbox"}
NOWHERE = {"random", "uuid", "logging"}
SECRETS = {"secrets"}  # what strangers must not guess; a simulation has no strangers

FUNCTION_LINES, FILE_LINES, POSITIONAL, PARAMETERS, NESTING = 70, 600, 5, 10, 3


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def layer(path: Path) -> str:
    """The folder a module belongs to; a file directly in the package is its own layer."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Parsed once for all rules."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: relative import"
            assert node.module is not None
            yield node.module
            if node.module == "rudp_smtp":
                yield from (f"rudp_smtp.{alias.name}" for alias in node.names if alias.name.islower())


def foreign(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - {"rudp_smtp"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_only_the_layers_its_row_lists(path: Path) -> None:
    own = layer(path)
    allowed = BASE if own in BASE else LAYERS[own] | {own}
    for name in imports(path):
        if name == "rudp_smtp" or name.startswith("rudp_smtp."):
            target = name.removeprefix("rudp_smtp").lstrip(".").split(".")[0]
            if target.startswith("__") or (own == "drivers" and name == "rudp_smtp.transport"):
                continue  # drivers know the protocols and the events, and no transport
            assert target in allowed, f"{own or 'package'} may not import {name}"


def test_base_modules_have_no_import_cycles() -> None:
    graph = {
        name: {i.split(".")[1] for i in imports(PACKAGE / f"{name}.py") if i.startswith("rudp_smtp.")}
        for name in BASE - {""}
    }
    while graph:
        free = [name for name, needs in graph.items() if not needs & graph.keys()]
        assert free, f"cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_the_edges_touch_the_world(path: Path) -> None:
    own, name, used = layer(path), relative(path), foreign(path)
    assert not used & NOWHERE
    assert not used & SECRETS or own in ("drivers", "cli", "mail", "service")
    if own not in ("drivers", "cli"):
        waits = used & WAITS
        if own == "experiment":
            waits -= {"signal"}  # Ctrl-C is the runner's business
            waits -= {"time"} if name.endswith("runner.py") else set()
            waits -= {"threading"} if name.endswith("executor.py") else set()  # a worker watches for its parent's end
        if own == "transport" and name.startswith("rudp_smtp/transport/peers/"):
            waits -= {"ssl"}  # for the name of a constant: nothing there opens a socket
        if own in ("web", "service"):
            waits -= {"asyncio", "threading"}  # the language of what they are put together from
        if name == "rudp_smtp/smtp/tls.py":
            waits -= {"ssl"}  # SSLObject between two MemoryBIO: no socket, no waiting
        if name == "rudp_smtp/workload/smtp/encryption.py":
            waits -= {"ssl"}  # the contexts for these: a simulation has them, too
        assert not waits
    certifies = {"cryptography"} if name.endswith("drivers/certificate.py") else set()
    assert not used & (PEERS - certifies) or name.startswith("rudp_smtp/transport/peers/")
    if own not in ("mail", "experiment", "cli", "drivers", "pytest_plugin", "web", "service"):
        assert not used & FILES
    assert "yaml" not in used or name.endswith("experiment/scenario.py")
    assert "matplotlib" not in used or name.endswith("experiment/figures.py")
    assert "numpy" not in used or own == "experiment"
    assert "os.urandom" not in path.read_text()


@pytest.mark.parametrize("path", ALL_FILES, ids=relative)
def test_files_and_functions_keep_their_sizes(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= FILE_LINES
    for node in nodes(path):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        place = f"{relative(path)}:{node.lineno} {node.name}"
        assert node.end_lineno is not None
        assert node.end_lineno - node.lineno < FUNCTION_LINES, f"{place}: longer than {FUNCTION_LINES} lines"
        positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
        if not node.name.startswith("test_"):
            assert len(positional) <= POSITIONAL, f"{place}: {len(positional)} positional parameters"
            assert len(positional) + len(node.args.kwonlyargs) <= PARAMETERS, f"{place}: too many parameters"
        assert depth(node.body) <= NESTING, f"{place}: nested deeper than {NESTING}"


def depth(body: list[ast.stmt]) -> int:
    """Levels of nesting in a function body; `elif` is not a level, nor is a nested function (it has its own check)."""
    deepest = 0
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(statement, ast.If):
            inner = max(1 + depth(statement.body), else_depth(statement.orelse))
        elif isinstance(statement, ast.Match):
            inner = 1 + max(depth(case.body) for case in statement.cases)
        elif isinstance(statement, ast.Try):
            handlers = [depth(handler.body) for handler in statement.handlers]
            inner = 1 + max(depth(statement.body), *handlers, depth(statement.orelse), depth(statement.finalbody), 0)
        elif isinstance(statement, ast.For | ast.While | ast.With | ast.AsyncFor | ast.AsyncWith):
            inner = 1 + max(depth(statement.body), depth(getattr(statement, "orelse", [])))
        else:
            inner = 0
        deepest = max(deepest, inner)
    return deepest


def else_depth(orelse: list[ast.stmt]) -> int:
    if len(orelse) == 1 and isinstance(orelse[0], ast.If):
        return depth(orelse)
    return 1 + depth(orelse) if orelse else 0


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_catches_everything_or_leaves_unfinished_work(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"except\s*(Base)?Exception\b|except\s*:", text)
    assert not re.search(r"\b(XXX|FIXME)\b", text)
    for node in nodes(path):
        if isinstance(node, ast.ClassDef):
            assert not re.search(r"(Manager|Helper|Handler|Base|Util|Utils|Common|Info)$", node.name), node.name


def test_states_are_assigned_nowhere_but_through_their_table() -> None:
    """A folder with a state.py keeps its (state, input) pairs there; others ask it."""
    chain = PACKAGE / "link" / "loss" / "state.py"  # netem's name of a loss model: a plug-in, and no such table
    for table in sorted(set(PACKAGE.rglob("state.py")) - {chain}):
        assert "TRANSITIONS" in table.read_text(), relative(table)
        for path in table.parent.glob("*.py"):
            if path != table:
                assert "TRANSITIONS: " not in path.read_text(), relative(path)
    for path in MODULES:
        is_assigned = re.search(r"\.state = ", path.read_text()) is not None
        assert is_assigned == (path == PACKAGE / "machine.py"), relative(path)


def test_every_module_says_its_job() -> None:
    for path in MODULES:
        if path.read_text().strip():
            assert ast.get_docstring(ast.parse(path.read_text())), relative(path)
