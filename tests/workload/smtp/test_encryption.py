"""TLS in simulation: mail arrives, nobody overhears it, and what is random in it moves no packet."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.trace import ListSink, SmtpCommand, SmtpContent, SmtpReply
from rudp_smtp.units import PROBABILITY_ONE
from rudp_smtp.workload import WORKLOADS
from rudp_smtp.workload.smtp import Smtp
from rudp_smtp.workload.smtp.encryption import encrypt
from tests.workload.scene import DELAY, LOSSLESS, Outcome, play

WAYS = ("starttls", "implicit")
LOSSY = LinkConfig(delay=DELAY, loss=Spec("random", (("p", PROBABILITY_ONE // 10),)))

SCENARIO = """
schema: 1
name: tls
replications: 2
vary: {workload.tls: [starttls, implicit]}
network:
  both: {delay: {time: 20ms}, rate: 20mbit, loss: {model: random, p: 10%}, corrupt: {probability: 1%}}
transport: rudp
workload: {name: smtp, messages: 4, sessions: 2}
"""
RUN = "import sys; from rudp_smtp.experiment.__main__ import main; sys.exit(main(sys.argv[1:]))"


def all_arrived_once(outcome: Outcome) -> bool:
    return outcome.result.stop == "done" and all(
        (row.status, row.copies, row.is_intact) == ("delivered", 1, True) for row in outcome.rows
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "manner",
    [
        Smtp(messages=8, sessions=2),
        Smtp(messages=8, sessions=2, pipelining=False),
        Smtp(messages=8, sessions=2, multiplex="stream", early_ehlo=True),
        Smtp(messages=8, connect="per_message"),
    ],
)
def test_every_message_arrives_intact_and_once_at_a_tenth_lost(manner: Smtp, way: str) -> None:
    outcome = play(Smtp(**{**vars_of(manner), "tls": way}), LOSSY)  # type: ignore[arg-type] # of one and the same class
    assert all_arrived_once(outcome)
    assert all(row.attempts == 1 for row in outcome.rows)


def vars_of(workload: Smtp) -> dict[str, object]:
    return {name: getattr(workload, name) for name in workload.__dataclass_fields__}


@pytest.mark.parametrize("transport", ["arq", "resuming"])
@pytest.mark.parametrize("way", WAYS)
def test_other_transports_carry_it(transport: str, way: str) -> None:
    spec = Spec("selective_repeat") if transport == "arq" else Spec("rudp", (("resumption", True),))
    assert all_arrived_once(play(Smtp(messages=4, connect="per_message", tls=way), LOSSY, transport=spec))


def test_it_costs_its_round_trips() -> None:
    """Against mail in the clear: implicit the handshake's one, STARTTLS besides its own and a second EHLO's."""
    round_trip = 2 * DELAY.time
    ends = {}
    for way in ("none", *WAYS):
        outcome = play(Smtp(messages=1, tls=way), LOSSLESS)
        assert outcome.report.finished_at is not None
        ends[way] = outcome.report.finished_at
    assert 1 * round_trip <= ends["implicit"] - ends["none"] < 4 * round_trip
    assert round_trip <= ends["starttls"] - ends["implicit"] < 3 * round_trip


def test_nobody_overhears_what_is_encrypted() -> None:
    told = {}
    for way in ("none", *WAYS):
        sink = ListSink()
        assert all_arrived_once(play(Smtp(messages=1, tls=way), LOSSLESS, sink=sink))
        facts = [fact for fact in sink.facts if isinstance(fact, SmtpCommand | SmtpReply | SmtpContent)]
        told[way] = [
            fact.line.split()[0] if isinstance(fact, SmtpCommand) else getattr(fact, "code", None)
            for fact in facts
            if fact.host == "client"
        ]
    assert "MAIL" in told["none"]
    assert told["starttls"] == [220, "EHLO", 250, "STARTTLS", 220]
    assert told["implicit"] == []


@pytest.mark.parametrize("way", WAYS)
def test_what_is_random_moves_no_packet(way: str) -> None:
    """Two runs draw other keys: the facts of one are the facts of the other, each packet's size and time among them."""
    facts = []
    for _ in range(2):
        sink = ListSink()
        play(Smtp(messages=4, sessions=2, tls=way), LOSSY, sink=sink)
        facts.append(sink.facts)
    assert len(facts[0]) > 100
    assert facts[0] == facts[1]


def test_the_two_sides_have_nothing_where_nothing_is_encrypted() -> None:
    assert encrypt("none") == (None, None)


def test_an_unknown_way_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="starttls"):
        WORKLOADS.spec({"name": "smtp", "tls": "startls"}, "workload")


def test_while_it_is_not_asked_for_nothing_is_said_of_it() -> None:
    """Runs that were stored before keep their keys."""
    plain, asked = (WORKLOADS.spec({"name": "smtp", "tls": way}, "workload") for way in ("none", "implicit"))
    assert "tls" not in WORKLOADS.describe(plain)
    assert WORKLOADS.describe(asked)["tls"] == "implicit"


def test_two_processes_write_the_same_tables(tmp_path: Path) -> None:
    (tmp_path / "tls.yaml").write_text(SCENARIO)
    digests = []
    for hash_seed in "12":
        output = tmp_path / hash_seed
        command = [sys.executable, "-c", RUN, str(tmp_path / "tls.yaml"), "--output", str(output), "--workers", "1"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        tables = sorted(output.glob("*.csv"))
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tables})
    assert {"runs.csv", "messages.csv", "links.csv"} <= digests[0].keys()
    assert digests[0] == digests[1]
