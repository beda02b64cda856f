"""Whom our client believes and as whom it logs in, as options say: those of `send`, and with relay- in front of each
those of `serve` and `gateway` about the next host."""

import argparse
import os
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rudp_smtp.errors import ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from rudp_smtp.service.addresses import Address
    from rudp_smtp.service.relaying import Smarthost
    from rudp_smtp.smtp import Login

RELAY = "relay-"
_TRUST, _LOGIN = ("ca", "insecure"), ("user", "password-file")


def configure(add: Callable[..., object], prefix: str = "") -> None:
    add(f"--{prefix}ca", metavar="FILE", type=Path, help="believe certificates signed by this one (PEM)")
    text = "believe any certificate: for one that was made on the spot"
    add(f"--{prefix}insecure", action="store_true", help=text)
    add(f"--{prefix}user", metavar="U", help="log in as")
    text = "the first line is the password; - is standard input"
    add(f"--{prefix}password-file", metavar="F", help=text)


def configure_relay(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("at the next host").add_argument
    text = "encrypt, or keep the mail (without this: encrypt where that is offered, whoever it is)"
    add(f"--{RELAY}starttls", action="store_true", help=text)
    configure(add, RELAY)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was given of these options, with this in front of their names."""

    options: argparse.Namespace
    prefix: str = ""

    def name(self, word: str) -> str:
        return f"--{self.prefix}{word}"

    def value(self, word: str) -> Any:  # argparse's
        return getattr(self.options, f"{self.prefix}{word}".replace("-", "_"))

    def is_given(self, word: str) -> bool:
        return self.value(word) not in (None, False)

    def refuse_trust(self, remedy: str) -> None:
        """There is no TLS that they could be about."""
        if any(map(self.is_given, _TRUST)):
            raise ConfigError(f"{' and '.join(map(self.name, _TRUST))} are about TLS: {remedy}")

    def context(self) -> ssl.SSLContext:
        """Who is believed."""
        from rudp_smtp.smtp.tls import unverified_context

        ca = self.value("ca")
        if self.value("insecure"):
            if ca is not None:
                raise ConfigError(f"{self.name('insecure')} believes anybody: leave out {self.name('ca')}, or it")
            return unverified_context()
        try:
            return ssl.create_default_context(cafile=str(ca) if ca is not None else None)
        except ssl.SSLError as error:
            raise ConfigError(f"{self.name('ca')} {ca}: no certificate in it; expected PEM") from error
        except OSError as error:
            raise ConfigError(f"{self.name('ca')} {ca}: {error.strerror}") from error

    def login(self) -> "Login | None":
        from rudp_smtp.smtp import Login

        user, file = map(self.name, _LOGIN)
        if not self.is_given("user"):
            if self.is_given("password-file"):
                raise ConfigError(f"{file} is of the one who logs in: say who with {user}")
            return None
        if not self.is_given("password-file"):
            raise ConfigError(f"{user} needs {file}: a password on the command line is seen by everybody here")
        password = read_password(file, self.value("password-file"))
        try:
            return Login(name=self.value("user"), password=password, entropy=os.getrandom)
        except LocalProtocolError as error:
            raise ConfigError(f"{user} and {file}: {error}") from None


def read_password(option: str, file: str) -> str:
    """The first line of a file, or of standard input."""
    try:
        line = sys.stdin.buffer.readline() if file == "-" else Path(file).read_bytes().partition(b"\n")[0]
        return line.decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{option} {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{option} {file} does not hold UTF-8") from None


def refuse_relay(options: argparse.Namespace, remedy: str) -> None:
    """There is no next host that they could be about."""
    wishes = Wishes(options, RELAY)
    for word in ("starttls", *_TRUST, *_LOGIN):
        if wishes.is_given(word):
            raise ConfigError(f"{wishes.name(word)} is about the next host: {remedy}")


def smarthost(options: argparse.Namespace, address: "Address") -> "Smarthost":
    """The next host. Unless an option or its address says more, mail is encrypted for whoever offers STARTTLS there:
    better than in the clear, whoever signed the certificate (RFC 7435)."""
    from rudp_smtp.service.relaying import Smarthost
    from rudp_smtp.smtp import ClientTls, TlsUse
    from rudp_smtp.smtp.tls import unverified_context

    if address.is_lmtp:
        raise ConfigError(f"mail cannot be handed on to {address}: our client speaks SMTP, not LMTP")
    wishes = Wishes(options, RELAY)
    remedy = f"add {wishes.name('starttls')}, or call the next host at tcps:// or rudps://"
    if address.is_encrypted:
        if wishes.is_given("starttls"):
            raise ConfigError(
                f"{wishes.name('starttls')}: {address.scheme}:// has TLS from the first octet, leave one out"
            )
        context, use = wishes.context(), TlsUse.IMPLICIT
    elif wishes.is_given("starttls"):
        context, use = wishes.context(), TlsUse.REQUIRED
    else:
        wishes.refuse_trust(remedy)
        if wishes.is_given("user"):
            raise ConfigError(f"{wishes.name('user')} needs TLS, a password is not for the open wire: {remedy}")
        context, use = unverified_context(), TlsUse.OPPORTUNISTIC
    tls = ClientTls(context=context, server_name=address.host, use=use)
    return Smarthost(address=address, tls=tls, login=wishes.login())
