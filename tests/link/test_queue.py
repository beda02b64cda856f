"""Contract of every queue discipline, and drop-tail's limits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rudp_smtp.datagram import CE, ECT_0, ECT_1, NOT_ECT, Label
from rudp_smtp.errors import ConfigError
from rudp_smtp.link.queue import QUEUE_DISCIPLINES, QueueDiscipline, QueuedPacket
from rudp_smtp.registry import Spec


def packet(index: int, size: int = 100) -> QueuedPacket:
    return QueuedPacket(index, 0, b"", size, 0)


def fill(queue: QueueDiscipline, sizes: list[int]) -> list[int]:
    """Enqueue a packet of each size; the indexes of those that were dropped."""
    dropped: list[QueuedPacket] = []
    for index, size in enumerate(sizes):
        queue.enqueue(packet(index, size), 0, dropped)
    return [given_up.index for given_up in dropped]


@pytest.mark.parametrize("name", QUEUE_DISCIPLINES.names())
@given(steps=st.lists(st.one_of(st.none(), st.integers(1, 2000)), max_size=60))
@settings(deadline=None, max_examples=50)
def test_every_packet_is_waiting_or_dropped_or_served_once(name: str, steps: list[int | None]) -> None:
    queue = QUEUE_DISCIPLINES.build(Spec(name))
    entered: dict[int, int] = {}
    dropped: list[QueuedPacket] = []
    served: list[QueuedPacket] = []
    for now, size in enumerate(steps):
        if size is not None:
            entered[now] = size
            queue.enqueue(packet(now, size), now, dropped)
        elif (leaving := queue.dequeue(now, dropped)) is not None:
            served.append(leaving)
        gone = [leaving.index for leaving in (*dropped, *served)]
        assert len(gone) == len(set(gone))
        assert len(queue) == len(entered) - len(gone)
        assert queue.octets == sum(entered.values()) - sum(entered[index] for index in gone)


@pytest.mark.parametrize("name", QUEUE_DISCIPLINES.names())
def test_nothing_is_served_only_when_nothing_is_left(name: str) -> None:
    queue = QUEUE_DISCIPLINES.build(Spec(name))
    assert queue.dequeue(0, []) is None
    fill(queue, [100] * 5)
    while len(queue):
        assert queue.dequeue(0, []) is not None or not len(queue)


@pytest.mark.parametrize("name", QUEUE_DISCIPLINES.names())
def test_no_queue_is_endless(name: str) -> None:
    assert fill(QUEUE_DISCIPLINES.build(Spec(name)), [1500] * 20_000)


def test_droptail_counts_octets_to_the_last() -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec({"discipline": "droptail", "limit": "1kB"}))
    assert fill(queue, [400, 600, 1]) == [2]
    queue.dequeue(0, [])
    assert fill(queue, [401, 400, 1]) == [0, 2]


def test_droptail_counts_packets() -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec({"discipline": "droptail", "packets": 3}))
    assert fill(queue, [1, 1500, 1, 1]) == [3]


def test_droptail_without_a_limit_has_netems() -> None:
    assert fill(QUEUE_DISCIPLINES.build(Spec("droptail")), [9000] * 1002) == [1000, 1001]


def test_droptail_obeys_both_limits_where_both_are_given() -> None:
    spec = QUEUE_DISCIPLINES.spec({"discipline": "droptail", "limit": "1kB", "packets": 2})
    assert fill(QUEUE_DISCIPLINES.build(spec), [10, 10, 10]) == [2]
    assert fill(QUEUE_DISCIPLINES.build(spec), [900, 200]) == [1]


def test_droptail_serves_in_order() -> None:
    queue = QUEUE_DISCIPLINES.build(Spec("droptail"))
    fill(queue, [1, 2, 3])
    served = [queue.dequeue(0, []) for _ in range(3)]
    assert [leaving.index for leaving in served if leaving is not None] == [0, 1, 2]


@pytest.mark.parametrize(("limits", "key"), [({"limit": "0B"}, "queue.limit"), ({"packets": 0}, "queue.packets")])
def test_a_queue_that_lets_nothing_through_is_refused(limits: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QUEUE_DISCIPLINES.spec({"discipline": "droptail", **limits}, "queue")
    assert caught.value.key == key


def test_droptail_marks_what_can_be_marked_and_finds_more_than_the_threshold_waiting() -> None:
    queue = QUEUE_DISCIPLINES.build(QUEUE_DISCIPLINES.spec({"discipline": "droptail", "limit": "1kB", "mark": "250B"}))
    codepoints = [ECT_0, ECT_1, ECT_0, NOT_ECT, ECT_1, CE]
    for index, codepoint in enumerate(codepoints):
        queue.enqueue(QueuedPacket(index, 0, b"", 100, 0, label=Label("a", "b", codepoint)), 0, [])
    served = [queue.dequeue(0, []) for _ in codepoints]
    assert [leaving.label.ecn for leaving in served if leaving is not None] == [ECT_0, ECT_1, CE, NOT_ECT, CE, CE]
    assert all((leaving.label.source, leaving.label.target) == ("a", "b") for leaving in served if leaving is not None)


def test_droptail_without_a_threshold_marks_nothing() -> None:
    queue = QUEUE_DISCIPLINES.build(Spec("droptail"))
    for index in range(500):
        queue.enqueue(QueuedPacket(index, 0, b"", 1500, 0, label=Label("a", "b", ECT_0)), 0, [])
    assert all((leaving := queue.dequeue(0, [])) is not None and leaving.label.ecn == ECT_0 for _ in range(500))


def test_a_threshold_that_is_never_passed_is_refused() -> None:
    with pytest.raises(ConfigError, match="it is full before") as caught:
        QUEUE_DISCIPLINES.spec({"discipline": "droptail", "limit": "30kB", "mark": "30kB"}, "queue")
    assert caught.value.key == "queue.mark"
