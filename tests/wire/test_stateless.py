"""RETRY, VERSION_NEGOTIATION and the head of an INITIAL packet, octet by octet, and whatever else may come."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.errors import PacketDecodeError
from rudp_smtp.wire.frames import HelloFrame, PingFrame, TokenFrame
from rudp_smtp.wire.packet import INITIAL, VERSION, Packet, encode_packet, seal
from rudp_smtp.wire.stateless import (
    VERSIONS_MAX,
    InitialHead,
    VersionNegotiation,
    answered_connection_id,
    decode_retry,
    decode_version_negotiation,
    encode_retry,
    encode_version_negotiation,
    read_initial_head,
)
from rudp_smtp.wire.token import MAX_TOKEN_SIZE
from tests.wire.strategies import connection_ids

CLIENT, SERVER = 0x1122334455667788, 0x99AABBCCDDEEFF00
tokens = st.binary(min_size=1, max_size=MAX_TOKEN_SIZE)
versions = st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=VERSIONS_MAX).map(tuple)


def test_version_negotiation_is_exactly_these_octets() -> None:
    answer = VersionNegotiation(CLIENT, SERVER, (0x0A1A2A3A, VERSION))
    head = "52 00000000 1122334455667788 99aabbccddeeff00"
    assert encode_version_negotiation(answer) == seal([bytes.fromhex(head + "0a1a2a3a 52554401")])


def test_retry_names_the_client_and_hides_what_the_client_called_the_server() -> None:
    datagram = encode_retry(CLIENT, SERVER, b"token")
    assert datagram.startswith(bytes.fromhex("53 52554401 1122334455667788") + b"token")
    assert len(datagram) == 13 + 5 + 16 + 4
    assert SERVER.to_bytes(8, "big") not in datagram


@given(connection_ids, connection_ids, tokens)
def test_the_retry_of_a_client_is_read_by_that_client_alone(client_id: int, original_id: int, token: bytes) -> None:
    datagram = encode_retry(client_id, original_id, token)
    assert decode_retry(datagram, original_id) == token
    assert answered_connection_id(datagram) == client_id
    with pytest.raises(PacketDecodeError) as refused:
        decode_retry(datagram, original_id ^ 1)
    assert refused.value.trigger == "integrity_check_failed"


@given(connection_ids, connection_ids, versions)
def test_decoding_undoes_encoding(destination: int, source: int, listed: tuple[int, ...]) -> None:
    answer = VersionNegotiation(destination, source, listed)
    datagram = encode_version_negotiation(answer)
    assert decode_version_negotiation(datagram) == answer
    assert answered_connection_id(datagram) == destination


@given(connection_ids, connection_ids, tokens)
def test_a_server_finds_the_token_in_front_of_an_initial_packet(destination: int, source: int, token: bytes) -> None:
    packet = Packet(INITIAL, destination, 5, [TokenFrame(token), HelloFrame()], source)
    assert read_initial_head(encode_packet(packet)) == InitialHead(VERSION, destination, source, token)
    packet.frames.reverse()
    assert read_initial_head(encode_packet(packet)) == InitialHead(VERSION, destination, source, b"")


def test_the_head_of_another_version_is_read_as_far_as_all_versions_agree() -> None:
    octets = bytearray(encode_packet(Packet(INITIAL, SERVER, 5, [PingFrame()], CLIENT))[:-4])
    octets[1:5] = bytes.fromhex("ff00001d")
    octets[21:] = b"\x07whatever it has there"
    assert read_initial_head(seal([bytes(octets)])) == InitialHead(0xFF00001D, SERVER, CLIENT, b"")


def refusal(decode: Callable[[bytes], object], datagram: bytes) -> str | None:
    try:
        decode(datagram)
    except PacketDecodeError as error:
        return error.trigger
    return None


@given(st.binary(max_size=80), st.booleans())
def test_any_octets_are_read_or_refused(octets: bytes, is_sealed: bool) -> None:
    datagram = seal([octets]) if is_sealed else octets
    answered_connection_id(datagram)
    known = (None, "header_parse_error", "integrity_check_failed", "frame_encoding_error")
    assert refusal(read_initial_head, datagram) in known
    assert refusal(decode_version_negotiation, datagram) in known
    assert refusal(lambda data: decode_retry(data, SERVER), datagram) in known


@pytest.mark.parametrize("datagram", [encode_retry(CLIENT, SERVER, b"token"), encode_retry(CLIENT, SERVER, b"t" * 512)])
def test_a_retry_with_any_bit_wrong_is_refused_though_its_check_sum_is_right(datagram: bytes) -> None:
    for position in range((len(datagram) - 4) * 8):
        damaged = bytearray(datagram[:-4])
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(PacketDecodeError):
            decode_retry(seal([bytes(damaged)]), SERVER)


def test_a_token_too_long_to_repeat_is_refused() -> None:
    with pytest.raises(PacketDecodeError):
        decode_retry(encode_retry(CLIENT, SERVER, bytes(MAX_TOKEN_SIZE + 1)), SERVER)


def test_a_list_of_versions_without_end_is_refused() -> None:
    with pytest.raises(PacketDecodeError):
        decode_version_negotiation(
            encode_version_negotiation(VersionNegotiation(CLIENT, SERVER, (1,) * (VERSIONS_MAX + 1)))
        )


@pytest.mark.parametrize("token", [b"", bytes(MAX_TOKEN_SIZE + 1)])
def test_a_token_of_no_octets_or_too_many_is_refused(token: bytes) -> None:
    frame = b"\x07" + (bytes([len(token)]) if len(token) < 64 else (len(token) | 0x4000).to_bytes(2, "big")) + token
    with pytest.raises(PacketDecodeError) as refused:
        TokenFrame.decode(frame, 0)
    assert refused.value.trigger == "frame_encoding_error"
