"""How many packets per second the relay and the middlebox carry, and how late: python -m benchmarks.live_speed.

A flood is the ceiling: what is carried, and what a second of processor time is good for, which others on the machine
change less. Then paced streams: how late packets leave that have their delay ahead of them. Then what the scenarios in
configs/ ask for. The middlebox needs root.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.clock import Lateness, Waiter
from rudp_smtp.drivers.hosts import ADDRESSES, require_root, two_hosts
from rudp_smtp.drivers.middlebox import Middlebox
from rudp_smtp.drivers.proxy import Path as Impaired
from rudp_smtp.drivers.proxy import Relay
from rudp_smtp.drivers.sockets import bound_socket
from rudp_smtp.drivers.validity import FULL_PACKET, PACKETS_PER_SECOND_MAX
from rudp_smtp.errors import DriverError
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.link.config import DelayConfig, LinkConfig, RateConfig
from rudp_smtp.link.link import Link
from rudp_smtp.units import MICROSECOND, MILLISECOND

CONFIGS = Path(__file__).parent.parent / "configs"
ANY = ("127.0.0.1", 0)
PORT = 9999
BATCH = 100 * MILLISECOND
SENDER = """
import socket, sys, time
host, port, rate, size, seconds = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5])
data, sent = bytes(size), 0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
    source.connect((host, port))
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if rate and sent >= passed * rate:
            time.sleep(1e-4)
            continue
        source.send(data)
        sent += 1
print(sent)
"""
SINK = f"""
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
    sink.bind(("", {PORT}))
    print("ready", flush=True)
    time.sleep(3600)
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: as fast as it goes if `rate`, in packets per second, is 0."""

    rate: int
    delay: int
    size: int
    seconds: float

    def link(self, header_bytes: int) -> LinkConfig:
        """With a rate no packet waits for: its stage is passed like in most scenarios."""
        return LinkConfig(delay=DelayConfig(time=self.delay), rate=RateConfig(value=10**12), header_bytes=header_bytes)

    def command(self, host: str, port: int) -> list[str]:
        numbers = (port, self.rate, self.size, self.seconds)
        return [sys.executable, "-c", SENDER, host, *map(str, numbers)]


@dataclass(frozen=True, slots=True)
class Outcome:
    sent: int
    carried: int
    dropped: int  # by the kernel, before we saw them
    cpu: float  # seconds of ours
    lateness: Lateness


def over_relay(load: Load) -> Outcome:
    waiter, link = Waiter(), load.link(28)
    sink = bound_socket(ANY)  # never read: the kernel drops what is too much, after the relay sent it
    relay = Relay(ANY, sink.getsockname(), Impaired(forward=link, reverse=link), waiter=waiter)
    with subprocess.Popen(load.command(*relay.address), stdout=subprocess.PIPE) as sender:

        def move(until: int) -> None:
            while waiter.now() < until:
                due = relay.next_timeout()
                waiter.wait(until if due is None else min(due, until))
                relay.handle_timeout()

        sent, cpu = _watch(sender, waiter, move, load)
    drops = relay.kernel_drops
    relay.close()
    waiter.close()
    sink.close()
    return Outcome(sent, relay.forward.stats.packets_delivered, drops, cpu, relay.lateness)


def over_middlebox(load: Load) -> Outcome:
    with two_hosts() as hosts, _sink(hosts[1].command([sys.executable, "-c", SINK])):
        waiter, draws = Waiter(), DrawKey(1)
        forward, reverse = (Link(load.link(0), name=name, draws=draws) for name in ("forward", "reverse"))
        box = Middlebox(hosts, forward, reverse, waiter=waiter)
        with subprocess.Popen(hosts[0].command(load.command(ADDRESSES[1], PORT)), stdout=subprocess.PIPE) as sender:
            sent, cpu = _watch(sender, waiter, lambda until: box.run(lambda: waiter.now() >= until), load)
        drops = sum(host.dropped() for host in hosts)
        box.close()
        waiter.close()
    return Outcome(sent, forward.stats.packets_delivered, drops, cpu, box.lateness)


@contextmanager
def _sink(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sink:
        assert sink.stdout is not None
        sink.stdout.readline()
        yield
        sink.terminate()


def _watch(
    sender: "subprocess.Popen[bytes]", waiter: Waiter, move: Callable[[int], None], load: Load
) -> tuple[int, float]:
    """Carry until the sender is through and all has arrived: how many it sent, and our processor time."""
    cpu = time.process_time()
    while sender.poll() is None:
        move(waiter.now() + BATCH)
    move(waiter.now() + load.delay + BATCH)
    assert sender.stdout is not None
    return int(sender.stdout.read()), time.process_time() - cpu


def measured(carriers: dict[str, Callable[[Load], Outcome]], size: int, seconds: float) -> Table:
    table = Table(title=f"{size} octets a packet, {seconds:g} s each")
    for column in ("carrier", "sent/s", "carried/s", "kernel dropped", "late p50 us", "p99 us", "carried/CPU s"):
        table.add_column(column, justify="left" if column == "carrier" else "right")
    for name, carry in carriers.items():
        for rate in (0, 1_000, 10_000, PACKETS_PER_SECOND_MAX):
            load = Load(rate, 20 * MILLISECOND if rate else 0, size, seconds)
            got = carry(load)
            late = (f"{got.lateness.quantile(share) / MICROSECOND:.0f}" for share in (0.5, 0.99))
            # A paced carrier spins while it waits, so its processor time tells nothing.
            share = f"{got.carried / got.cpu:,.0f}" if not rate else ""
            speeds = (f"{got.sent / seconds:,.0f}", f"{got.carried / seconds:,.0f}", f"{got.dropped:,}")
            table.add_row(name, *speeds, *late, share)
    return table


def asked() -> Table:
    table = Table(
        title=f"full packets a second that configs/ ask for in a direction; {PACKETS_PER_SECOND_MAX:,} at most"
    )
    table.add_column("packets/s", justify="right")
    table.add_column("scenarios")
    needs: dict[int, list[str]] = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        configuration = load_scenario(path).cells[0].configuration
        rates = [link.rate.bits_per_second for link in (configuration.forward, configuration.reverse) if link.rate]
        needs.setdefault(max(rates, default=0) // (FULL_PACKET * 8), []).append(path.stem)
    for packets in sorted(needs, reverse=True):
        table.add_row(f"{packets:,}", ", ".join(needs[packets]))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--size", type=int, default=1200)
    options = parser.parse_args()
    carriers: dict[str, Callable[[Load], Outcome]] = {"relay": over_relay}
    console = Console(width=120)
    try:
        require_root()
        carriers["middlebox"] = over_middlebox
    except DriverError as error:
        console.print(f"no middlebox: {error}")
    console.print(measured(carriers, options.size, options.seconds))
    console.print(asked())


if __name__ == "__main__":
    main()
