"""How many packets per second the relay forwards, and how late: python -m benchmarks.relay_speed.

A flood from one process through a relay in another to a third that counts: the ceiling. Then a paced stream: how late
packets leave that have their delay ahead of them.
"""

import argparse
import multiprocessing
import socket
import time
from multiprocessing.connection import Connection

from rudp_smtp.drivers.clock import Waiter
from rudp_smtp.drivers.proxy import Path, Relay
from rudp_smtp.drivers.sockets import bound_socket
from rudp_smtp.link.config import DelayConfig, LinkConfig
from rudp_smtp.units import MICROSECOND, MILLISECOND, SECOND

ANY = ("127.0.0.1", 0)


def relay(upstream: tuple[str, int], delay: int, report: Connection) -> None:
    link = LinkConfig(delay=DelayConfig(time=delay))
    waiter = Waiter()
    moved = Relay(ANY, upstream, Path(forward=link, reverse=link), waiter=waiter)
    report.send(moved.address)
    while not report.poll():
        until = waiter.now() + SECOND // 10
        while waiter.now() < until:
            due = moved.next_timeout()
            waiter.wait(until if due is None else min(due, until))
            moved.handle_timeout()
    late = moved.lateness
    stats = moved.forward.stats
    report.send((stats.packets_delivered, moved.kernel_drops, late.quantile(0.5), late.quantile(0.99), late.maximum))


def measure(rate: int | None, size: int, delay: int, seconds: float) -> None:
    """Send at `rate` packets per second, or as fast as it goes."""
    sink = bound_socket(ANY)  # never read: the kernel drops what is too much, after the relay sent it
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=relay, args=(sink.getsockname(), delay, there))
    process.start()
    target = here.recv()
    data = bytes(size)
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        source.connect(target)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            if rate is not None and sent >= passed * rate:
                time.sleep(1e-4)
                continue
            source.send(data)
            sent += 1
    time.sleep(delay / SECOND + 0.1)
    here.send(None)
    forwarded, drops, *late = here.recv()
    process.join()
    sink.close()
    p50, p99, maximum = (value / MICROSECOND for value in late)
    print(
        f"{'flood' if rate is None else f'{rate} packets/s'} of {size} B, delay {delay // MILLISECOND} ms: "
        f"sent {sent / seconds:,.0f}/s, forwarded {forwarded / seconds:,.0f}/s, dropped by the kernel {drops}; "
        f"lateness p50 {p50:.0f} us, p99 {p99:.0f} us, maximum {maximum:.0f} us"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--size", type=int, default=1200)
    options = parser.parse_args()
    measure(None, options.size, 0, options.seconds)
    for rate in (1_000, 10_000):
        measure(rate, options.size, 20 * MILLISECOND, options.seconds)


if __name__ == "__main__":
    main()
