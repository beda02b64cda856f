"""The `rudp-smtp` command: arguments and exit codes; each command has a module of its own."""

import argparse
import sys
from collections.abc import Sequence

from rudp_smtp import __version__
from rudp_smtp.cli import decode, gateway, inbox, netns, proxy, queue, send, serve, tc, user
from rudp_smtp.experiment import __main__ as experiment

COMMANDS = (
    ("experiment", "run a scenario and measure it", experiment),
    ("serve", "receive mail over RUDP and TCP, into a Maildir", serve),
    ("send", "send a message over RUDP or TCP", send),
    ("gateway", "carry mail from TCP to RUDP and back", gateway),
    ("decode", "print a pcapng capture as a readable trace", decode),
    ("netns", "run any program over a scenario's network, on hosts of its own", netns),
    ("proxy", "relay any UDP through an impaired path", proxy),
    ("inbox", "list and show the mail that arrived in a Maildir", inbox),
    ("queue", "list, show, retry, hold, release or remove the mail that waits", queue),
    ("tc", "print a path as netem commands", tc),
    ("user", "add, remove or list those who may log in at a server", user),
)
"""Name, what it does, and the module with DESCRIPTION, configure(parser) and run(options, arguments) -> exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="rudp-smtp", description="Mail over reliable UDP, simulated and measured.")
    parser.add_argument("--version", action="version", version=f"rudp_smtp {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text, module in COMMANDS:
        command = commands.add_parser(name, help=text, description=module.DESCRIPTION)
        module.configure(command)
        command.set_defaults(run=module.run)
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)
    status: int = options.run(options, given)
    return status


if __name__ == "__main__":
    sys.exit(main())
