"""The protocols as textbooks draw them: who sends which number when, and what becomes of a loss.

A transcript lists frames in the order they leave: "> 0" is data of the client with that number, "< 0" the server's
acknowledgement of it. The handshake is left out. The path takes 20 ms each way and the timer 70 ms.
"""

from rudp_smtp.registry import Spec
from rudp_smtp.transport import TransportPlugin
from rudp_smtp.transport.arq.frame import ACK, DATA, decode_frame
from rudp_smtp.transport.arq.go_back_n import GoBackN
from rudp_smtp.transport.arq.selective_repeat import SelectiveRepeat
from rudp_smtp.transport.arq.stop_and_wait import StopAndWait
from rudp_smtp.units import MILLISECOND
from tests.helpers import Pair, make_pair

TIMER = Spec("fixed", (("interval", 70 * MILLISECOND),))
SYN_FRAMES = 1  # of the client, and the server's SYN_ACK: the first datagram each way


def pair_of(transport: TransportPlugin, octets: bytes) -> Pair:
    """A client that sends one octet in each frame, and says no goodbye."""
    pair = make_pair(client=transport)
    pair.connect()
    pair.client.send(octets)
    return pair


def transcript(pair: Pair) -> list[str]:
    sent = [(now, ">", data) for now, data in pair.forward.sent] + [(now, "<", data) for now, data in pair.reverse.sent]
    lines = []
    for _, way, data in sorted(sent, key=lambda item: item[0]):
        kind, _, number, ack, _ = decode_frame(data)
        if kind == DATA:
            lines.append(f"{way} {number}")
        elif kind == ACK:
            lines.append(f"{way} {ack}")
    return lines


def alternating_bit() -> StopAndWait:
    return StopAndWait(timer=TIMER, segment_size=1)


def go_back_4() -> GoBackN:
    return GoBackN(timer=TIMER, segment_size=1, sequence_bits=3, window=4)


def selective_4() -> SelectiveRepeat:
    return SelectiveRepeat(timer=TIMER, segment_size=1, sequence_bits=3, window=4)


# The alternating-bit protocol: Kurose and Ross, figure 3.16


def test_alternating_bit_without_loss() -> None:
    pair = pair_of(alternating_bit(), b"abc")
    pair.run_until_idle()
    assert transcript(pair) == ["> 0", "< 0", "> 1", "< 1", "> 0", "< 0"]
    assert pair.server_received == b"abc"


def test_alternating_bit_sends_lost_data_again() -> None:
    pair = pair_of(alternating_bit(), b"abc")
    pair.forward.drop([SYN_FRAMES + 1])
    pair.run_until_idle()
    assert transcript(pair) == ["> 0", "< 0", "> 1", "> 1", "< 1", "> 0", "< 0"]
    assert pair.server_received == b"abc"


def test_alternating_bit_takes_the_copy_after_a_lost_ack_for_what_it_is() -> None:
    pair = pair_of(alternating_bit(), b"abc")
    pair.reverse.drop([SYN_FRAMES + 1])
    pair.run_until_idle()
    assert transcript(pair) == ["> 0", "< 0", "> 1", "< 1", "> 1", "< 1", "> 0", "< 0"]
    assert pair.server_received == b"abc"
    assert pair.server.endpoint.total_stats().packets_duplicate == 1


def test_alternating_bit_survives_a_premature_time_out() -> None:
    """The acknowledgement is late, nothing is lost: a copy goes out, and its acknowledgement is nobody's."""
    pair = pair_of(alternating_bit(), b"abc")
    pair.reverse.hold_back([SYN_FRAMES + 1], by="40ms")
    pair.run_until_idle()
    assert transcript(pair) == ["> 0", "< 0", "> 1", "< 1", "> 1", "> 0", "< 1", "< 0"]
    assert pair.server_received == b"abc"


def test_alternating_bit_is_fooled_by_a_frame_that_is_two_frames_late() -> None:
    """The lesson of a small sequence space: where something overtakes, a number that came round again is believed."""
    pair = pair_of(alternating_bit(), b"abcd")
    pair.forward.hold_back([SYN_FRAMES], by="130ms")  # the first "a" arrives when the second "a" and "b" have
    pair.run_until_idle()
    assert pair.server_received != b"abcd"
    assert pair.server_received.startswith(b"aba")


def test_more_bits_tell_that_frame_from_the_new_one() -> None:
    pair = pair_of(StopAndWait(timer=TIMER, segment_size=1, sequence_bits=8), b"abcd")
    pair.forward.hold_back([SYN_FRAMES], by="130ms")
    pair.run_until_idle()
    assert pair.server_received == b"abcd"


# Go-back-N: Kurose and Ross, figure 3.22


def test_go_back_n_discards_what_follows_a_loss_and_sends_it_all_again() -> None:
    pair = pair_of(go_back_4(), b"abcdef")
    pair.forward.drop([SYN_FRAMES + 2])
    pair.run_until_idle()
    assert transcript(pair) == [
        *("> 0", "> 1", "> 2", "> 3"),  # 2 is lost
        *("< 0", "< 1", "< 1"),  # 3 is refused, and 1 acknowledged again
        *("> 4", "> 5", "< 1", "< 1"),
        *("> 2", "> 3", "> 4", "> 5", "< 2", "< 3", "< 4", "< 5"),
    ]
    assert pair.server_received == b"abcdef"
    assert pair.server.endpoint.total_stats().packets_dropped == 3


def test_a_cumulative_ack_makes_up_for_lost_ones() -> None:
    pair = pair_of(go_back_4(), b"abcd")
    pair.reverse.drop([SYN_FRAMES, SYN_FRAMES + 1, SYN_FRAMES + 2])
    pair.run_until_idle()
    assert transcript(pair) == ["> 0", "> 1", "> 2", "> 3", "< 0", "< 1", "< 2", "< 3"]
    assert pair.client.endpoint.total_stats().packets_acked == 4


def test_go_back_n_has_no_more_than_its_window_on_the_way() -> None:
    pair = pair_of(go_back_4(), b"abcdefgh")
    pair.run_for("39ms")
    pair.run_for("22ms")
    assert transcript(pair) == ["> 0", "> 1", "> 2", "> 3", "< 0", "< 1", "< 2", "< 3"]


def test_go_back_n_with_a_window_one_too_large_would_not_work() -> None:
    """All of a window's acknowledgements are lost: the copies must not pass for the next window."""
    largest = GoBackN(timer=TIMER, segment_size=1, sequence_bits=2, window=3)
    pair = pair_of(largest, b"abcdef")
    pair.reverse.drop([SYN_FRAMES, SYN_FRAMES + 1, SYN_FRAMES + 2])
    pair.run_until_idle()
    assert pair.server_received == b"abcdef"


# Selective repeat: Kurose and Ross, figure 3.26


def test_selective_repeat_keeps_what_follows_a_loss_and_sends_the_lost_frame_alone() -> None:
    pair = pair_of(selective_4(), b"abcdef")
    pair.forward.drop([SYN_FRAMES + 2])
    pair.run_until_idle()
    assert transcript(pair) == [
        *("> 0", "> 1", "> 2", "> 3"),  # 2 is lost
        *("< 0", "< 1", "< 3"),
        *("> 4", "> 5", "< 4", "< 5"),
        *("> 2", "< 2"),
    ]
    assert pair.server_received == b"abcdef"


def test_selective_repeat_delivers_the_kept_frames_when_their_turn_has_come() -> None:
    pair = pair_of(selective_4(), b"abcd")
    pair.forward.drop([SYN_FRAMES])
    pair.run_for("100ms")
    assert pair.server_received == b""
    pair.run_until_idle()
    assert pair.server_received == b"abcd"


def test_selective_repeat_acknowledges_old_frames_whose_acks_were_lost() -> None:
    pair = pair_of(selective_4(), b"abcd")
    pair.reverse.drop([SYN_FRAMES, SYN_FRAMES + 1])
    pair.run_until_idle()
    assert transcript(pair)[8:] == ["> 0", "> 1", "< 0", "< 1"]
    assert pair.server_received == b"abcd"
