"""The web inbox from outside: by HTTP, and in a browser where there is one."""

import http.client
import os
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import uvicorn

from rudp_smtp.mail.stories import Story, write_stories
from rudp_smtp.web import make_app
from tests.web.browser import CHROMIUM, browsing

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
EVIL = (
    '<h1>Hello</h1><img src="http://192.0.2.1/spy.png"><img id="own" src="cid:pic">'
    "<script>parent.document.title = 'taken'</script><form action='http://192.0.2.1/'><button>go</button></form>"
)


def letter(subject: str, html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ada <ada@example.org>", "b@example.org", subject
    message.set_content("the engine weaves\n")
    if html:
        message.add_alternative(html, subtype="html")
        message.get_payload()[1].add_related(PNG, "image", "png", cid="<pic>")  # type: ignore[index, union-attr]
    message.add_attachment(b"<script>alert(1)</script>", maintype="text", subtype="html", filename='../a"b.html')
    return message


def put(root: Path, name: str, message: EmailMessage) -> None:
    (root / "tmp" / name).write_bytes(bytes(message))
    (root / "tmp" / name).rename(root / "new" / name)


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    root = tmp_path / "mail"
    for folder in ("tmp", "new", "cur"):
        (root / folder).mkdir(parents=True)
    return root


@pytest.fixture
def port(maildir: Path) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(make_app(maildir), host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def test_the_list_shows_what_is_there_and_runs_nothing_of_it(maildir: Path, port: int) -> None:
    assert "No mail yet" in get(port, "/")[2]
    put(maildir, "1.M1.host", letter("<b>bold</b> & =?utf-8?q?sch=C3=B6n?="))
    status, headers, text = get(port, "/")
    assert status == 200
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; schön" in text
    assert "default-src 'none'" in headers["content-security-policy"]
    assert 'href="/mail/1.M1.host"' in text


def test_a_message_is_shown_with_its_story_and_its_parts(maildir: Path, port: int) -> None:
    message = letter("hi", EVIL)
    octets = b"Return-Path: <>\r\nReceived: from x\r\n\tby y with ESMTP id 1f.2;\r\n\tdate\r\n" + bytes(message)
    (maildir / "new" / "1.M1.host").write_bytes(octets)
    story = Story(
        transport="rudp", peer="h:1", protocol="ESMTP", size=9, duration_ms=1, packets_received=9, packets_missing=1
    )
    write_stories(maildir, [("1f.2", story)])
    text = get(port, "/mail/1.M1.host")[2]
    assert "the engine weaves" in text
    assert "10.0 %" in text
    assert "<iframe" in text
    assert "sandbox" in text
    assert "parent.document.title" not in text
    assert "Subject: hi" in get(port, "/mail/1.M1.host/source")[2]


def test_html_of_a_message_has_a_policy_that_lets_it_do_nothing(maildir: Path, port: int) -> None:
    put(maildir, "1.M1.host", letter("hi", EVIL))
    _, headers, text = get(port, "/mail/1.M1.host/html")
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy
    assert 'src="/mail/1.M1.host/part/' in text


def test_an_attachment_is_handed_out_and_never_shown(maildir: Path, port: int) -> None:
    put(maildir, "1.M1.host", letter("hi"))
    _, headers, text = get(port, "/mail/1.M1.host/part/2")
    assert text == "<script>alert(1)</script>"
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''.._a%22b.html"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/mail/none",
        "/mail/..%2f..%2fetc%2fpasswd",
        "/mail/.hidden",
        "/mail/1.M1.host/part/99",
        "/mail/%00",
        "/static/../app.py",
    ],
)
def test_what_is_not_there_is_not_found(maildir: Path, port: int, path: str) -> None:
    put(maildir, "1.M1.host", letter("hi"))
    assert get(port, path)[0] == 404


def test_a_page_that_calls_us_by_its_own_name_is_refused(port: int) -> None:
    assert get(port, "/", host="evil.example")[0] == 400
    assert get(port, "/", host="localhost")[0] == 200


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0\xff" * 100,
        b"Subject: =?utf-8?b?####?=\r\nFrom: =?no-such?q?x?=\r\nDate: 99 Foo 99999\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n" * 5000,
        b"Content-Type: text/plain; charset=no-such\r\nContent-Transfer-Encoding: base64\r\n\r\n@@@",
        b"Content-Type: " + b"multipart/mixed; " * 1000 + b"\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\n" * 2000,
        b"Content-Type: application/pdf\r\nContent-ID: <\xff>\r\n\r\nx",
    ],
)
def test_whatever_arrived_can_be_shown(maildir: Path, port: int, octets: bytes) -> None:
    (maildir / "new" / "1.M1.host").write_bytes(octets)
    for path in ("/", "/mail/1.M1.host", "/mail/1.M1.host/html", "/mail/1.M1.host/source"):
        assert get(port, path)[0] == 200


def test_a_folder_that_goes_and_comes_back_is_told(maildir: Path, port: int) -> None:
    put(maildir, "1.M1.host", letter("hi"))
    maildir.rename(maildir.with_name("elsewhere"))
    assert [get(port, path)[0] for path in ("/", "/list", "/mail/1.M1.host")] == [503, 503, 404]
    maildir.with_name("elsewhere").rename(maildir)
    assert get(port, "/")[0] == 200


def test_what_is_no_message_does_not_hide_those_that_are(maildir: Path, port: int) -> None:
    put(maildir, "1.M1.host", letter("hi"))
    (maildir / "new" / "2.folder").mkdir()
    (maildir / "new" / "3.link").symlink_to("nowhere")
    (maildir / "new" / os.fsdecode(b"4.\xff")).write_bytes(b"x")
    status, _, text = get(port, "/")
    assert (status, text.count("/mail/")) == (200, 1)


def test_an_embedded_picture_is_not_taken_for_one_whose_name_begins_alike(maildir: Path, port: int) -> None:
    pictures = b"".join(
        b"--b\r\nContent-Type: image/png\r\nContent-ID: <%b>\r\n\r\nx\r\n" % name for name in (b"a", b"a1", b"a b&c")
    )
    html = b"<img src=cid:a1><img src='cid:a'><img src=\"cid:a%20b&amp;c\"><img src=cid:no>"
    octets = (
        b"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n" + html + b"\r\n"
    )
    (maildir / "new" / "1.M1.host").write_bytes(octets + pictures + b"--b--\r\n")
    place = "/mail/1.M1.host/part"
    shown = f"<img src={place}/3><img src='{place}/2'><img src=\"{place}/4\"><img src=cid:no>"
    assert get(port, "/mail/1.M1.host/html")[2].strip() == shown


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_in_a_browser_mail_appears_as_it_arrives_and_html_stays_in_its_frame(
    maildir: Path, port: int, tmp_path: Path
) -> None:
    with browsing(tmp_path / "profile") as browser:
        browser.go(f"http://127.0.0.1:{port}/")
        browser.wait_for("document.getElementById('live').textContent === 'live'")
        assert browser.evaluate("document.querySelectorAll('tbody tr').length") == 0
        put(maildir, "1.M1.host", letter("news", EVIL))
        browser.wait_for("document.querySelectorAll('tbody tr').length === 1")
        browser.picture(tmp_path / "list.png")
        browser.evaluate("document.querySelector('tbody a').click()")
        browser.wait_for("document.querySelector('iframe') !== null && document.readyState === 'complete'")
        time.sleep(0.5)
        browser.picture(tmp_path / "letter.png")
        assert browser.evaluate("document.title") == "news"
        assert browser.evaluate("document.querySelector('iframe').contentDocument") is None  # another origin
        assert (tmp_path / "letter.png").stat().st_size > 5_000
