"""One transfer: all of it, checked on the way, never held in memory at once."""

import pytest

from rudp_smtp.link.config import LinkConfig, ReorderConfig
from rudp_smtp.registry import Spec
from rudp_smtp.units import MILLISECOND, PROBABILITY_ONE
from rudp_smtp.workload import WORKLOADS, Workload
from tests.workload.scene import DELAY, LOSSLESS, REFERENCE, play

TENTH = PROBABILITY_ONE // 10


def bulk(size: str) -> Workload:
    return WORKLOADS.build(WORKLOADS.spec({"name": "bulk", "size": size}, "workload"))


@pytest.mark.parametrize("size", ["1B", "32767B", "65521B", "3MB"])
def test_every_octet_arrives_and_the_receipt_comes_back(size: str) -> None:
    outcome = play(bulk(size), LOSSLESS)
    (row,) = outcome.rows
    assert (row.status, row.copies, row.is_intact) == ("delivered", 1, True)
    assert row.delivered_at is not None
    assert row.completed_at is not None
    assert row.completed_at >= row.delivered_at + DELAY.time
    assert outcome.report.finished_at == row.delivered_at
    assert outcome.report.server.stream_bytes_delivered == row.size


def test_a_rate_limit_is_not_beaten_and_nearly_reached() -> None:
    outcome = play(bulk("2MB"), REFERENCE)
    assert outcome.report.finished_at is not None
    assert 800 * MILLISECOND < outcome.report.finished_at < 1300 * MILLISECOND


def test_octets_out_of_order_are_put_in_order() -> None:
    path = LinkConfig(
        delay=DELAY,
        loss=Spec("random", (("p", TENTH),)),
        duplicate=TENTH,
        reorder=ReorderConfig(probability=TENTH, hold=15 * MILLISECOND),
    )
    (row,) = play(bulk("500kB"), path).rows
    assert (row.status, row.is_intact) == ("delivered", True)
