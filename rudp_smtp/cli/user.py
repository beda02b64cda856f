"""rudp-smtp user: who may log in at a server. A password is asked for or read from a file, never an argument.

Exit status: 0; 1 if there is no such user to remove; 2 if a name, a password or the file is not acceptable.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rudp_smtp.cli.terminal import BAD_INPUT, NOT_FOUND, OK, visible
from rudp_smtp.cli.trust import read_password
from rudp_smtp.errors import ConfigError
from rudp_smtp.mail.users import UserFile

DESCRIPTION = """Add, remove or list the users of a server. What is kept of a password gives it back to nobody: a
scrypt hash, and the keys of SCRAM-SHA-256."""

ACTIONS = {
    "add": "add a user, or give one another password",
    "remove": "remove a user",
    "list": "the names, one a line",
}


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("--users", type=Path, required=True, metavar="FILE", help="the file of users, mode 0600")
        if name != "list":
            action.add_argument("name", metavar="NAME")
        if name == "add":
            action.add_argument(
                "--password-file", metavar="FILE", help="read the password from its first line; - is standard input"
            )


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    users = UserFile(options.users)
    try:
        match options.action:
            case "add":
                had_one = users.add(options.name, _password(options.password_file), os.getrandom)
                print(f"{visible(options.name)} {'has another password' if had_one else 'was added'}")
            case "remove":
                if not users.remove(options.name):
                    print(f"there is no user {visible(options.name)}", file=sys.stderr)
                    return NOT_FOUND
                print(f"{visible(options.name)} was removed")
            case "list":
                for name in users.names():
                    print(visible(name))
    except ConfigError as error:
        print(visible(str(error)), file=sys.stderr)
        return BAD_INPUT
    return OK


def _password(file: str | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise ConfigError(
                "no terminal to ask for the password at: add --password-file FILE, or - for standard input"
            )
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise ConfigError("the two passwords are not the same")
        return password
    return read_password("--password-file", file)
