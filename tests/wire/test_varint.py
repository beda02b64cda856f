import pytest
from hypothesis import given

from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.wire.varint import VARINT_MAX, decode_varint, encode_varint
from tests.wire.strategies import varints


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("c2 19 7c 5e ff 14 e8 8c", 151_288_809_941_952_652),
        ("9d 7f 3e 7d", 494_878_333),
        ("7b bd", 15_293),
        ("25", 37),
    ],
)
def test_the_examples_of_rfc_9000_appendix_a1_hold_both_ways(octets: str, value: int) -> None:
    encoded = bytes.fromhex(octets)
    assert decode_varint(encoded, 0) == (value, len(encoded))
    assert encode_varint(value) == encoded


def test_a_longer_form_than_needed_is_accepted() -> None:
    assert decode_varint(bytes.fromhex("40 25"), 0) == (37, 2)


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), (2**30 - 1, 4), (2**30, 8), (2**62 - 1, 8)],
)
def test_the_shortest_form_is_chosen_at_every_border(value: int, size: int) -> None:
    encoded = encode_varint(value)
    assert len(encoded) == size
    assert decode_varint(encoded, 0) == (value, size)


@given(varints)
def test_decoding_undoes_encoding_anywhere_in_the_data(value: int) -> None:
    encoded = encode_varint(value)
    assert decode_varint(b"\xff\xff" + encoded + b"\xff", 2) == (value, 2 + len(encoded))


@pytest.mark.parametrize("encoded", [encode_varint(value) for value in (1, 64, 16_384, VARINT_MAX)])
def test_a_cut_integer_is_refused(encoded: bytes) -> None:
    for size in range(len(encoded)):
        with pytest.raises(PacketDecodeError) as refused:
            decode_varint(encoded[:size], 0)
        assert refused.value.trigger == "frame_encoding_error"


@pytest.mark.parametrize("value", [-1, VARINT_MAX + 1])
def test_what_does_not_fit_is_our_own_mistake(value: int) -> None:
    with pytest.raises(AssertionError):
        encode_varint(value)
