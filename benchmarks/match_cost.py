"""What match rules cost: nothing where there are none, and by kind of rule so much for each packet.

    python benchmarks/match_cost.py [--repeat 7] [--quick]

A link takes in and hands out what the client of a mail transfer sends. "before rules" is the same link from whose
`push` the lines about rules were cut out. CPU time, in turns within one process, the fastest turn of each counts. The
machine may be noisy: compare figures of one run only.
"""

import argparse
import inspect
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

import rudp_smtp.link.link as link_module
from rudp_smtp.datagram import Label
from rudp_smtp.draws import DrawKey
from rudp_smtp.drivers.capture import OUTBOUND, Capture, read_capture
from rudp_smtp.drivers.headers import SimulatedHosts
from rudp_smtp.experiment.build import execute
from rudp_smtp.experiment.inspection import Flows, read_datagrams
from rudp_smtp.experiment.plan import plan
from rudp_smtp.experiment.scenario import load_scenario
from rudp_smtp.link.config import DelayConfig, LinkConfig, MatchRule
from rudp_smtp.link.link import Link
from rudp_smtp.units import MILLISECOND

SCENARIO = Path(__file__).parent.parent / "configs" / "lossless.yaml"
LABEL = Label("client", "server")
SPACING = MILLISECOND // 10  # between packets
CUT = """\
    if self._rules is not None and not self._obey_rules(self._rules, packet, now):
        return
"""

# No rule ever has its turn, so that the link's own work is the same in all lines.
NEVER = 1 << 62
RULES: Mapping[str, tuple[MatchRule, ...]] = {
    "no rules": (),
    "larger": (MatchRule(action="drop", larger=100, nth=NEVER),),
    "source_port": (MatchRule(action="drop", source_port=2525, nth=NEVER),),
    "frame": (MatchRule(action="drop", frame="stream", nth=NEVER),),
    "contains": (MatchRule(action="drop", contains="\r\n.\r\n", nth=NEVER),),
    "contains, ten of them": tuple(MatchRule(action="drop", contains=f"{n}\r\n", nth=NEVER) for n in range(10)),
    "field, of few packets": (MatchRule(action="drop", smaller=100, field_="RUDP.packet_number", equals=5),),
    "field": (MatchRule(action="drop", field_="RUDP.packet_number", equals=5, nth=NEVER),),
}


def link_before_rules() -> type[Link]:
    """`Link` as it would be if there were none."""
    source = textwrap.dedent(inspect.getsource(Link.push))
    assert CUT in source, "the lines about rules are others by now: see link.py"
    scope = dict(vars(link_module))
    exec(source.replace(CUT, ""), scope)
    return type("LinkBeforeRules", (Link,), {"push": scope["push"]})


def sent_by_a_client(messages: int) -> list[bytes]:
    """What one sends who has so many messages of 100 KiB."""
    settings = [("replications", "1"), ("workload.messages", str(messages)), ("workload.size", "100KiB")]
    capture = Capture()
    execute(plan(load_scenario(SCENARIO, settings))[0], watcher=capture)
    return [
        packet.data
        for packet in read_capture(capture.octets())
        if packet.interface == "client" and packet.direction == OUTBOUND
    ]


def seconds(cls: type[Link], rules: tuple[MatchRule, ...], packets: list[bytes]) -> float:
    """CPU time of a link that carries all of them."""
    reader = read_datagrams(SimulatedHosts(["client", "server"]), Flows())
    config = LinkConfig(delay=DelayConfig(time=20 * MILLISECOND), match=rules)
    link = cls(config, name="forward", draws=DrawKey(1), reader=reader)
    push, pull = link.push, link.next_datagram
    started = time.process_time()
    for number, packet in enumerate(packets):
        push(packet, number * SPACING, LABEL)
        pull(number * SPACING)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7, help="turns; the fastest counts (7)")
    parser.add_argument("--quick", action="store_true", help="few packets and turns")
    options = parser.parse_args()
    packets = sent_by_a_client(5 if options.quick else 100)
    before = link_before_rules()
    lines: list[tuple[str, type[Link], tuple[MatchRule, ...]]] = [("before rules", before, ())]
    lines += [(name, Link, rules) for name, rules in RULES.items()]
    fastest: dict[str, float] = {}
    for _ in range(2 if options.quick else options.repeat):
        for name, cls, rules in lines:
            spent = seconds(cls, rules, packets)
            fastest[name] = min(spent, fastest.get(name, spent))
    table = Table(title=f"Match rules over {len(packets):,} packets of a mail transfer")
    for heading in ("rule", "packets per CPU s", "us per packet", "more than before", "speed"):
        table.add_column(heading, justify="left" if heading == "rule" else "right")
    base = fastest["before rules"]
    for name, spent in fastest.items():
        per_packet, more = spent / len(packets) * 1e6, (spent - base) / len(packets) * 1e6
        speed = f"{base / spent:.3f}"
        table.add_row(name, f"{len(packets) / spent:,.0f}", f"{per_packet:.2f}", f"{more:+.2f} us", speed)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
