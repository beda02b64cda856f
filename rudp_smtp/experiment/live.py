"""A scenario for real packets: refused where no machine could carry it out in time, as a path that distorts is none."""

from collections.abc import Iterator

from rudp_smtp.drivers.validity import beyond_ceiling
from rudp_smtp.errors import ConfigError
from rudp_smtp.experiment.events import Change, assigned
from rudp_smtp.link.config import LinkConfig


def ceilings(forward: LinkConfig, reverse: LinkConfig, changes: tuple[Change, ...]) -> Iterator[tuple[str, str]]:
    """Each direction that is too fast at any time, and why. Changes are looked at one by one."""
    for direction, config in (("forward", forward), ("reverse", reverse)):
        changed = [_changed(config, change) for change in changes if direction in change.event.directions]
        found = [text for text in map(beyond_ceiling, (config, *changed)) if text]
        if found:
            yield direction, found[0]


def _changed(config: LinkConfig, change: Change) -> LinkConfig:
    for path, value in change.settings:
        config = assigned(config, path, value)
    return config


def check_ceilings(forward: LinkConfig, reverse: LinkConfig, changes: tuple[Change, ...]) -> None:
    """Raise ConfigError for a path that is too fast."""
    for direction, text in ceilings(forward, reverse, changes):
        raise ConfigError(f"network.{direction}.rate: {text}", key=f"network.{direction}.rate")
