"""rudp-smtp queue: what waits in a server's queue, and what an operator may do about it; the server may run meanwhile.

Exit status: 0; 1 if a message that was named is not in the queue; 2 if there is no queue or it cannot be changed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rudp_smtp.cli.terminal import BAD_INPUT, NOT_FOUND, OK, guarded, moment, print_octets, print_table, visible
from rudp_smtp.mail.queue_index import INDEX_NAME, QueueIndex
from rudp_smtp.mail.queued import QueuedMail

DESCRIPTION = """List the mail that waits in a queue, show it, try it now, hold or release it, or remove it without a
word to anybody. The server may run meanwhile."""

ACTIONS = {
    "list": "what waits, a line for each recipient",
    "show": "all that is known of messages, and their octets",
    "retry": "try them now, not at their time",
    "hold": "try them no more until they are released",
    "release": "the opposite",
    "remove": "forget them; nobody is told",
}
SHOWN_OCTETS = 64 << 10
_HEADINGS = ("id", "arrived (UTC)", "octets", "from", "to", "state", "tries", "next try (UTC)", "last reply")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the queue's folder")
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text)
        if name == "show":
            action.add_argument("--raw", action="store_true", help="the octets alone, as they are")
            action.add_argument(
                "ids", nargs="+", type=int, metavar="ID", help="the messages, by the number in the list"
            )
        elif name != "list":
            which = action.add_mutually_exclusive_group(required=True)
            which.add_argument("--all", action="store_true", help="every message")
            which.add_argument("ids", nargs="*", type=int, default=[], metavar="ID", help="by the number in the list")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    if not (options.folder / INDEX_NAME).is_file():
        print(f"{options.folder} is not a queue: there is no {INDEX_NAME} in it", file=sys.stderr)
        return BAD_INPUT
    return guarded(lambda: _act(options))


def _act(options: argparse.Namespace) -> int:
    index = QueueIndex(options.folder)
    try:
        found = {mail.message_id: mail for mail in index.listing()}
        wanted = getattr(options, "ids", None) or list(found)
        absent = [message_id for message_id in wanted if message_id not in found]
        mails = [found[message_id] for message_id in wanted if message_id in found]
        _do(index, options, mails)
    finally:
        index.close()
    for message_id in absent:
        print(f"{message_id} is not in the queue", file=sys.stderr)
    return NOT_FOUND if absent else OK


def _do(index: QueueIndex, options: argparse.Namespace, mails: Sequence[QueuedMail]) -> None:
    ids, now = [mail.message_id for mail in mails], time.time_ns()
    match options.action:
        case "list":
            print_table(_HEADINGS, [row for mail in mails for row in _rows(mail)])
        case "show":
            for mail in mails:
                _show(index, mail, is_raw=options.raw)
        case "retry":
            print(f"{index.retry(ids, now)} recipients will be tried now")
        case "hold":
            print(f"{index.hold(ids)} recipients held")
        case "release":
            print(f"{index.release(ids, now)} recipients released")
        case "remove":
            print(f"{index.remove(ids)} messages removed")


def _rows(mail: QueuedMail) -> list[tuple[str, ...]]:
    return [
        (
            str(mail.message_id),
            moment(mail.arrived_at),
            str(mail.octets),
            f"<{mail.submission.reverse_path}>",
            f"<{queued.recipient.forward_path}>",
            queued.state.value,
            str(queued.attempts),
            moment(queued.next_attempt) if queued.state.value == "pending" else "-",
            queued.reply or "-",
        )
        for queued in mail.recipients
    ]


def _show(index: QueueIndex, mail: QueuedMail, *, is_raw: bool) -> None:
    if is_raw:
        for piece in index.body(mail.message_id):
            print_octets(piece)
        return
    about = mail.submission
    print_table(_HEADINGS, _rows(mail))
    for name, value in (
        ("ENVID", about.envelope_id),
        ("RET", about.returns),
        ("key", about.key),
        *about.parameters,
        *(("NOTIFY", f"{r.forward_path}: {','.join(r.notify)}") for r in about.recipients if r.notify),
        *(("ORCPT", f"{r.forward_path}: {r.original}") for r in about.recipients if r.original),
    ):
        if value or (name, value) in about.parameters:
            print(visible(f"{name} {value}".rstrip()))
    shown = b""
    for piece in index.body(mail.message_id):
        shown += piece
        if len(shown) >= SHOWN_OCTETS:
            break
    text = shown[:SHOWN_OCTETS].decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    print(f"\n{visible(text, keep=chr(10) + chr(9))}")
    if mail.octets > SHOWN_OCTETS:
        print(f"... {mail.octets - SHOWN_OCTETS} octets more: --raw has them all")
