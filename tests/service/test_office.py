"""Who gets mail here, however the address is spelled."""

import pytest

from rudp_smtp.service.office import NO_RELAYING, NO_SUCH_MAILBOX, Policy
from rudp_smtp.smtp import Reply

POLICY = Policy(domain="example.org", mailboxes=frozenset({"bob"}))


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("bob@example.org", None),
        ("BOB@EXAMPLE.ORG", None),
        ('"bob"@example.org', None),
        (r'"b\ob"@example.org', None),
        ("postmaster", None),
        ('"Postmaster"@example.org', None),
        ('"bob "@example.org', NO_SUCH_MAILBOX),
        ("bob%other.example@example.org", NO_SUCH_MAILBOX),
        ("bob@other.example", NO_RELAYING),
        ("bob@[127.0.0.1]", NO_RELAYING),
    ],
)
def test_a_mailbox_is_known_however_it_is_spelled(path: str, refusal: Reply | None) -> None:
    assert POLICY.refuse(path, is_trusted=False) == refusal
