"""rudp-smtp netns CONFIG -- COMMAND: run any program over a scenario's network, with the kernel's own TCP and UDP."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rudp_smtp.cli import path
from rudp_smtp.errors import ConfigError, DriverError

if TYPE_CHECKING:
    from rudp_smtp.drivers.hosts import Host
    from rudp_smtp.drivers.middlebox import Middlebox
    from rudp_smtp.experiment.scenario import Configuration
    from rudp_smtp.link.link import Link

LISTEN = "0A"  # a state of TCP, as the kernel's tables have it
BAD_INPUT, INTERRUPTED = 2, 130
LISTEN_PATIENCE = 10.0  # seconds until a server has to listen
SERVER_PATIENCE = 1.0  # and until it has to be gone after it was asked to go

DESCRIPTION = """Make two hosts A and B (network namespaces), joined by nothing but the scenario's network, and run
COMMAND in A. RUDP_PEER in its environment is B's address (10.77.0.2). Everything is removed afterwards. Needs root."""
EPILOG = """example:
  sudo rudp-smtp netns configs/loss1.yaml --serve 'python3 -m http.server' --serve-port 8000 -- \\
      curl -s http://10.77.0.2:8000/"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that `run` obeys."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("scenario", type=Path, help="the scenario file, of which `network` and `seed` are used")
    add("--serve", metavar="COMMAND", help="run this in B first (by a shell), and end it afterwards")
    add("--serve-port", metavar="PORT", type=int, help="wait until B listens on this TCP port before COMMAND starts")
    add("--tcp-congestion", metavar="NAME", help="the kernel's congestion control in both hosts, such as bbr")
    add("--seed", metavar="N", type=path.seed, help="instead of the scenario's seed")
    path.configure(parser)
    add("command", nargs="+", metavar="COMMAND", help="what to run in A, and its arguments; write -- before it")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """COMMAND's own exit status; 2 for bad input, 130 when interrupted."""
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _run(options)
    except (ConfigError, DriverError) as error:
        print(f"rudp-smtp netns: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted; both hosts are removed", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _run(options: argparse.Namespace) -> int:
    from rudp_smtp.drivers.clock import Waiter
    from rudp_smtp.drivers.hosts import two_hosts
    from rudp_smtp.drivers.middlebox import Middlebox
    from rudp_smtp.experiment.events import arrange

    configuration, seed = path.load_live(options.scenario, options.settings)
    forward, reverse = _links(configuration, seed if options.seed is None else options.seed)
    with two_hosts() as hosts:
        if options.tcp_congestion is not None:
            for host in hosts:
                host.set_tcp_congestion(options.tcp_congestion)
        waiter = Waiter()
        box = Middlebox(hosts, forward, reverse, waiter=waiter)
        arrange(configuration.events, box)
        server = None
        try:
            if options.serve is not None:
                server = _start_server(hosts[1], options, box)
            status = _run_command(hosts[0], options.command, box)
        finally:
            if server is not None:
                _end(server)
            box.close()
            waiter.close()
        unasked = sum(host.dropped() for host in hosts)
    _report(forward, reverse, box, unasked)
    return status


def _links(configuration: "Configuration", seed: int) -> tuple["Link", "Link"]:
    from dataclasses import replace

    from rudp_smtp.draws import DrawKey
    from rudp_smtp.experiment.inspection import Flows, read_packets
    from rudp_smtp.link.link import Link

    draws = DrawKey(seed).derive("link")
    # What passes are whole IP packets: their headers need not be added.
    forward, reverse = (replace(config, header_bytes=0) for config in (configuration.forward, configuration.reverse))
    reader = read_packets(Flows())
    return (
        Link(forward, name="forward", draws=draws, reader=reader),
        Link(reverse, name="reverse", draws=draws, reader=reader),
    )


def _start_server(host: "Host", options: argparse.Namespace, box: "Middlebox") -> "subprocess.Popen[bytes]":
    server = host.start(["sh", "-c", options.serve], process_group=0)
    if options.serve_port is not None:
        deadline = time.monotonic() + LISTEN_PATIENCE

        def is_listening() -> bool:
            if server.poll() is not None:
                raise DriverError(f"`{options.serve}` ended with status {server.returncode} before it listened")
            if time.monotonic() > deadline:
                raise DriverError(f"`{options.serve}` does not listen on TCP port {options.serve_port}")
            return options.serve_port in _listening_ports(host)

        box.run(is_listening)
    return server


def _listening_ports(host: "Host") -> set[int]:
    """TCP ports that listen inside, IPv6's included, which take IPv4 too (proc_net_tcp(5))."""
    command = host.command(["cat", "/proc/net/tcp", "/proc/net/tcp6"])
    tables = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = [fields for line in tables.splitlines() if len(fields := line.split()) > 3]
    return {int(fields[1].rpartition(":")[2], 16) for fields in rows if fields[3] == LISTEN}


def _run_command(host: "Host", command: list[str], box: "Middlebox") -> int:
    process = host.start(command)
    try:
        box.run(lambda: process.poll() is not None)
    finally:
        if process.poll() is None:
            _end(process)
    return process.returncode


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Ask it to go, and let it be killed with its host if it does not."""
    server.terminate()
    try:
        server.wait(SERVER_PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _interrupt(number: int, frame: object) -> None:
    """Once: what is made has to be removed, however often and in whichever way we are asked to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _report(forward: "Link", reverse: "Link", box: "Middlebox", unasked: int) -> None:
    """Counters, for people; on standard error, as COMMAND owns the other."""
    from rudp_smtp.drivers.validity import reasons

    for name, link in (("A to B", forward), ("B to A", reverse)):
        stats = link.stats
        print(
            f"{name}: {stats.packets_entered} packets, {stats.packets_lost} lost, "
            f"{stats.packets_queue_dropped} dropped by the queue, {stats.packets_too_big} too big, "
            f"{stats.packets_matched} dropped by rules, {stats.packets_blackholed} in a black hole, "
            f"{stats.packets_duplicated} duplicated, "
            f"{stats.packets_corrupted} corrupted, {stats.packets_reordered} reordered, "
            f"{stats.packets_delivered} delivered",
            file=sys.stderr,
        )
    late = box.lateness
    middle, tail = (late.quantile(share) / 1_000 for share in (0.5, 0.99))
    print(f"left late by {middle:.0f} us (median), {tail:.0f} us (99 %)", file=sys.stderr)
    invalid = reasons({"packets dropped by the kernel": unasked}, late)
    if invalid:
        print(f"invalid: {invalid}", file=sys.stderr)
    if box.strays:
        print(f"{box.strays} packets came for a port that a rebinding took away", file=sys.stderr)
    if box.refused:
        print(f"{box.refused} corrupted packets were no IP packets any more", file=sys.stderr)
