"""`network.events`: what happens to the path while a run is under way, and when (SCENARIOS.md section 2)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from heapq import heapify, heappop, heappush
from typing import Any, Literal, Protocol, TypeAlias

from rudp_smtp.errors import ConfigError
from rudp_smtp.link.config import LinkConfig
from rudp_smtp.link.link import Link
from rudp_smtp.registry import UNSAID, Spec
from rudp_smtp.units import MILLISECOND, Duration, Size

EVERY_MIN = MILLISECOND

Settings: TypeAlias = tuple[tuple[tuple[str, ...], object], ...]  # (path inside a LinkConfig, value in inside units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry as a scenario says it. Without `for` a change stays; with `every` it comes again, counted from `at`.

    `rebind`: a NAT gives the client another port; `address_change`: its network gives it another address. Either way
    what is still on its way to the old one is lost.
    """

    at: Duration
    for_: Duration | None = None
    every: Duration | None = None
    on: Literal["forward", "reverse", "both"] = "both"
    blackhole: bool = False  # whatever enters is lost, and nobody is told
    mtu: Size | None = None
    set: dict[str, object] | None = None  # dotted keys of a direction
    rebind: bool = False
    address_change: bool = field(default=False, metadata=UNSAID)

    def __post_init__(self) -> None:
        is_of_link = self.blackhole or self.mtu is not None or bool(self.set)
        key = "address_change" if self.address_change else "rebind"
        if not (is_of_link or self.is_of_client):
            keys = "'blackhole', 'mtu', 'set', 'rebind' or 'address_change'"
            raise ConfigError(f"changes nothing; expected the key {keys}")
        if self.is_of_client and (is_of_link or self.on != "both" or (self.rebind and self.address_change)):
            raise ConfigError("is about the client's address alone; expected another event for the rest", key=key)
        if self.is_of_client and self.for_ is not None:
            raise ConfigError(f"an address does not come back; expected {key!r} without it", key="for")
        if self.for_ is not None and self.for_ < 1:
            raise ConfigError("no time at all; expected a duration such as 2s", key="for")
        if self.every is None:
            return
        if self.every < EVERY_MIN:
            raise ConfigError("more often than the time is worth; expected at least 1ms", key="every")
        if not self.is_of_client and self.for_ is None:
            raise ConfigError("what stays cannot come again; expected 'for' too", key="every")
        if self.for_ is not None and self.for_ >= self.every:
            raise ConfigError("comes again before it is over; expected more than 'for'", key="every")

    @property
    def is_of_client(self) -> bool:
        return self.rebind or self.address_change

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "reverse") if self.on == "both" else (self.on,)


@dataclass(frozen=True, slots=True)
class Change:
    """An event ready to be carried out."""

    event: Event
    settings: Settings  # of `set` and `mtu`


class Timetable:
    """Carries the changes out on a run's links; owns which of them are under way."""

    def __init__(
        self,
        changes: tuple[Change, ...],
        links: Mapping[str, Link],
        *,
        rebind: Callable[[int], None],
        change_address: Callable[[int], None],
    ) -> None:
        self._changes = changes
        self._links = links
        self._plain = {direction: link.config for direction, link in links.items()}
        self._active = [False] * len(changes)
        self._rebind = rebind
        self._change_address = change_address

    def moments(self) -> Iterator[tuple[int, Callable[[int], None]]]:
        """When something has to be done, and what, in order; at one time what ends goes first."""
        heap: list[tuple[int, int, int]] = []  # (time, 0 end or 1 begin, place in the list)
        heap.extend((change.event.at, 1, place) for place, change in enumerate(self._changes))
        heapify(heap)
        while heap:
            time, is_begin, place = heappop(heap)
            event = self._changes[place].event
            if is_begin and event.for_ is not None:
                heappush(heap, (time + event.for_, 0, place))
            if is_begin and event.every is not None:
                heappush(heap, (time + event.every, 1, place))
            yield time, self._action(place, is_active=bool(is_begin))

    def _action(self, place: int, *, is_active: bool) -> Callable[[int], None]:
        if self._changes[place].event.is_of_client:
            return self._rebind if self._changes[place].event.rebind else self._change_address

        def act(now: int) -> None:
            self._active[place] = is_active
            for direction in self._changes[place].event.directions:
                self._apply(direction, now)

        return act

    def _apply(self, direction: str, now: int) -> None:
        """Make the link what all changes that are under way make of it, in the file's order."""
        config, is_blackhole = self._plain[direction], False
        for change, is_active in zip(self._changes, self._active, strict=True):
            if is_active and direction in change.event.directions:
                is_blackhole = is_blackhole or change.event.blackhole
                for path, value in change.settings:
                    config = assigned(config, path, value)
        link = self._links[direction]
        if config != link.config:
            link.change(config, now)
        link.set_blackhole(is_blackhole)


class LivePath(Protocol):
    """What real packets cross."""

    forward: Link
    reverse: Link

    def rebind(self, now: int) -> None: ...

    def change_address(self, now: int) -> None: ...

    def schedule(self, moments: Iterable[tuple[int, Callable[[int], None]]]) -> None: ...


def arrange(changes: tuple[Change, ...], path: LivePath) -> None:
    """Have the changes happen to real packets' path, at times counted from the first packet."""
    if changes:
        links = {"forward": path.forward, "reverse": path.reverse}
        timetable = Timetable(changes, links, rebind=path.rebind, change_address=path.change_address)
        path.schedule(timetable.moments())


def assigned(config: Any, path: tuple[str, ...], value: object) -> Any:
    """The same configuration or plug-in with another value at `path`."""
    name, *rest = path
    if isinstance(config, Spec):
        parameters = dict(config.parameters)
        parameters[name] = assigned(parameters[name], tuple(rest), value) if rest else value
        return Spec(config.name, tuple(sorted(parameters.items())))
    return replace(config, **{name: assigned(getattr(config, name), tuple(rest), value) if rest else value})


def looked_up(config: LinkConfig, path: tuple[str, ...]) -> object:
    """The value at `path`."""
    found: object = config
    for name in path:
        found = dict(found.parameters)[name] if isinstance(found, Spec) else getattr(found, name)
    return found


LINK_KEYS = tuple(item.name for item in fields(LinkConfig))
