"""`rudp-smtp gateway`: from TCP to RUDP, or back, for any mail program at either end."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rudp_smtp.cli import trust
from rudp_smtp.cli.serve import (
    FAILED,
    OK,
    Notices,
    add_limits,
    add_tls,
    make_server,
    read_limits,
    read_size,
    read_tls,
)
from rudp_smtp.cli.terminal import visible
from rudp_smtp.errors import ConfigError, DriverError, MailboxError

BAD_INPUT = 2
DESCRIPTION = """Take mail at --listen and hand it on to --to, each tcp://HOST:PORT or rudp://HOST:PORT: two of these
make a lossy path between two mail servers as good as a clean one. 250 is said when the far end has said it; with
--queue, when the message is safe in that folder, from where it is sent on as long as that takes. Who may connect may
send anything to anybody: listen where only those can who should."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--listen", metavar="URL", action="append", required=True, help="where; may be given several times")
    add("--to", metavar="URL", required=True, help="the next server")
    trust.configure_relay(parser)
    add("--domain", metavar="D", default="localhost", help="what we call ourselves (%(default)s)")
    add("--queue", metavar="DIR", type=Path, help="keep mail there until it is handed on")
    add("--size-limit", metavar="SIZE", default="64MB", help="of a message (%(default)s)")
    add_limits(parser)
    add_tls(parser)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        return asyncio.run(_carry(options))
    except ConfigError as error:
        print(visible(str(error), keep="\n"), file=sys.stderr)
        return BAD_INPUT
    except (DriverError, MailboxError) as error:
        print(visible(str(error)), file=sys.stderr)
        return FAILED


async def _carry(options: argparse.Namespace) -> int:
    from rudp_smtp.drivers import aio
    from rudp_smtp.service.addresses import parse_address, parse_target
    from rudp_smtp.service.mailserver import Settings
    from rudp_smtp.service.office import Policy

    addresses = [parse_address(text) for text in options.listen]
    tls = read_tls(options, [], addresses)
    notice = Notices()
    settings = Settings(
        policy=Policy(domain=options.domain, has_mailboxes=False, relays=True, relays_for_all=True),
        tls=tls,
        size_limit=read_size(options.size_limit),
        smarthost=trust.smarthost(options, parse_target("--to", options.to)),
        queue=options.queue,
        client_limits=read_limits(options),
        notice=notice,
    )
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with make_server(settings) as server:
        for address in addresses:
            notice(f"listening on {await server.listen(address)}, handing on to {options.to}")
        await over.wait()
        notice("closing")
    await aio.shutdown()
    return OK
