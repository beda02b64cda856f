"""RFC 9000 sections 13.2.3 and 21.9: whoever makes our acknowledgements long pays more for it than we do."""

import pytest

from rudp_smtp.ack.policy import ACK_POLICIES
from rudp_smtp.registry import Spec
from rudp_smtp.transport.rudp import Rudp
from rudp_smtp.transport.rudp.assemble import ACK_RANGES_SENT
from rudp_smtp.units import MILLISECOND
from rudp_smtp.wire.frames import AckFrame, AckFrequencyFrame, PingFrame
from tests.transport.rudp.puppet import Puppet


def flood(puppet: Puppet, packets: int) -> list[AckFrame]:
    """Leave a gap before each of so many packets; the acknowledgements that come."""
    known = len(puppet.packets)
    for _ in range(packets):
        puppet.skip(1)
        puppet.say(PingFrame())
        puppet.wait(MILLISECOND // 10)
    return [f for packet in puppet.packets[known:] for f in packet.frames if isinstance(f, AckFrame)]


@pytest.mark.parametrize("name", ACK_POLICIES.names())
def test_a_flood_of_single_packet_ranges_is_answered_with_short_acknowledgements(name: str) -> None:
    puppet = Puppet(Rudp(ack=Spec(name))).connect()
    acks = flood(puppet, 3000)
    assert 0 < len(acks) <= 3000
    assert max(len(ack.ranges) for ack in acks) <= ACK_RANGES_SENT
    assert puppet.close_codes == []


def test_a_peer_that_asked_for_no_word_of_gaps_gets_few_acknowledgements_of_a_flood() -> None:
    puppet = Puppet(Rudp()).connect()
    puppet.say(AckFrequencyFrame(0, 99, 25 * MILLISECOND, 0))
    assert len(flood(puppet, 3000)) <= 3000 // 99 + 20


def test_what_is_newest_is_reported_first() -> None:
    puppet = Puppet(Rudp()).connect()
    acks = flood(puppet, 500)
    assert all(ack.ranges == sorted(ack.ranges, reverse=True) for ack in acks)
    assert acks[-1].ranges[0][1] - acks[-1].ranges[-1][0] <= 2 * ACK_RANGES_SENT
