"""`rudp-smtp proxy`: an impaired path in front of any UDP server, until Ctrl-C. SIGUSR1 prints the counters so far."""

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rudp_smtp.cli import path
from rudp_smtp.errors import ConfigError, DriverError

if TYPE_CHECKING:
    from rudp_smtp.trace import Fact

OK, BAD_INPUT = 0, 2
DESCRIPTION = """Relay UDP between clients and a server through the path of a scenario: what its links would do to
packet n in simulation happens to packet n. Ctrl-C ends it and prints the counters; SIGUSR1 prints them meanwhile."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--listen", metavar="HOST:PORT", type=endpoint, required=True, help="where clients send to; port 0: any")
    add("--to", metavar="HOST:PORT", type=endpoint, required=True, help="the server behind the path")
    add("--config", metavar="FILE", type=Path, required=True, help="the scenario file, such as configs/loss10.yaml")
    add("--seed", metavar="N", type=path.seed, help="of all the path's draws, instead of the file's")
    add("--log", metavar="FILE", type=Path, help="write what became of each packet: ns, link, index, octets, fate")
    path.configure(parser)


def endpoint(text: str) -> tuple[str, int]:
    """HOST:PORT, with an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"{text!r}: expected brackets around an IPv6 address, such as [::1]:4433")
    if not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:4433")
    return host, int(port)


class _Log:
    """A line for each decision of a link."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def emit(self, fact: "Fact") -> None:
        from rudp_smtp.trace import LinkFate

        if isinstance(fact, LinkFate):
            self._file.write(f"{fact.time} {fact.link} {fact.index} {fact.size} {fact.fate}\n")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        return _relay(options)
    except (ConfigError, DriverError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT


def _relay(options: argparse.Namespace) -> int:
    from rudp_smtp.drivers.clock import Waiter
    from rudp_smtp.drivers.proxy import Path as Impaired
    from rudp_smtp.drivers.proxy import Relay, report
    from rudp_smtp.drivers.sockets import resolve
    from rudp_smtp.experiment.events import arrange
    from rudp_smtp.experiment.inspection import readers_before

    configuration, seed = path.load_live(options.config, options.settings)
    upstream = resolve(options.to)
    impaired = Impaired(
        forward=configuration.forward,
        reverse=configuration.reverse,
        seed=seed if options.seed is None else options.seed,
        readers=readers_before(upstream),
    )
    with ExitStack() as stack:
        log = None
        if options.log is not None:
            try:
                log = _Log(stack.enter_context(options.log.open("w", encoding="utf-8")))
            except OSError as error:
                raise ConfigError(f"--log {options.log}: cannot be written: {error.strerror}") from error
        waiter = Waiter()
        stack.callback(waiter.close)
        relay = Relay(resolve(options.listen), upstream, impaired, waiter=waiter, sink=log)
        stack.callback(relay.close)
        arrange(configuration.events, relay)
        signal.signal(signal.SIGUSR1, lambda *_: print(report(relay), flush=True))
        signal.signal(signal.SIGINT, lambda *_: relay.stop())
        signal.signal(signal.SIGTERM, lambda *_: relay.stop())
        print("relaying from {}:{} to {}:{}, seed {}".format(*relay.address, *options.to, impaired.seed), flush=True)
        relay.run()
        print(report(relay), flush=True)
    return OK
