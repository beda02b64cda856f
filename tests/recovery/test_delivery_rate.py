"""draft-ietf-ccwg-bbr section 4.1: samples of the rate at which packets are delivered."""

from rudp_smtp.recovery.delivery_rate import DeliveryRate, RateSample
from tests.recovery.builders import MDS, ms, sent_packet

RTT = ms(40)
GAP = ms(1)  # between packets: 1.2 MB/s


def exchange(sampler: DeliveryRate, count: int, *, gap: int = GAP, lost: frozenset[int] = frozenset()) -> RateSample:
    """`count` packets, `gap` apart, acknowledged a round trip later each, but for the lost ones; the last sample."""
    sample = None
    in_flight = 0
    for step in range(count + RTT // gap):
        if step < count:
            sampler.on_packet_sent(sent_packet(step, step * gap), in_flight)
            in_flight += MDS
        number = step - RTT // gap
        if number >= 0:
            in_flight -= MDS
            packet = sent_packet(number, number * gap)
            if number in lost:
                sampler.on_packet_lost(packet)
            else:
                sample = sampler.on_packets_acked([packet], number * gap + RTT, RTT)
    assert sample is not None
    return sample


def test_a_steady_flight_is_delivered_at_the_rate_it_was_sent_at() -> None:
    sample = exchange(DeliveryRate(), 200)
    assert sample.rate(sample.delivered) == MDS * 1000
    assert sample.departure is not None
    assert sample.departure.bytes_in_flight == 41 * MDS


def test_lost_packets_are_not_delivered_but_have_passed() -> None:
    lost = frozenset(range(3, 199, 10))
    sample = exchange(DeliveryRate(), 200, lost=lost)
    assert sample.lost == 4 * MDS
    assert sample.delivered + sample.lost == sample.passed
    assert sample.rate(sample.passed) == MDS * 1000


def test_acknowledgements_that_come_in_a_bunch_show_no_more_than_the_sending_rate() -> None:
    """Section 4.1.2.3: the interval is the longer of sending and acknowledging."""
    sampler = DeliveryRate()
    for number in range(20):
        sampler.on_packet_sent(sent_packet(number, number * GAP), number * MDS)
    packets = [sent_packet(number, number * GAP) for number in range(20)]
    sampler.on_packets_acked(packets[:1], RTT, 0)
    sample = sampler.on_packets_acked(packets[1:], RTT + 1, 0)
    assert sample.rate(sample.delivered) <= MDS * 20 * 1000 // 19


def test_an_interval_shorter_than_a_round_trip_gives_no_rate() -> None:
    sampler = DeliveryRate()
    sampler.on_packet_sent(sent_packet(0, 0), 0)
    sample = sampler.on_packets_acked([sent_packet(0, 0)], RTT - 1, RTT)
    assert sample.rate(sample.delivered) == 0


def test_silence_before_a_flight_is_no_part_of_its_sample() -> None:
    sampler = DeliveryRate()
    sampler.on_packet_sent(sent_packet(0, 0), 0)
    sampler.on_packets_acked([sent_packet(0, 0)], RTT, RTT)
    late = 100 * RTT
    sampler.on_packet_sent(sent_packet(1, late), 0)
    sample = sampler.on_packets_acked([sent_packet(1, late)], late + RTT, RTT)
    assert sample.interval == RTT


def test_a_flight_the_application_could_not_fill_is_marked_until_it_is_delivered() -> None:
    """Section 4.1.2.4."""
    sampler = DeliveryRate()
    sampler.on_packet_sent(sent_packet(0, 0), 0)
    sampler.on_application_limited(MDS)
    sampler.on_packet_sent(sent_packet(1, 1), MDS)
    sampler.on_packet_sent(sent_packet(2, 2), 2 * MDS)
    for number, expected in ((0, False), (1, True), (2, True)):
        sample = sampler.on_packets_acked([sent_packet(number, number)], RTT + number, 0)
        assert sample.departure is not None
        assert sample.departure.is_app_limited == expected
    assert not sampler.is_app_limited


def test_a_packet_sent_before_the_sampler_was_there_counts_and_gives_no_sample() -> None:
    sampler = DeliveryRate()
    sample = sampler.on_packets_acked([sent_packet(7, 0)], RTT, RTT)
    assert (sample.departure, sample.interval, sample.newly_acked) == (None, 0, MDS)
    assert sampler.on_packet_lost(sent_packet(8, 0)) is None
