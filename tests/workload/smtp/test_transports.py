"""Mail over every transport there is: what carries the session makes it faster or slower, and nothing else."""

import pytest

from rudp_smtp.link.config import LinkConfig
from rudp_smtp.registry import Spec
from rudp_smtp.transport import TRANSPORTS
from rudp_smtp.units import PROBABILITY_ONE, SECOND
from rudp_smtp.workload import WORKLOADS, Workload
from tests.workload.scene import DELAY, Outcome, play

LOSSY = LinkConfig(delay=DELAY, loss=Spec("random", (("p", PROBABILITY_ONE // 20),)))

SIMULATED = [name for name in TRANSPORTS.names() if not TRANSPORTS.load(name).needs_kernel]
transports = pytest.mark.parametrize("name", SIMULATED)


def smtp(**parameters: object) -> Workload:
    return WORKLOADS.build(WORKLOADS.spec({"name": "smtp", "size": "4KiB", **parameters}, "workload"))


def all_arrived_once(outcome: Outcome) -> bool:
    return outcome.result.stop == "done" and all(
        (row.status, row.copies, row.is_intact) == ("delivered", 1, True) for row in outcome.rows
    )


@transports
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_mail_is_delivered_exactly_once_at_five_percent_loss(name: str, pipelining: bool, seed: int) -> None:
    workload = smtp(messages=4, sessions=2, pipelining=pipelining)
    assert all_arrived_once(play(workload, LOSSY, seed=seed, transport=Spec(name), until=900 * SECOND))


@transports
def test_an_early_ehlo_harms_on_no_transport(name: str) -> None:
    workload = smtp(messages=3, connect="per_message", early_ehlo=True)
    assert all_arrived_once(play(workload, LOSSY, transport=Spec(name), until=900 * SECOND))


@transports
def test_sessions_share_a_connection_on_every_transport(name: str) -> None:
    workload = smtp(messages=6, sessions=3, multiplex="stream")
    assert all_arrived_once(play(workload, LOSSY, transport=Spec(name), until=900 * SECOND))
