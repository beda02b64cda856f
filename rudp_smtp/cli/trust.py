"""Whom our client believes and as whom it logs in, as options say: those of `send`, and with relay- in front of each
those of `serve` and `gateway` about the next host."""

import argparse
import os
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rudp_smtp.errors import ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from rudp_smtp.service.addresses import Address
    from rudp_smtp.service.relaying import Smarthost
    from rudp_smtp.smtp import Login

RELAY = "relay-"
STARTTLS = f"--{RELAY}starttls"


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
    add(STARTTLS, action="store_true", help=text)
    configure(add, RELAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What these options say, with `prefix` in front of their names."""

    prefix: str
    ca: Path | None
    is_insecure: bool
    user: str | None
    password_file: str | None

    def name(self, word: str) -> str:
        return f"--{self.prefix}{word}"

    @property
    def given(self) -> list[str]:
        """The names of those that are there."""
        words = {"ca": self.ca, "insecure": self.is_insecure or None, "user": self.user}
        words["password-file"] = self.password_file
        return [self.name(word) for word, value in words.items() if value is not None]

    def refuse_trust(self, remedy: str) -> None:
        """There is no TLS that they could be about."""
        if self.ca is not None or self.is_insecure:
            raise ConfigError(f"{self.name('ca')} and {self.name('insecure')} are about TLS: {remedy}")

    def context(self) -> ssl.SSLContext:
        """Who is believed."""
        from rudp_smtp.smtp.tls import unverified_context

        option, ca = self.name("ca"), self.ca
        if self.is_insecure:
            if ca is not None:
                raise ConfigError(f"{self.name('insecure')} believes anybody: leave out {option}, or it")
            return unverified_context()
        try:
            return ssl.create_default_context(cafile=str(ca) if ca is not None else None)
        except ssl.SSLError as error:
            raise ConfigError(f"{option} {ca}: no certificate in it; expected PEM") from error
        except OSError as error:
            raise ConfigError(f"{option} {ca}: {error.strerror}") from error

    def login(self) -> "Login | None":
        from rudp_smtp.smtp import Login

        user, file = self.name("user"), self.name("password-file")
        if self.user is None:
            if self.password_file is not None:
                raise ConfigError(f"{file} is for a login: say as whom with {user}")
            return None
        if self.password_file is None:
            raise ConfigError(f"{user} needs {file}: a password on the command line is seen by everybody here")
        password = read_password(file, self.password_file)
        try:
            return Login(name=self.user, password=password, entropy=os.getrandom)
        except LocalProtocolError as error:
            raise ConfigError(f"{user} and {file}: {error}") from None


def read(options: argparse.Namespace, prefix: str = "") -> Wishes:
    given = vars(options)
    own = prefix.replace("-", "_")
    return Wishes(
        prefix=prefix,
        ca=given[f"{own}ca"],
        is_insecure=given[f"{own}insecure"],
        user=given[f"{own}user"],
        password_file=given[f"{own}password_file"],
    )


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
    starttls = [STARTTLS] if options.relay_starttls else []
    for name in [*starttls, *read(options, RELAY).given]:
        raise ConfigError(f"{name} is about the next host: {remedy}")


def smarthost(options: argparse.Namespace, address: "Address") -> "Smarthost":
    """The next host. Unless an option or its address says more, mail is encrypted for whoever offers STARTTLS there:
    better than in the clear, whoever signed the certificate (RFC 7435)."""
    from rudp_smtp.service.relaying import Smarthost
    from rudp_smtp.smtp import ClientTls, TlsUse
    from rudp_smtp.smtp.tls import unverified_context

    if address.is_lmtp:
        raise ConfigError(f"mail cannot be handed on to {address}: our client speaks SMTP, not LMTP")
    wishes = read(options, RELAY)
    if address.is_encrypted:
        if options.relay_starttls:
            raise ConfigError(f"{STARTTLS}: {address.scheme}:// has TLS from the first octet, leave one out")
        context, use = wishes.context(), TlsUse.IMPLICIT
    elif options.relay_starttls:
        context, use = wishes.context(), TlsUse.REQUIRED
    else:
        remedy = f"add {STARTTLS}, or call the next host at tcps:// or rudps://"
        wishes.refuse_trust(remedy)
        if wishes.user is not None:
            raise ConfigError(f"{wishes.name('user')} needs TLS, a password is not for the open wire: {remedy}")
        context, use = unverified_context(), TlsUse.OPPORTUNISTIC
    tls = ClientTls(context=context, server_name=address.host, use=use)
    return Smarthost(address=address, tls=tls, login=wishes.login())
