"""`rudp-smtp tc FILE`: a scenario's path as commands for the kernel's own emulator."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rudp_smtp.cli import path
from rudp_smtp.errors import ConfigError

OK, BAD_INPUT = 0, 2
DESCRIPTION = """Print the path of a scenario as `tc qdisc ... netem` commands, one for each direction; DEV stands for
the interface it leaves by. What netem cannot do is named on standard error."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the scenario file, such as configs/loss10.yaml")
    path.configure(parser)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    from rudp_smtp.link.tc import to_netem

    try:
        configuration, _ = path.load(options.file, options.settings)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    directions = (
        ("forward", "on the client's side", configuration.forward),
        ("reverse", "on the server's side", configuration.reverse),
    )
    for name, side, config in directions:
        netem = to_netem(config)
        print(f"# {name}: {side}")
        print(" ".join(["tc qdisc add dev DEV root netem", *netem.arguments]))
        for sentence in netem.untold:
            print(f"{name}: {sentence}", file=sys.stderr)
    if configuration.events:
        print("a netem path does not change by itself: network.events is left out", file=sys.stderr)
    return OK
