"""The `rudp-smtp` command: arguments and exit codes; each command is a module, imported when it is asked for."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rudp_smtp import __version__
from rudp_smtp.cli.terminal import UNREAD, mute

INTERRUPTED = 130

COMMANDS = {
    "experiment": ("run a scenario and measure it", "rudp_smtp.experiment.__main__"),
    "serve": ("receive mail over RUDP and TCP, into a Maildir", "rudp_smtp.cli.serve"),
    "send": ("send a message over RUDP or TCP", "rudp_smtp.cli.send"),
    "gateway": ("carry mail from TCP to RUDP and back", "rudp_smtp.cli.gateway"),
    "inbox": ("list and show the mail that arrived in a Maildir", "rudp_smtp.cli.inbox"),
    "queue": ("list, show, retry, hold, release or remove the mail that waits", "rudp_smtp.cli.queue"),
    "user": ("add, remove or list those who may log in at a server", "rudp_smtp.cli.user"),
    "decode": ("print a pcapng capture as a readable trace", "rudp_smtp.cli.decode"),
    "netns": ("run any program over a scenario's network, on hosts of its own", "rudp_smtp.cli.netns"),
    "proxy": ("relay any UDP through an impaired path", "rudp_smtp.cli.proxy"),
    "tc": ("print a path as netem commands", "rudp_smtp.cli.tc"),
}
"""What each does, and the module with DESCRIPTION, configure(parser) and run(options, arguments) -> exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="rudp-smtp", description="Mail over reliable UDP, simulated and measured.")
    parser.add_argument("--version", action="version", version=f"rudp_smtp {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (text, module) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name in given[:1]:
            loaded = import_module(module)
            command.description = loaded.DESCRIPTION
            loaded.configure(command)
            command.set_defaults(run=loaded.run)
    options = parser.parse_args(given)
    try:
        status: int = options.run(options, given)
        sys.stdout.flush()
    except BrokenPipeError:
        mute()
        return UNREAD
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
