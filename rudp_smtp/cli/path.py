"""The path a command is given: a scenario file's network, where it names one and not a grid of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rudp_smtp.errors import ConfigError

if TYPE_CHECKING:
    from rudp_smtp.experiment.scenario import Configuration


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare how a path may be changed."""
    text = "change any dotted key of the file, such as network.both.loss.p=5%%"
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="settings", help=text)


def load(file: Path, settings: list[str]) -> tuple["Configuration", int]:
    """The file's one cell, and its seed."""
    from rudp_smtp.experiment.scenario import load_single

    pairs = []
    for text in settings:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {text}: expected KEY=VALUE, such as --set network.both.loss.p=5%")
        pairs.append((key, value))
    return load_single(file, pairs)


def load_live(file: Path, settings: list[str]) -> tuple["Configuration", int]:
    """The same for real packets: refused where they could not be moved in time."""
    from rudp_smtp.experiment.live import check_ceilings

    configuration, own_seed = load(file, settings)
    check_ceilings(configuration.forward, configuration.reverse, configuration.events)
    return configuration, own_seed


def seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 1 << 63):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**63 - 1")
    return int(text)
