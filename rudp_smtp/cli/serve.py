"""`rudp-smtp serve`: a mail server over RUDP and TCP at once, delivering into a Maildir, until Ctrl-C."""

import argparse
import asyncio
import os
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from rudp_smtp.cli import path, trust
from rudp_smtp.cli.terminal import tell, visible
from rudp_smtp.errors import ConfigError, DriverError, LocalProtocolError, MailboxError

if TYPE_CHECKING:
    from rudp_smtp.cli.traces import PacketTracer, Tracer
    from rudp_smtp.drivers.background import BackgroundRelay
    from rudp_smtp.service.addresses import Address
    from rudp_smtp.service.clients import ClientLimits
    from rudp_smtp.service.mailserver import MailServer, Settings
    from rudp_smtp.smtp import Authentication, ServerTls

OK, FAILED, BAD_INPUT = 0, 1, 2
DESCRIPTION = """Receive mail by SMTP over reliable UDP and over TCP at once, and keep it in a Maildir. Say where with
--listen: rudp://HOST:PORT, tcp://HOST:PORT, rudps:// and tcps:// for TLS from the first octet, lmtp://HOST:PORT. Only
mail for the mailboxes of --domain is taken, unless there is a --relay-to for those who log in."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--listen", metavar="URL", action="append", required=True, help="where; may be given several times")
    add("--maildir", metavar="DIR", type=Path, required=True, help="where mail is kept; made if there is none")
    add("--domain", metavar="D", default="localhost", help="ours: mail for NAME@D stays here (%(default)s)")
    add("--mailbox", metavar="NAME", action="append", default=[], help="one of ours; without any, every name is")
    add("--users", metavar="FILE", type=Path, help="who may log in: see rudp-smtp user")
    add("--size-limit", metavar="SIZE", default="32MB", help="of a message (%(default)s)")
    add("--relay-to", metavar="URL", help="where mail for others goes, of those who logged in")
    trust.configure_relay(parser)
    add("--queue", metavar="DIR", type=Path, help="of mail to relay (beside the Maildir: DIR-queue)")
    add_limits(parser)
    add("--impair", metavar="CONFIG", type=Path, help="a scenario's network in front of every rudp:// listener")
    add_tls(parser)
    add("--trace", action="store_true", help="show each dialogue, and over RUDP the packets beneath it as they fly")
    path.configure(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "at a time, of one client: an IPv4 address or an IPv6 /64 (%(default)s)"
    add("--sessions-per-client", metavar="N", type=_positive, default=100, help=text)
    text = "of one client; those beyond are put off with 450 (%(default)s)"
    add("--messages-per-minute", metavar="N", type=_positive, default=60_000, help=text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def read_limits(options: argparse.Namespace) -> "ClientLimits":
    """What --sessions-per-client and --messages-per-minute say."""
    from rudp_smtp.service.clients import ClientLimits

    return ClientLimits(sessions=options.sessions_per_client, messages_per_minute=options.messages_per_minute)


def add_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tls-self-signed", action="store_true", help="offer TLS with a certificate made on the spot")
    parser.add_argument("--cert", metavar="FILE", type=Path, help="offer TLS with this certificate (PEM)")
    parser.add_argument("--key", metavar="FILE", type=Path, help="its key (PEM)")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        return asyncio.run(_serve(options))
    except ConfigError as error:
        print(visible(str(error), keep="\n"), file=sys.stderr)
        return BAD_INPUT
    except (DriverError, MailboxError) as error:
        print(visible(str(error)), file=sys.stderr)
        return FAILED


async def _serve(options: argparse.Namespace) -> int:
    from rudp_smtp.cli.traces import Tracer
    from rudp_smtp.drivers import aio
    from rudp_smtp.service.addresses import parse_address

    addresses = [parse_address(text) for text in options.listen]
    notice = Notices()
    settings = replace(_settings(options, addresses), notice=notice)
    tracer = Tracer() if options.trace else None
    if tracer is not None:
        settings = replace(settings, watch=tracer.watching)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    with ExitStack() as stack:
        async with make_server(settings) as server:
            for address in addresses:
                notice(await _Listening(server, options, tracer, stack).begin(address))
            await over.wait()
            notice("closing")
        await aio.shutdown()
    return OK


def make_server(settings: "Settings") -> "MailServer":
    from rudp_smtp.service.mailserver import MailServer

    numbers = count(1)
    own = f"P{os.getpid()}.{secrets.token_hex(4)}"
    return MailServer(
        settings, clock=time.time_ns, unique=lambda: f"{own}Q{next(numbers)}", identity=secrets.token_hex(8)
    )


class Notices:
    """Lines for whoever watches, with the time; those of one turn of the loop are written together."""

    def __init__(self) -> None:
        self._waiting: list[str] = []

    def __call__(self, text: str) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(f"{time.strftime('%H:%M:%S')} {visible(text)}")

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            tell("\n".join(waiting))


def _settings(options: argparse.Namespace, addresses: "Sequence[Address]") -> "Settings":
    from rudp_smtp.service.addresses import parse_target
    from rudp_smtp.service.mailserver import Settings
    from rudp_smtp.service.office import Policy
    from rudp_smtp.smtp.address import check_own_domain

    _check(options, addresses)
    tls = read_tls(options, ["localhost"], addresses)
    try:
        check_own_domain(options.domain)
    except LocalProtocolError as error:
        raise ConfigError(f"--domain {error}") from None
    host = None
    if options.relay_to is not None:
        host = trust.smarthost(options, parse_target("--relay-to", options.relay_to))
    beside = options.maildir.with_name(f"{options.maildir.name}-queue")
    return Settings(
        policy=Policy(
            domain=options.domain,
            mailboxes=frozenset(name.lower() for name in options.mailbox),
            relays=host is not None,
        ),
        maildir=options.maildir,
        tls=tls,
        authentication=_authentication(options.users, has_tls=tls is not None),
        size_limit=read_size(options.size_limit),
        smarthost=host,
        queue=(options.queue or beside) if host is not None else None,
        client_limits=read_limits(options),
    )


def _check(options: argparse.Namespace, addresses: "Sequence[Address]") -> None:
    """Refuse what would have no effect, and a path that cannot be, before anything is made."""
    if options.queue is not None and options.relay_to is None:
        raise ConfigError("--queue is of mail to relay: say where to with --relay-to")
    if options.relay_to is None:
        trust.refuse_relay(options, "say which with --relay-to")
    for name in options.mailbox:
        if "@" in name:
            raise ConfigError(f"--mailbox {name}: only the name before the @; the domain is --domain's")
    if options.impair is None:
        if options.settings:
            raise ConfigError("--set changes the network of --impair: add --impair CONFIG")
        return
    if not any(address.is_rudp for address in addresses):
        raise ConfigError("--impair is for rudp:// listeners, and there is none")
    path.load_live(options.impair, options.settings)


def read_size(text: str) -> int:
    """What --size-limit says."""
    from rudp_smtp.units import parse_size

    try:
        return parse_size(text)
    except ConfigError as error:
        raise ConfigError(f"--size-limit {error}") from None


def read_tls(options: argparse.Namespace, names: "Sequence[str]", addresses: "Sequence[Address]") -> "ServerTls | None":
    """What --tls-self-signed, --cert and --key say; a certificate made here is for the domain, these and our hosts."""
    tls = _read_tls(options, [options.domain, *names, *(address.host for address in addresses)])
    if tls is None and any(address.is_encrypted for address in addresses):
        raise ConfigError("--listen with TLS from the first octet needs --tls-self-signed, or --cert and --key")
    return tls


def _read_tls(options: argparse.Namespace, names: list[str]) -> "ServerTls | None":
    from rudp_smtp.drivers.certificate import self_signed, server_context
    from rudp_smtp.smtp import ServerTls

    if options.tls_self_signed:
        if options.cert or options.key:
            raise ConfigError("--tls-self-signed makes a certificate: it does not go with --cert and --key")
        context, certificate = self_signed(list(dict.fromkeys(names)))
        return ServerTls(context=context, certificate=certificate)
    if (options.cert is None) != (options.key is None):
        raise ConfigError("--cert and --key go together")
    if options.cert is None:
        return None
    try:
        certificate = ssl.PEM_cert_to_DER_cert(_first_certificate(options.cert.read_text(encoding="ascii")))
        return ServerTls(context=server_context(options.cert, options.key), certificate=certificate)
    except ssl.SSLError as error:
        reason = (error.reason or "no key in it").replace("_", " ").lower()
        raise ConfigError(f"--cert {options.cert} --key {options.key}: {reason}") from error
    except OSError as error:
        raise ConfigError(f"--cert {options.cert} --key {options.key}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--cert {options.cert}: {error}; expected PEM") from error


def _first_certificate(text: str) -> str:
    end = "-----END CERTIFICATE-----"
    start = text.find("-----BEGIN CERTIFICATE-----")
    if start < 0 or end not in text:
        raise ValueError("no certificate in it")
    return text[start : text.index(end) + len(end)]


def _authentication(users: Path | None, *, has_tls: bool) -> "Authentication | None":
    from rudp_smtp.mail.users import UserFile
    from rudp_smtp.smtp import Authentication

    if users is None:
        return None
    if not has_tls:
        raise ConfigError("--users needs TLS: passwords are not for the open wire; add --tls-self-signed, or --cert")
    file = UserFile(users)
    file.names()
    return Authentication(credentials=file, entropy=os.getrandom)


@dataclass(frozen=True, slots=True)
class _Listening:
    """How a server's listeners begin."""

    server: "MailServer"
    options: argparse.Namespace
    tracer: "Tracer | None"
    stack: ExitStack  # ends what lies in front of them

    async def begin(self, address: "Address") -> str:
        """What there is to tell of it."""
        from rudp_smtp.cli.traces import PacketTracer

        sink = PacketTracer(self.tracer, address.port) if self.tracer is not None else None
        is_impaired = self.options.impair is not None and address.is_rudp
        bound = await (self._begin_impaired(address, sink) if is_impaired else self.server.listen(address, sink=sink))
        if sink is not None:
            sink.port = bound.port  # it was any free one, perhaps
        return f"listening on {bound}" + (f", behind the network of {self.options.impair}" if is_impaired else "")

    async def _begin_impaired(self, address: "Address", sink: "PacketTracer | None") -> "Address":
        inner = type(address)(address.scheme, "127.0.0.1", 0)
        bound = await self.server.listen(inner, sink=sink, client_behind=lambda peer: relay.relay.client_behind(peer))
        relay = _impaired((address.host, address.port), ("127.0.0.1", bound.port), self.options)
        self.stack.enter_context(relay)
        return address.at(relay.address[1])


def _impaired(listen: tuple[str, int], upstream: tuple[str, int], options: argparse.Namespace) -> "BackgroundRelay":
    from rudp_smtp.drivers.background import BackgroundRelay
    from rudp_smtp.drivers.proxy import Path as Impaired
    from rudp_smtp.experiment.events import arrange
    from rudp_smtp.experiment.inspection import readers_before

    configuration, seed = path.load_live(options.impair, options.settings)
    impaired = Impaired(
        forward=configuration.forward, reverse=configuration.reverse, seed=seed, readers=readers_before(upstream)
    )
    relay = BackgroundRelay(upstream, impaired, listen=listen)
    arrange(configuration.events, relay.relay)
    return relay
