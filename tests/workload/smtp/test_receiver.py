"""Whose copy is whose: rows are filled in from the mailbox, also when messages are equal or damaged."""

from rudp_smtp.mail.mailbox import DeliveredMail
from rudp_smtp.smtp import Envelope
from rudp_smtp.workload import Delivery
from rudp_smtp.workload.smtp.mail import Mail, client_domain
from rudp_smtp.workload.smtp.receiver import match_copies


def mail(index: int, text: bytes, *, session: int = 0, completed_at: int | None = None) -> Mail:
    row = Delivery(index, f"m{index}", len(text), session, completed_at=completed_at)
    return Mail(Envelope("a@a.example", ("b@b.example",), text), 0, row)


def arrived(text: bytes, at: int, *, session: int = 0) -> DeliveredMail:
    domain = client_domain(session)
    return DeliveredMail(Envelope("a@a.example", ("b@b.example",), text, client_domain=domain), at)


def fates(mails: list[Mail]) -> list[tuple[int, int | None, bool]]:
    return [(m.row.copies, m.row.delivered_at, m.row.is_intact) for m in mails]


def test_each_message_finds_its_own_copies() -> None:
    mails = [mail(0, b"x\r\n", completed_at=10), mail(1, b"y\r\n", completed_at=30), mail(2, b"z\r\n")]
    assert match_copies(mails, [arrived(b"y\r\n", 20), arrived(b"x\r\n", 8), arrived(b"y\r\n", 25)]) == 0
    assert fates(mails) == [(1, 8, True), (2, 20, True), (0, None, False)]


def test_copies_of_equal_messages_go_to_the_one_under_way() -> None:
    mails = [mail(0, b"x\r\n", completed_at=10), mail(1, b"x\r\n", completed_at=30), mail(2, b"x\r\n")]
    copies = [arrived(b"x\r\n", at) for at in (5, 9, 20)]
    assert match_copies(mails, copies) == 0
    assert fates(mails) == [(2, 5, True), (1, 20, True), (0, None, False)]


def test_equal_messages_that_all_arrive_in_one_instant_get_a_copy_each() -> None:
    mails = [mail(0, b"x\r\n", completed_at=7), mail(1, b"x\r\n", completed_at=7), mail(2, b"x\r\n", completed_at=9)]
    assert match_copies(mails, [arrived(b"x\r\n", 7)] * 3) == 0
    assert fates(mails) == [(1, 7, True), (1, 7, True), (1, 7, True)]


def test_a_damaged_copy_spoils_the_message_that_lacks_one_in_the_same_instant() -> None:
    mails = [mail(0, b"x\r\n", completed_at=7), mail(1, b"y\r\n", completed_at=7)]
    assert match_copies(mails, [arrived(b"x\r\n", 7), arrived(b"?\r\n", 7)]) == 0
    assert fates(mails) == [(1, 7, True), (1, 7, False)]


def test_a_good_copy_does_not_mend_what_a_damaged_one_spoiled() -> None:
    for copies in ([b"?\r\n", b"x\r\n"], [b"x\r\n", b"?\r\n"]):
        mails = [mail(0, b"x\r\n", completed_at=10)]
        match_copies(mails, [arrived(text, at) for at, text in enumerate(copies)])
        assert fates(mails) == [(2, 0, False)]


def test_a_copy_for_other_recipients_or_from_another_sender_is_not_intact() -> None:
    for reverse, forward in (("a@a.example", ("c@b.example",)), ("", ("b@b.example",)), ("a@a.example", ())):
        mails = [mail(0, b"x\r\n")]
        copy = DeliveredMail(Envelope(reverse, forward, b"x\r\n", client_domain=client_domain(0)), 5)
        assert match_copies(mails, [copy]) == 0
        assert fates(mails) == [(1, 5, False)]


def test_equal_messages_of_two_sessions_are_told_apart() -> None:
    mails = [mail(0, b"x\r\n", session=0), mail(1, b"x\r\n", session=1)]
    assert match_copies(mails, [arrived(b"x\r\n", 5, session=1)]) == 0
    assert fates(mails) == [(0, None, False), (1, 5, True)]


def test_a_damaged_copy_is_one_of_the_message_under_way_and_spoils_it() -> None:
    mails = [mail(0, b"x\r\n", completed_at=10), mail(1, b"y\r\n", completed_at=30)]
    assert match_copies(mails, [arrived(b"x\r\n", 9), arrived(b"?\r\n", 15), arrived(b"y\r\n", 29)]) == 0
    assert fates(mails) == [(1, 9, True), (2, 15, False)]


def test_a_copy_of_no_session_is_counted_apart() -> None:
    mails = [mail(0, b"x\r\n")]
    assert match_copies(mails, [arrived(b"x\r\n", 5, session=7)]) == 1
    assert fates(mails) == [(0, None, False)]


def test_counting_twice_counts_the_same() -> None:
    mails = [mail(0, b"x\r\n", completed_at=10)]
    for _ in range(2):
        assert match_copies(mails, [arrived(b"x\r\n", 8)]) == 0
        assert fates(mails) == [(1, 8, True)]


def test_many_equal_messages_are_told_apart_in_no_time() -> None:
    """A corpus of one message, sent twenty thousand times: not each copy may look at all the messages before."""
    count = 20_000
    mails = [mail(index, b"x\r\n", completed_at=10 * index + 5) for index in range(count)]
    assert match_copies(mails, [arrived(b"x\r\n", 10 * index) for index in range(count)]) == 0
    assert [m.row.delivered_at for m in mails] == [10 * index for index in range(count)]
