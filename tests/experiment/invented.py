"""Plans, facts and records made up from a run's seed, so that what comes after a simulation is tested without one."""

from fractions import Fraction
from pathlib import Path

from rudp_smtp.draws import DrawKey
from rudp_smtp.experiment.build import LinkFacts, RunFacts
from rudp_smtp.experiment.plan import Run, plan
from rudp_smtp.experiment.records import Record, record
from rudp_smtp.experiment.scenario import Axis, Cell, Compare, Configuration, Limits, Scenario, canonical
from rudp_smtp.link.config import DelayConfig, LinkConfig, RateConfig
from rudp_smtp.link.stats import LinkStats
from rudp_smtp.registry import Spec
from rudp_smtp.trace import LinkFate, PacketAcked, PacketSent, Sink
from rudp_smtp.transport import TransportStats
from rudp_smtp.units import MILLISECOND, SECOND, parse_probability
from rudp_smtp.workload import Delivery, FlowReport, Progress, WorkloadReport

MESSAGES = 5


def scenario(*, replications: int = 3, losses: tuple[str, ...] = ("0%", "10%"), compare: bool = False) -> Scenario:
    """A grid over one key."""
    cells = tuple(_cell(loss) for loss in losses)
    baseline = Compare((("network.both.loss.p", losses[0]),), "completion_ms")
    return Scenario(
        name="invented",
        description="made up",
        seed=1,
        replications=replications,
        driver="sim",
        executor="serial",
        axes=(Axis("network.both.loss.p", losses),),
        cells=cells,
        compare=baseline if compare else None,
        source=Path("invented.yaml"),
    )


def _cell(loss: str) -> Cell:
    link = LinkConfig(
        loss=Spec("random", (("p", parse_probability(loss)),)),
        delay=DelayConfig(time=20 * MILLISECOND),
        rate=RateConfig(value=20_000_000),
    )
    configuration = Configuration(link, link, Spec("rudp"), Spec("smtp"), Limits())
    document = canonical({"network": {"forward": {"loss": {"p": loss}}}, "workload": {"messages": MESSAGES}})
    return Cell((("network.both.loss.p", loss),), configuration, document)


def runs(*, replications: int = 3) -> list[Run]:
    return plan(scenario(replications=replications))


def facts(run: Run) -> RunFacts:
    """A run in which all went well."""
    draws = DrawKey(run.seed, "invented")
    deliveries = []
    for index in range(MESSAGES):
        submitted, latency = index * MILLISECOND, (50 + draws.below(index, 100)) * MILLISECOND
        deliveries.append(
            Delivery(
                index=index,
                name=f"generated-{index:04d}",
                size=16_384,
                session=0,
                submitted_at=submitted,
                completed_at=submitted + latency,
                delivered_at=submitted + latency - 20 * MILLISECOND,
                copies=1,
                is_intact=True,
                attempts=1,
                status="delivered",
                reply="250 2.0.0 stored",
            )
        )
    report = WorkloadReport(
        deliveries,
        client=TransportStats(packets_sent=100, bytes_sent=100_000, stream_bytes_sent=82_000),
        server=TransportStats(packets_sent=50, bytes_sent=2_500, stream_bytes_sent=800),
        finished_at=400 * MILLISECOND + draws.below(99, 1000),
        flows=[flow("transfer-0", 3_000), flow("transfer-1", 1_000)],
    )
    rival = WorkloadReport([], TransportStats(), TransportStats(), flows=[flow("transfer-0", 4_000)])
    links = [link_facts(run, _link_stats(draws.below(100 + k, 20))) for k in range(2)]
    return RunFacts(run, "done", 450 * MILLISECOND, 1_000, 150, report, links[0], links[1], [rival])


def flow(name: str, octets: int, start: int = 0, end: int | None = 400 * MILLISECOND) -> FlowReport:
    """One that gets this many octets each 10 ms until it ends, or until a second is over."""
    progress = Progress()
    for step, now in enumerate(range(start, SECOND if end is None else end + 1, 10 * MILLISECOND)):
        progress.add(step * octets, now)
    return FlowReport(name, start, end, progress)


def link_facts(run: Run, stats: LinkStats) -> LinkFacts:
    return LinkFacts(Fraction(1, 10), 100, stats, 400 * MILLISECOND, ((run.configuration.forward, stats),))


def _link_stats(lost: int) -> LinkStats:
    return LinkStats(
        packets_entered=100,
        octets_entered=100_000,
        packets_lost=lost,
        packets_doomed=lost,
        queue_time=(100 - lost) * MILLISECOND,
        queue_time_max=3 * MILLISECOND,
        packets_serialised=100 - lost,
        octets_serialised=90_000,
        serialisation_time=36 * MILLISECOND,
        packets_delayed=100 - lost,
        delay_time=(100 - lost) * 20 * MILLISECOND,
        packets_delivered=100 - lost,
        octets_delivered=90_000,
        entered_first=0,
    )


def empty_facts(run: Run) -> RunFacts:
    """A run stopped by its limit before anything happened."""
    report = WorkloadReport([], TransportStats(), TransportStats())
    links = [LinkFacts(Fraction(0), 0, LinkStats(), None, ((run.configuration.forward, LinkStats()),))] * 2
    return RunFacts(run, "time_limit", 0, 0, 0, report, links[0], links[1])


def perform(run: Run) -> Record:
    return record(facts(run))


def perform_with_a_bug_in_one_run(run: Run) -> Record:
    """Fails in the second run of each cell."""
    assert run.replication != 1, "an assumption of ours was wrong"
    return perform(run)


def simulate(run: Run, sink: Sink) -> None:
    """A transfer of 40 packets: one in eight is lost and sent again a round trip later."""
    time, acked_at = 0, 40 * MILLISECOND
    for number in range(40):
        time = number * MILLISECOND
        stream = ((0, number * 1200, (number + 1) * 1200),)
        sink.emit(PacketSent(time, "client", 0, number, 1250, True, stream, False, False))
        fate = "lost" if number % 8 == 5 else "passed"
        sink.emit(LinkFate(time, "forward", number, 1278, fate))
        if fate == "passed":
            sink.emit(PacketAcked(time + acked_at, "client", 0, number))
    for again, number in enumerate(range(5, 40, 8), start=40):
        time = 60 * MILLISECOND + number * MILLISECOND
        stream = ((0, number * 1200, (number + 1) * 1200),)
        sink.emit(PacketSent(time, "client", 0, again, 1250, True, stream, True, False))
        sink.emit(LinkFate(time, "forward", again, 1278, "passed"))
        sink.emit(PacketAcked(time + acked_at, "client", 0, again))
    assert time < SECOND
