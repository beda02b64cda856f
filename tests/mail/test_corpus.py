"""A corpus on disk: which messages, in which order, with which octets and envelope."""

from pathlib import Path

import pytest

from rudp_smtp.errors import ConfigError
from rudp_smtp.mail.corpus import DEFAULT_FORWARD_PATH, DEFAULT_REVERSE_PATH, load_corpus
from rudp_smtp.mail.message import Message, Prepared, prepare
from rudp_smtp.smtp.address import parse_mailbox

CPYTHON = Path(__file__).parents[3] / "shared" / "data" / "mail" / "cpython"
PLAIN = b"From: Ann <ann@a.example>\nTo: bob@b.example\nSubject: x\n\nbody\n"


def folder(place: Path, files: dict[str, bytes]) -> str:
    for name, octets in files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(octets)
    return str(place)


def only(place: Path, header: bytes) -> Message:
    (message,) = load_corpus(folder(place, {"m": header + b"\n\nbody\n"}))
    return message


def test_a_folder_gives_its_files_by_name_and_their_octets_untouched(tmp_path: Path) -> None:
    files = {"b.eml": b"B: \x00\r\r\n", "a.eml": PLAIN, "C": b"", ".hidden": PLAIN, "sub/x": PLAIN}
    messages = load_corpus(folder(tmp_path, files))
    assert [(m.name, m.octets) for m in messages] == [("C", b""), ("a.eml", PLAIN), ("b.eml", b"B: \x00\r\r\n")]


def test_a_maildir_gives_new_and_cur_together_and_leaves_tmp_alone(tmp_path: Path) -> None:
    files = {"cur/1.a:2,S": PLAIN, "new/2.a": PLAIN, "tmp/3.a": PLAIN, "cur/0.z:2,": PLAIN}
    assert [m.name for m in load_corpus(folder(tmp_path, files))] == ["0.z:2,", "1.a:2,S", "2.a"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_an_mbox_is_cut_at_its_from_lines_and_unquoted(tmp_path: Path, line_end: bytes) -> None:
    lines = [
        b"From ann@a.example Mon Jan  1 00:00:00 2024",
        b"Subject: one",
        b"",
        b">From here",
        b"From inside a paragraph",
        b">>From there",
        b"> From",
        b"",
        b"From bob@b.example Mon Jan  1 00:00:01 2024",
        b"Subject: two",
        b"",
        b"",
    ]
    file = tmp_path / "box"
    file.write_bytes(line_end.join(lines))
    one, two = load_corpus(str(file))
    body = [b"From here", b"From inside a paragraph", b">From there", b"> From", b""]
    assert one.octets == line_end.join([b"Subject: one", b"", *body])
    assert two.octets == line_end.join([b"Subject: two", b""])
    assert (one.name, two.name) == ("box:1", "box:2")


def test_the_envelope_is_what_delivery_left_in_the_header(tmp_path: Path) -> None:
    header = (
        b"Return-Path: <bounces@list.example>\nDelivered-To: me@b.example\nX-Original-To: alias@b.example\n"
        b"From: ann@a.example\nTo: list@list.example"
    )
    message = only(tmp_path, header)
    assert message.reverse_path == "bounces@list.example"
    assert message.forward_paths == ("me@b.example", "alias@b.example")


def test_without_traces_of_delivery_the_author_and_the_recipients_are_asked(tmp_path: Path) -> None:
    header = (
        b'From: "Ann, A." <ann@a.example>\r\nto: bob@b.example (Bob),\r\n\t<eve@e.example>\r\nCC: Bob <bob@b.example>'
    )
    message = only(tmp_path, header)
    assert message.reverse_path == "ann@a.example"
    assert message.forward_paths == ("bob@b.example", "eve@e.example")


def test_the_null_return_path_of_a_bounce_is_kept(tmp_path: Path) -> None:
    assert only(tmp_path, b"Return-Path: <>\nFrom: mailer-daemon@a.example").reverse_path == ""


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"<>",
        b"undisclosed-recipients:;",
        b"ann@a.example> X",
        b"ann@@a.example",
        b"<ann@a.example",
        b"(((((ann@a.example",
        b"<ann@a.example> <bob@b.example>",
        "Ann <änn@a.example>".encode(),
        b"\xff\xfe@a.example",
        b"ann@a_b.example",
        b"friends: ann@a.example",
    ],
)
def test_what_the_strict_parser_refuses_becomes_the_default(tmp_path: Path, value: bytes) -> None:
    message = only(tmp_path, b"From: " + value + b"\nTo: " + value)
    assert message.reverse_path == DEFAULT_REVERSE_PATH
    assert message.forward_paths == (DEFAULT_FORWARD_PATH,)


def test_one_bad_address_does_not_lose_its_neighbours(tmp_path: Path) -> None:
    message = only(tmp_path, b'To: bad@@x, "Q, (q" <q@q.example>, "odd local"@o.example, x@[192.0.2.1]')
    assert message.forward_paths == ("q@q.example", '"odd local"@o.example', "x@[192.0.2.1]")


def test_the_members_of_a_group_are_recipients_and_its_name_is_not(tmp_path: Path) -> None:
    value = b'Team: a@example.org, Bo <b@example.org>, "c: d"@example.org;, e@[IPv6:2001:db8::1], undisclosed:;'
    (tmp_path / "one").write_bytes(b"To: " + value + b"\n\nbody\n")
    (message,) = load_corpus(str(tmp_path))
    expected = ("a@example.org", "b@example.org", '"c: d"@example.org', "e@[IPv6:2001:db8::1]")
    assert message.forward_paths == expected


def test_header_fields_in_the_body_are_not_asked(tmp_path: Path) -> None:
    message = only(tmp_path, b"Subject: x\n\nFrom: ann@a.example\nTo: bob@b.example")
    assert (message.reverse_path, message.forward_paths) == (DEFAULT_REVERSE_PATH, (DEFAULT_FORWARD_PATH,))


def test_no_more_recipients_than_every_server_must_take(tmp_path: Path) -> None:
    header = b"To: " + b",\n ".join(b"u%d@b.example" % number for number in range(150))
    assert len(only(tmp_path, header).forward_paths) == 100


def test_what_is_no_corpus_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere' does not exist; expected a folder of messages, an mbox or a Mail"):
        load_corpus(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="holds no message"):
        load_corpus(str(tmp_path))
    file = tmp_path / "single.eml"
    file.write_bytes(PLAIN)
    with pytest.raises(ConfigError, match="is no mbox: it does not begin with 'From '"):
        load_corpus(str(file))


@pytest.mark.skipif(not CPYTHON.is_dir(), reason="the shared corpus is not here")
def test_the_awkward_messages_of_cpython_are_all_there_with_addresses_smtp_can_carry() -> None:
    messages = load_corpus(str(CPYTHON))
    assert len(messages) == 48
    for message in messages:
        assert isinstance(prepare(message), Prepared)
        for path in (message.reverse_path, *message.forward_paths):
            assert path == "" or parse_mailbox(path)
