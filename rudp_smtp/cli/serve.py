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

from rudp_smtp.cli import path
from rudp_smtp.cli.terminal import visible
from rudp_smtp.errors import ConfigError, DriverError, LocalProtocolError, MailboxError

if TYPE_CHECKING:
    from rudp_smtp.cli.traces import PacketTracer, Tracer
    from rudp_smtp.drivers.background import BackgroundRelay
    from rudp_smtp.service.addresses import Address
    from rudp_smtp.service.clients import ClientLimits
    from rudp_smtp.service.mailserver import MailServer, Settings
    from rudp_smtp.service.relaying import Smarthost
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
    number = int(text)
    if number < 1:
        raise ValueError
    return number


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
    settings = _settings(options, addresses)
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
                await _Listening(server, options, tracer, stack).begin(address)
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


def notice(text: str) -> None:
    """A line for whoever watches, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {visible(text)}", flush=True)


def _settings(options: argparse.Namespace, addresses: "Sequence[Address]") -> "Settings":
    from rudp_smtp.service.addresses import parse_address
    from rudp_smtp.service.mailserver import Settings
    from rudp_smtp.service.office import Policy
    from rudp_smtp.smtp.address import check_own_domain
    from rudp_smtp.units import parse_size

    tls = read_tls(options, [options.domain, "localhost", *(address.host for address in addresses)])
    if tls is None and any(address.is_encrypted for address in addresses):
        raise ConfigError("--listen with TLS from the first octet needs --tls-self-signed, or --cert and --key")
    try:
        check_own_domain(options.domain)
    except LocalProtocolError as error:
        raise ConfigError(f"--domain {error}") from None
    host = smarthost(parse_address(options.relay_to)) if options.relay_to is not None else None
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
        size_limit=parse_size(options.size_limit),
        smarthost=host,
        queue=(options.queue or beside) if host is not None else None,
        client_limits=read_limits(options),
        notice=notice,
    )


def smarthost(address: "Address") -> "Smarthost":
    """The next host: encrypted from the first octet if its address says so, or else where it offers STARTTLS."""
    from rudp_smtp.service.relaying import Smarthost
    from rudp_smtp.smtp import ClientTls, TlsUse

    if address.is_lmtp:
        raise ConfigError(f"mail cannot be handed on to {address}: our client speaks SMTP, not LMTP")
    use = TlsUse.IMPLICIT if address.is_encrypted else TlsUse.OPPORTUNISTIC
    context = ssl.create_default_context()
    if use is TlsUse.OPPORTUNISTIC:  # better than in the clear, whoever signed it (RFC 7435)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return Smarthost(address=address, tls=ClientTls(context=context, server_name=address.host, use=use))


def read_tls(options: argparse.Namespace, names: list[str]) -> "ServerTls | None":
    """What --tls-self-signed, --cert and --key say."""
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
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"--cert {options.cert} --key {options.key}: {error}") from error


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

    async def begin(self, address: "Address") -> None:
        impair = self.options.impair
        if impair is None or not address.is_rudp:
            notice(f"listening on {await self.server.listen(address, sink=self._sink(address))}")
            return
        inner = type(address)(address.scheme, "127.0.0.1", 0)
        bound = await self.server.listen(
            inner, sink=self._sink(address), client_behind=lambda peer: relay.relay.client_behind(peer)
        )
        relay = _impaired((address.host, address.port), ("127.0.0.1", bound.port), self.options)
        self.stack.enter_context(relay)
        notice(f"listening on {address.at(relay.address[1])}, behind the network of {impair}")

    def _sink(self, address: "Address") -> "PacketTracer | None":
        from rudp_smtp.cli.traces import PacketTracer

        return PacketTracer(self.tracer, address.port) if self.tracer is not None else None


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
