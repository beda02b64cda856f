"""How fast the simulator is: packets per CPU second for bulk, cost per packet as the transfer grows, peak memory.

    python benchmarks/sim_speed.py [--quick]

Each figure is of a process of its own. A packet is a datagram that either host sent, acknowledgements too; the cost
covers codec, recovery, streams, links and event loop, at both ends. The path is experiments/path/bulk.yaml's, the
transport that file's with `cubic`, and the default one. The machine may be noisy: compare figures of one run only.
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario

TRANSPORTS = {"cubic": ("transport.congestion", "cubic"), "default": ("transport", "{name: rudp}")}
SCENARIO = Path(__file__).parent.parent / "experiments" / "path" / "bulk.yaml"


def measure(settings: list[tuple[str, str]]) -> tuple[int, float, float, float]:
    """Run bulk once: packets, CPU seconds, peak memory in MiB, virtual goodput in Mbit/s."""
    overrides = [("vary", "{}"), ("replications", "1"), *settings]
    (run,) = plan(load_scenario(SCENARIO, overrides))
    started = time.process_time()
    facts = execute(run)
    seconds = time.process_time() - started
    assert facts.stop == "done", facts.stop
    size = facts.report.deliveries[0].size
    finished = facts.report.finished_at
    assert finished is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return facts.packets, seconds, peak, size * 8e3 / (finished - facts.report.started_at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no 100 MB transfer, each figure once")
    parser.add_argument("--repeat", type=int, default=3, help="processes for each figure; the fastest counts (3)")
    options = parser.parse_args()
    repeat = 1 if options.quick else options.repeat
    cells = [(name, "10MB", loss) for name in TRANSPORTS for loss in ("0%", "1%", "10%")]
    cells += [("cubic", size, "0%") for size in (("1MB",) if options.quick else ("1MB", "100MB"))]
    cells += [] if options.quick else [(name, "100MB", "1%") for name in TRANSPORTS]
    table = Table(title="Bulk in virtual time")
    for heading in (
        "transport",
        "size",
        "loss",
        "packets",
        "CPU s",
        "packets per CPU s",
        "us per packet",
        "peak MiB",
        "Mbit/s",
    ):
        table.add_column(heading, justify="right")
    context = multiprocessing.get_context("spawn")
    for name, size, loss in cells:
        settings = [("workload.size", size), ("network.both.loss.p", loss), TRANSPORTS[name]]
        results = []
        for _ in range(repeat):
            with context.Pool(1) as pool:
                results.append(pool.apply(measure, (settings,)))
        packets, seconds, peak, goodput = min(results, key=lambda result: result[1])
        table.add_row(
            name,
            size,
            loss,
            f"{packets:,}",
            f"{seconds:.2f}",
            f"{packets / seconds:,.0f}",
            f"{seconds / packets * 1e6:.1f}",
            f"{peak:.0f}",
            f"{goodput:.2f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
