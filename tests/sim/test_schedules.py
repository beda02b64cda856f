"""Every subset of a session's first packets dropped, duplicated or delayed: the mail arrives exactly once, and in time.

`python -m tests.sim.schedules` names the slowest schedules.
"""

import pytest

from rudp_smtp.units import MILLISECOND
from tests.sim.schedules import PACKETS, Harm, play

BATCHES = 16
SLOWEST = {  # of all subsets, connect to the final 250 over an RTT of 40 ms; with nothing harmed it is 160 ms
    Harm.DROPPED: 5_360 * MILLISECOND,
    Harm.DUPLICATED: 160 * MILLISECOND,
    Harm.DELAYED: 1_120 * MILLISECOND,
}


@pytest.mark.parametrize("number", range(BATCHES))
@pytest.mark.parametrize("harm", Harm, ids=lambda harm: harm.name.lower())
def test_whatever_befalls_any_of_the_first_packets_the_mail_arrives_once_and_in_time(harm: Harm, number: int) -> None:
    for chosen in range(number, 1 << PACKETS, BATCHES):
        played = play(harm, chosen)
        assert played.fate == ("done", "delivered", 1, True, 1), f"packets {harm.value}: {chosen:#014b}"
        assert played.time <= min(played.limit, SLOWEST[harm]), f"packets {harm.value}: {chosen:#014b}"
