"""The generator: exact sizes, valid SMTP data, MIME without a defect, the same octets everywhere."""

import hashlib
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp_smtp.draws import DrawKey
from rudp_smtp.mail.generator import RECIPIENTS_MAX, generate_message
from rudp_smtp.mail.message import Prepared, prepare
from rudp_smtp.mail.size import SMALLEST_MESSAGE

DRAWS = DrawKey(7, "mail")
SIZES = (512, 513, 700, 1023, 1024, 2047, 2048, 4096, 8191, 8192, 8193, 16384, 65537)


def parsed(octets: bytes) -> EmailMessage:
    message = message_from_bytes(octets, policy=SMTP.clone(raise_on_defect=True))
    assert isinstance(message, EmailMessage)
    return message


@given(st.integers(0, 10_000), st.integers(SMALLEST_MESSAGE, 200_000), st.integers(-5, 5))
def test_every_message_has_the_size_that_was_asked_and_needs_no_change_for_smtp(
    index: int, size: int, seed: int
) -> None:
    message = generate_message(index, DrawKey(seed, "mail"), size)
    assert len(message.octets) == size
    assert prepare(message) == Prepared(message.octets)


@pytest.mark.parametrize("size", SIZES)
def test_the_email_package_reads_every_message_without_a_defect(size: int) -> None:
    for index in range(20):
        message = generate_message(index, DRAWS, size)
        read = parsed(message.octets)
        assert read["MIME-Version"] == "1.0"
        assert read["From"].addresses[0].addr_spec == message.reverse_path
        named = [*read["To"].addresses, *(read["Cc"].addresses if read["Cc"] else ())]
        assert tuple(address.addr_spec for address in named) == message.forward_paths
        assert read["Date"].datetime.year == 2024
        for part in read.walk():
            if part.get_content_maintype() == "text":
                assert len(part.get_content()) > 20
            elif not part.is_multipart():
                assert part.get_filename()
                assert isinstance(part.get_content(), bytes)


def test_a_few_hundred_messages_show_every_shape_of_mail() -> None:
    seen: set[str] = set()
    for index in range(200):
        message = generate_message(index, DRAWS, 12 << 10)
        read = parsed(message.octets)
        seen.update(part.get_content_type() for part in read.walk())
        seen.update(part.get("Content-Transfer-Encoding", "none") for part in read.walk())
        seen.add(f"{len(message.forward_paths)} recipients")
        seen.update(["dot"] if b"\r\n." in message.octets else [])
        seen.update(["reply"] if "References" in read else [])
        seen.update(["not ASCII"] if not str(read["Subject"]).isascii() else [])
    assert {"multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"} <= seen
    assert {"7bit", "8bit", "quoted-printable", "base64"} <= seen
    assert {"1 recipients", "2 recipients", "3 recipients", "dot", "reply", "not ASCII"} <= seen


def test_no_two_messages_of_a_run_share_a_message_id_or_content() -> None:
    messages = [generate_message(index, DRAWS, 2048) for index in range(300)]
    assert len({bytes(message.octets) for message in messages}) == 300
    assert len({parsed(message.octets)["Message-ID"] for message in messages}) == 300
    assert messages[7].name == "generated-0007"


def test_another_seed_gives_other_mail_and_the_same_seed_the_same() -> None:
    assert generate_message(3, DRAWS, 4096) == generate_message(3, DrawKey(7, "mail"), 4096)
    assert generate_message(3, DRAWS, 4096) != generate_message(3, DrawKey(8, "mail"), 4096)


def test_the_octets_are_those_of_every_python_version() -> None:
    """Committed once, made alike by CPython 3.11, 3.12 and 3.13: it changes only with a new model version."""
    digest = hashlib.sha256()
    for index in range(40):
        for size in SIZES:
            digest.update(generate_message(index, DRAWS, size).octets)
    assert digest.hexdigest() == "97c81190673843f398322abd5d3eb5e58e12cdb69cbbaae1d12c19881e213a86"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("recipients", [1, 2, RECIPIENTS_MAX])
def test_a_message_has_as_many_recipients_as_were_asked_where_it_has_room(size: int, recipients: int) -> None:
    message = generate_message(3, DRAWS, size, recipients)
    assert len(message.octets) == size
    assert len(set(message.forward_paths)) == len(message.forward_paths) == (recipients if size >= 2048 else 1)
    named = parsed(message.octets).get_all("To", []) + parsed(message.octets).get_all("Cc", [])
    assert all(any(path in str(field) for field in named) for path in message.forward_paths)
