"""The `rudp-smtp` command: arguments and exit codes; each command has a module of its own."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rudp_smtp import __version__
from rudp_smtp.experiment import __main__ as experiment

COMMANDS = {"decode": "rudp_smtp.cli.decode"}
"""Name -> module with HELP, add_arguments(parser) and run(options) -> exit status; only the one named is imported."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="rudp-smtp", description="Mail over reliable UDP, simulated and measured.")
    parser.add_argument("--version", action="version", version=f"rudp_smtp {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "experiment", help="run a scenario and measure it", description=experiment.DESCRIPTION
    )
    experiment.configure(command)
    command.set_defaults(run=experiment.run)
    given = sys.argv[1:] if arguments is None else arguments
    for name, place in COMMANDS.items():
        if not given or given[0] in (name, "-h", "--help"):
            _add(commands, name, place)
    options = parser.parse_args(given)
    status: int = options.run(options, given)
    return status


def _add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, place: str) -> None:
    module = import_module(place)
    command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
    module.add_arguments(command)
    command.set_defaults(run=lambda options, _given: module.run(options))


if __name__ == "__main__":
    sys.exit(main())
