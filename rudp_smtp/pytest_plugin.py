"""pytest plug-in: an impaired UDP port for a test of any UDP program. Loaded by pytest where this package is installed.

    def test_my_client_survives_loss(impaired_path):
        path = impaired_path(upstream=("127.0.0.1", server_port), config="configs/loss10.yaml", seed=7)
        run_my_client(path.address)
        assert path.forward.packets_lost > 0

Packet n of a direction meets the same fate in every run with the same seed. Nothing of the relay is imported before a
test asks for it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from rudp_smtp.drivers.background import BackgroundRelay
    from rudp_smtp.link.config import LinkConfig
    from rudp_smtp.link.stats import LinkStats

    Config = str | Path | LinkConfig


class ImpairedPath:
    """A path to send through, and what it has done so far."""

    def __init__(self, background: "BackgroundRelay") -> None:
        self._relay = background.relay
        self.address = background.address  # (host, port): where the test sends instead of to the upstream
        self.log: list[tuple[str, int, str]] = []  # (forward or reverse, the packet's index, its fate), in order

    @property
    def forward(self) -> "LinkStats":
        """The counters from the clients to the upstream: packets_entered, packets_lost, packets_delivered, ..."""
        return self._relay.forward.stats

    @property
    def reverse(self) -> "LinkStats":
        return self._relay.reverse.stats

    @property
    def invalid(self) -> str:
        """Why the path has not been what was asked for, such as packets the kernel dropped; empty where it has."""
        return self._relay.invalid

    def report(self) -> str:
        """All counters and the relay's lateness as text."""
        from rudp_smtp.drivers.proxy import report

        return report(self._relay)


@pytest.fixture
def impaired_path() -> "Iterator[Callable[..., ImpairedPath]]":
    """A function that opens an impaired UDP port on loopback, closed again after the test.

    impaired_path(upstream=(host, port), config=CONFIG, seed=N): `upstream` is the server behind the path. `config` is a
    scenario file, whose network is taken with its events, or a LinkConfig for both directions. `seed` is of all
    draws, 1 if not given. A config that cannot be obeyed raises rudp_smtp.errors.ConfigError. A test may open several.
    """
    with ExitStack() as stack:

        def opened(*, upstream: tuple[str, int], config: "Config", seed: int = 1) -> ImpairedPath:
            return _open(stack, upstream, config, seed)

        yield opened


def _open(stack: ExitStack, upstream: tuple[str, int], config: "Config", seed: int) -> ImpairedPath:
    from pathlib import Path

    from rudp_smtp.drivers.background import BackgroundRelay
    from rudp_smtp.drivers.proxy import Path as Impaired
    from rudp_smtp.drivers.sockets import resolve
    from rudp_smtp.experiment.events import Change, arrange
    from rudp_smtp.experiment.inspection import readers_before
    from rudp_smtp.experiment.live import check_ceilings
    from rudp_smtp.experiment.scenario import load_single
    from rudp_smtp.link.config import LinkConfig
    from rudp_smtp.trace import Fact, LinkFate

    if isinstance(config, LinkConfig):
        forward = reverse = config
        events: tuple[Change, ...] = ()
    else:
        configuration, _ = load_single(Path(config))
        forward, reverse, events = configuration.forward, configuration.reverse, configuration.events

    class Log:
        def emit(self, fact: Fact) -> None:
            if isinstance(fact, LinkFate):
                path.log.append((fact.link, fact.index, fact.fate))

    check_ceilings(forward, reverse, events)
    server = resolve(upstream)
    impaired = Impaired(forward=forward, reverse=reverse, seed=seed, readers=readers_before(server))
    background = BackgroundRelay(server, impaired, sink=Log())
    arrange(events, background.relay)
    path = ImpairedPath(background)
    stack.enter_context(background)
    return path
