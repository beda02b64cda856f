"""Hypothesis strategies: every frame and packet that the wire can carry."""

from itertools import pairwise

from hypothesis import strategies as st

from rudp_smtp.ranges import RangeSet
from rudp_smtp.units import MICROSECOND, MILLISECOND
from rudp_smtp.wire.ack_frame import MAX_ACK_RANGES
from rudp_smtp.wire.fields import MAX_STREAM_COUNT, MAX_STREAM_ID
from rudp_smtp.wire.frames import (
    MAX_REASON_SIZE,
    AckFrame,
    AckFrequencyFrame,
    ConnectionCloseFrame,
    DataBlockedFrame,
    Frame,
    HelloFrame,
    ImmediateAckFrame,
    MaxDataFrame,
    MaxStreamDataFrame,
    MaxStreamsFrame,
    PaddingFrame,
    PathChallengeFrame,
    PathResponseFrame,
    PingFrame,
    ResetStreamFrame,
    StopSendingFrame,
    StreamDataBlockedFrame,
    StreamFrame,
    StreamsBlockedFrame,
    TokenFrame,
)
from rudp_smtp.wire.hello import MIN_DATAGRAM_SIZE
from rudp_smtp.wire.packet import INITIAL, ONE_RTT, Packet
from rudp_smtp.wire.token import MAX_TOKEN_SIZE
from rudp_smtp.wire.varint import VARINT_MAX


def up_to(limit: int) -> st.SearchStrategy[int]:
    """Integers of every magnitude, the limit and the borders between varint sizes among them."""
    borders = [b for size in (6, 14, 30, 32, 62) for b in ((1 << size) - 1, 1 << size) if b <= limit]
    return st.integers(0, limit) | st.integers(0, 300) | st.sampled_from([*borders, limit])


def ranges_of(cuts: list[int]) -> list[tuple[int, int]]:
    """Disjoint ranges between pairs of sorted cuts, highest first; those that touch become one."""
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return RangeSet(pairs).descending(MAX_ACK_RANGES)


stream_ids = up_to(MAX_STREAM_ID)
varints = up_to(VARINT_MAX)
connection_ids = st.integers(0, (1 << 64) - 1)
reasons = st.text(max_size=MAX_REASON_SIZE // 4)
ack_ranges = st.lists(up_to(VARINT_MAX + 1), min_size=2, max_size=40, unique=True).map(sorted).map(ranges_of)

stream_frames = st.builds(StreamFrame, stream_ids, up_to(VARINT_MAX - 100), st.binary(max_size=100), st.booleans())
ecn_counts = st.none() | st.tuples(varints, varints, varints)
ack_frames = st.builds(AckFrame, ack_ranges, varints.map(lambda us: us * MICROSECOND), ecn_counts)
hello_frames = st.builds(
    HelloFrame,
    max_idle_timeout=varints.map(lambda ms: ms * MILLISECOND),
    max_datagram_size=st.integers(MIN_DATAGRAM_SIZE, VARINT_MAX),
    initial_max_data=varints,
    initial_max_stream_data=varints,
    initial_max_streams=up_to(MAX_STREAM_COUNT),
    max_ack_delay=st.integers(0, (1 << 14) * 1000 - 1).map(lambda us: us * MICROSECOND),
    min_ack_delay=st.none() | up_to(1000).map(lambda us: us * MICROSECOND),
    is_early_data_taken=st.booleans(),
).filter(lambda hello: hello.min_ack_delay is None or hello.min_ack_delay <= hello.max_ack_delay)
frames: st.SearchStrategy[Frame] = st.one_of(
    stream_frames,
    ack_frames,
    hello_frames,
    st.builds(TokenFrame, st.binary(min_size=1, max_size=MAX_TOKEN_SIZE)),
    st.builds(PaddingFrame, st.integers(1, 1500)),
    st.builds(PingFrame),
    st.builds(ResetStreamFrame, stream_ids, varints, varints),
    st.builds(StopSendingFrame, stream_ids, varints),
    st.builds(MaxDataFrame, varints),
    st.builds(MaxStreamDataFrame, stream_ids, varints),
    st.builds(MaxStreamsFrame, up_to(MAX_STREAM_COUNT)),
    st.builds(DataBlockedFrame, varints),
    st.builds(StreamDataBlockedFrame, stream_ids, varints),
    st.builds(StreamsBlockedFrame, up_to(MAX_STREAM_COUNT)),
    st.builds(PathChallengeFrame, connection_ids),
    st.builds(PathResponseFrame, connection_ids),
    st.builds(AckFrequencyFrame, varints, varints, varints.map(lambda us: us * MICROSECOND), varints),
    st.builds(ImmediateAckFrame),
    st.builds(ConnectionCloseFrame, varints, reasons, st.booleans()),
)


def without_adjacent_padding(frames: list[Frame]) -> bool:
    """Runs of padding are decoded as one frame, so two in a row do not come back as they went."""
    return not any(
        isinstance(first, PaddingFrame) and isinstance(second, PaddingFrame) for first, second in pairwise(frames)
    )


frame_lists = st.lists(frames, min_size=1, max_size=6).filter(without_adjacent_padding)
packets = st.builds(Packet, st.just(ONE_RTT), connection_ids, varints, frame_lists) | st.builds(
    Packet, st.just(INITIAL), connection_ids, varints, frame_lists, connection_ids
)
