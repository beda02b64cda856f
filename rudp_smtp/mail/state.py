"""What may become of a queued recipient. A pair that is missing has no effect: an operator came too late."""

from rudp_smtp.machine import Word


class RecipientState(Word):
    PENDING = "pending"
    HELD = "held"  # by the operator: not tried until released
    DELIVERED = "delivered"  # handed over to the next hop, or to a mailbox
    FAILED = "failed"


class RecipientInput(Word):
    DELIVER = "deliver"
    DEFER = "defer"
    FAIL = "fail"
    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"  # the operator: now, not at the next attempt's time


TRANSITIONS: dict[tuple[RecipientState, RecipientInput], RecipientState] = {
    (RecipientState.PENDING, RecipientInput.DELIVER): RecipientState.DELIVERED,
    (RecipientState.PENDING, RecipientInput.DEFER): RecipientState.PENDING,
    (RecipientState.PENDING, RecipientInput.FAIL): RecipientState.FAILED,
    (RecipientState.PENDING, RecipientInput.HOLD): RecipientState.HELD,
    (RecipientState.PENDING, RecipientInput.RETRY): RecipientState.PENDING,
    # An attempt was under way when the operator said hold: what it came to is a fact.
    (RecipientState.HELD, RecipientInput.DELIVER): RecipientState.DELIVERED,
    (RecipientState.HELD, RecipientInput.DEFER): RecipientState.HELD,
    (RecipientState.HELD, RecipientInput.FAIL): RecipientState.FAILED,
    (RecipientState.HELD, RecipientInput.RELEASE): RecipientState.PENDING,
}


def is_final(state: RecipientState) -> bool:
    return not any(source is state for source, _ in TRANSITIONS)
