import pickle

import pytest

from rudp_smtp.errors import ConfigError, PacketDecodeError, ProtocolError, RemoteProtocolError, RudpError


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no such model", key="link.loss"),
        ProtocolError("not now", error_code=7),
        PacketDecodeError("cut", trigger="frame_encoding_error", error_code=7),
    ],
)
def test_an_error_survives_the_way_home_from_a_worker_process(error: RudpError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_a_peer_did_wrong_is_caught_as_one_kind() -> None:
    with pytest.raises(RemoteProtocolError, match="cut") as caught:
        raise PacketDecodeError("cut")
    assert isinstance(caught.value, ProtocolError)
    assert isinstance(caught.value, RudpError)
