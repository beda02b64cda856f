"""Registry: the name of a file -> the implementation in it.

`congestion: cubic` in a scenario means `recovery/congestion/cubic.py`. A plug-in's parameters are its keyword-only
fields; their annotations (`units`) say how text becomes an integer. Nothing is imported before it is asked for.
"""

import difflib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from types import MappingProxyType, UnionType
from typing import Annotated, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from rudp_smtp.errors import ConfigError
from rudp_smtp.units import PARSERS, PRINTERS

T = TypeVar("T")

# A field that came after runs had been stored: while it has its default nothing is said of it, and their keys hold.
UNSAID: Mapping[str, bool] = MappingProxyType({"unsaid": True})


@dataclass(frozen=True, slots=True)
class Spec:
    """A plug-in chosen by name, with checked parameters in inside units. A value: it can be compared and pickled."""

    name: str
    parameters: tuple[tuple[str, object], ...] = ()


def nearest(name: str, known: tuple[str, ...]) -> str:
    """The tail of an error message: what exists, and the nearest of it."""
    guesses = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"did you mean {guesses[0]!r}? " if guesses else ""
    return f"{guess}known: {', '.join(known)}"


def tell(value: object) -> str:
    """A value in an error message, in the words of the file it came from."""
    if value is None:
        return "null"
    if isinstance(value, Mapping | list):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    return repr(value).lower() if isinstance(value, bool) else repr(value)


_EXPECTED = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


class Registry(Generic[T]):
    """One folder of plug-ins.

    `groups` names folders inside that only sort: the plug-ins in them count as this folder's own. `context` names what
    the composition root passes to `build`; a scenario may not set those. `support` names the folder's files that are
    no plug-ins. `selector` is the key that holds the name. `shorthand`, (plug-in, parameter), says what a bare value
    that is no name means.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        *,
        context: tuple[str, ...] = (),
        support: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        selector: str = "model",
        shorthand: tuple[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.selector = selector
        self.shorthand = shorthand
        self._package = package
        self._context = context
        self._support = support
        self._groups = groups
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator; the name is the file's, or the folder's when the plug-in is one."""
        steps = cls.__module__.removeprefix(self._package + ".").split(".")
        self._classes[steps[1] if steps[0] in self._groups else steps[0]] = cls
        return cls

    def names(self) -> tuple[str, ...]:
        """Every plug-in there is, by the files in the folder, without importing them."""
        return tuple(sorted(self._modules()))

    def load(self, name: str) -> type[T]:
        """The class called `name`; `ConfigError` offers the nearest name."""
        if name not in self._classes:
            if name not in self.names():
                raise ConfigError(f"unknown {self.kind} {name!r}; {nearest(name, self.names())}")
            import_module(self._modules()[name])
        return self._classes[name]

    def _modules(self) -> dict[str, str]:
        """Every plug-in's name and module."""
        path = import_module(self._package).__path__
        found = {m.name: f"{self._package}.{m.name}" for m in pkgutil.iter_modules(path)}
        for group in self._groups:
            if found.pop(group, None) is not None:
                inside = pkgutil.iter_modules([f"{folder}/{group}" for folder in path])
                found |= {m.name: f"{self._package}.{group}.{m.name}" for m in inside}
        return {name: module for name, module in found.items() if name not in self._support}

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """What a scenario may set of plug-in `name`: its keyword-only parameters less the context."""
        signature = inspect.signature(self.load(name))
        return {key: value for key, value in signature.parameters.items() if key not in self._context}

    def spec(self, value: object, key: str = "") -> Spec:
        """Read `NAME` or `{model: NAME, parameter: value, ...}` as a scenario gives it at `key`."""
        is_bare = not isinstance(value, Mapping)
        if isinstance(value, str) and (self.shorthand is None or value.isidentifier()):
            value = {self.selector: value}
        elif is_bare and self.shorthand is not None:
            value = {self.selector: self.shorthand[0], self.shorthand[1]: value}
        if not isinstance(value, Mapping) or not isinstance(value.get(self.selector), str):
            raise ConfigError(
                f"expected the name of a {self.kind}, or {{{self.selector}: NAME, parameter: value}}; "
                f"known: {', '.join(self.names())}",
                key=key,
            )
        name = value[self.selector]
        if name not in self.names():
            here = key if is_bare else f"{key}.{self.selector}"
            raise ConfigError(f"unknown {self.kind} {name!r}; {nearest(name, self.names())}", key=here)
        known = self.parameters(name)
        hints = get_type_hints(self.load(name).__init__, include_extras=True)
        parameters = []
        for parameter, given in value.items():
            if parameter == self.selector:
                continue
            where = key if is_bare else f"{key}.{parameter}"
            if parameter not in known:
                raise ConfigError(
                    f"{self.kind} {name!r} has no parameter {parameter!r}; {nearest(str(parameter), tuple(known))}",
                    key=where,
                )
            parameters.append((str(parameter), _convert(given, hints[parameter], where)))
        for parameter, described in known.items():
            if described.default is inspect.Parameter.empty and parameter not in value:
                raise ConfigError(f"{self.kind} {name!r} needs the parameter {parameter!r}", key=key)
        spec = Spec(name, tuple(sorted(parameters)))
        self._check(spec, key, is_bare)
        return spec

    def describe(self, spec: Spec) -> dict[str, object]:
        """The inverse of `spec`, with defaults filled in and units printed: two that mean the same are equal."""
        cls = self.load(spec.name)
        hints = get_type_hints(cls.__init__, include_extras=True)
        given = dict(spec.parameters)
        unsaid = {item.name for item in fields(cls) if item.metadata.get("unsaid")} if is_dataclass(cls) else set()
        described: dict[str, object] = {self.selector: spec.name}
        for parameter, signature in self.parameters(spec.name).items():
            if parameter in unsaid and given.get(parameter, signature.default) == signature.default:
                continue
            described[parameter] = describe_value(given.get(parameter, signature.default), hints[parameter])
        return described

    def build(self, spec: Spec, **context: object) -> T:
        """Make the plug-in; `context` must be what the registry declared."""
        return self.load(spec.name)(**dict(spec.parameters), **context)

    def _check(self, spec: Spec, key: str, is_bare: bool) -> None:
        """Let the class refuse impossible values: an optional `check(**parameters)` raising ConfigError."""
        check = getattr(self.load(spec.name), "check", None)
        if check is None:
            return
        try:
            check(**dict(spec.parameters))
        except ConfigError as error:
            where = f"{key}.{error.key}" if error.key and not is_bare else key
            raise ConfigError(error.message, key=where) from error


def _convert(value: object, hint: object, key: str) -> object:
    """Turn a YAML value into what the annotation asks for."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = (option for option in get_args(hint) if option is not type(None))
        return _convert(value, hint, key)
    if origin is Annotated:
        unit = get_args(hint)[1]
        if isinstance(unit, Registry):  # a plug-in's parameter may itself be a plug-in
            return unit.spec(value, key)
        try:
            return PARSERS[unit](value)
        except ConfigError as error:
            raise ConfigError(error.message, key=key) from None
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ConfigError(f"expected one of {', '.join(get_args(hint))}, got {tell(value)}", key=key)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"expected a list of values, got {tell(value)}", key=key)
        return tuple(_convert(item, get_args(hint)[0], f"{key}[{i}]") for i, item in enumerate(value))
    if isinstance(hint, type) and type(value) is hint:
        return value
    assert isinstance(hint, type), f"{hint} has no reading"
    raise ConfigError(f"expected {_EXPECTED[hint]}, got {tell(value)}", key=key)


def describe_value(value: object, hint: object) -> object:
    """Turn an inside value back into what a scenario says."""
    if value is None:
        return None
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        if len(options) == 1:
            return describe_value(value, options[0])
    if origin is Annotated:
        unit = get_args(hint)[1]
        if isinstance(unit, Registry):
            assert isinstance(value, Spec), f"{value!r} is no Spec"
            return unit.describe(value)
        assert isinstance(value, int), f"{value!r} is no {unit}"
        return PRINTERS[unit](value)
    if isinstance(value, tuple):
        return [describe_value(item, get_args(hint)[0]) for item in value]
    assert isinstance(value, bool | int | float | str), f"{value!r} cannot be told in a scenario"
    return value
