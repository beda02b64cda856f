"""AUTH (RFC 4954): PLAIN (RFC 4616) and LOGIN as small machines, and which mechanism is offered and taken when.

SCRAM is in `scram`. PLAIN and LOGIN show the password, so they are for TLS, unless the operator says otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rudp_smtp.errors import LocalProtocolError
from rudp_smtp.smtp.credentials import (
    NAME_OCTETS,
    PASSWORD_OCTETS,
    Credentials,
    Entropy,
    ScramKeys,
    StoredPassword,
    saslprep,
)
from rudp_smtp.smtp.sasl import (
    Challenge,
    ClientMechanism,
    ClientStep,
    Denied,
    Granted,
    Refused,
    Response,
    ServerMechanism,
    ServerStep,
    encode_octets,
)
from rudp_smtp.smtp.scram import NONCE_OCTETS, Binding, ScramClient, ScramServer
from rudp_smtp.smtp.tls import BINDING_END_POINT, BINDING_UNIQUE

SCRAM_PLUS, SCRAM, PLAIN, LOGIN = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"
MECHANISMS = (SCRAM_PLUS, SCRAM, PLAIN, LOGIN)  # the best first
_BINDINGS = (BINDING_END_POINT, BINDING_UNIQUE)
_NOBODY = StoredPassword(bytes(16), bytes(32), ScramKeys(b"", 0, b"", b""))  # what no password has


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How a server authenticates: against what, by which mechanisms, and what depends on it."""

    credentials: Credentials
    entropy: Entropy
    mechanisms: tuple[str, ...] = MECHANISMS
    is_required: bool = False  # no mail without: a submission server (RFC 6409 section 4.3)
    is_allowed_without_tls: bool = False
    decoy_key: bytes = field(init=False, repr=False)  # of the salts of names that nobody has

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoy_key", self.entropy(32))
        unknown = [name for name in self.mechanisms if name not in MECHANISMS]
        if unknown or not self.mechanisms:
            raise LocalProtocolError(f"mechanisms {', '.join(unknown) or 'none'}; known are {', '.join(MECHANISMS)}")

    def offered(self, binding: Binding, *, is_encrypted: bool) -> tuple[str, ...]:
        """The mechanisms that may be used in a session as it stands."""
        if not is_encrypted and not self.is_allowed_without_tls:
            return ()
        is_bindable = any(binding(kind) is not None for kind in _BINDINGS)
        return tuple(name for name in MECHANISMS if name in self.mechanisms and (name != SCRAM_PLUS or is_bindable))

    def begin(self, mechanism: str, binding: Binding, offered: tuple[str, ...]) -> ServerMechanism:
        """A machine for one exchange by a mechanism that is offered."""
        match mechanism:
            case "PLAIN":
                return PlainServer(self.credentials)
            case "LOGIN":
                return LoginServer(self.credentials)
            case _:
                return ScramServer(
                    self.credentials,
                    self.entropy,
                    binding,
                    self.decoy_key,
                    is_bound=mechanism == SCRAM_PLUS,
                    is_plus_offered=SCRAM_PLUS in offered,
                )


class PlainServer:
    """authzid NUL authcid NUL password, in one response."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def respond(self, response: bytes | None) -> ServerStep:
        if response is None:
            return Challenge(b"")
        try:
            identity, name, password = response.decode("utf-8").split("\0")
        except ValueError:  # UnicodeDecodeError is one
            return Denied("malformed response")
        if identity not in ("", name):
            return Denied("acting for somebody else is not allowed")
        return check_password(self._credentials, name, password)


class LoginServer:
    """Name and password, each asked for. No RFC has it; old clients have nothing else."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._name: str | None = None

    def respond(self, response: bytes | None) -> ServerStep:
        if response is None:
            return Challenge(b"Username:")
        try:
            text = response.decode("utf-8")
        except UnicodeDecodeError:
            return Denied("not UTF-8")
        if self._name is None:
            self._name = text
            return Challenge(b"Password:")
        return check_password(self._credentials, self._name, text)


def check_password(credentials: Credentials, name: str, password: str) -> Granted | Denied:
    """Compare; a name that nobody has costs as much time as one that somebody has."""
    if len(name) > NAME_OCTETS or len(password) > PASSWORD_OCTETS:
        return Denied("name or password too long")
    try:
        prepared = saslprep(name)
    except LocalProtocolError:
        return Denied("malformed name")
    stored = credentials.find(prepared)
    is_right = (stored or _NOBODY).matches(password)
    return Granted(prepared) if stored is not None and is_right else Denied("name or password is wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who a client is, and what it may show of it."""

    name: str
    password: str = field(repr=False)
    entropy: Entropy = field(repr=False)
    mechanisms: tuple[str, ...] = MECHANISMS
    is_allowed_without_tls: bool = False  # PLAIN and LOGIN: whoever listens has the password

    def __post_init__(self) -> None:
        saslprep(self.name)
        saslprep(self.password)
        if "\0" in self.name + self.password:
            raise LocalProtocolError("NUL in a name or password")

    def discreet(self) -> "Login":
        """The same by those mechanisms alone that show the password to nobody, be the server who it may."""
        return replace(self, mechanisms=tuple(name for name in self.mechanisms if name not in (PLAIN, LOGIN)))

    def choose(
        self, offered: Iterable[str], binding: Binding, *, is_encrypted: bool
    ) -> tuple[str, ClientMechanism] | None:
        """The best mechanism that both have and that shows nothing to anybody; None: there is none."""
        may_show = is_encrypted or self.is_allowed_without_tls
        theirs = [name for name in MECHANISMS if name in self.mechanisms and name in set(offered)]
        for mechanism in theirs:
            made = self._begin(mechanism, binding)
            if made is not None and (may_show or mechanism not in (PLAIN, LOGIN)):
                return mechanism, made
        return None

    def _begin(self, mechanism: str, binding: Binding) -> ClientMechanism | None:
        match mechanism:
            case "PLAIN":
                return PlainClient(self.name, self.password)
            case "LOGIN":
                return LoginClient(self.name, self.password)
            case "SCRAM-SHA-256":
                return ScramClient(self.name, self.password, self._nonce())
            case _:
                for kind in _BINDINGS:
                    bound = binding(kind)
                    if bound is not None:
                        return ScramClient(self.name, self.password, self._nonce(), kind=kind, bound=bound)
                return None

    def _nonce(self) -> str:
        return encode_octets(self.entropy(NONCE_OCTETS))


class PlainClient:
    """All in the initial response."""

    is_satisfied = True

    def __init__(self, name: str, password: str) -> None:
        self._message = f"\0{name}\0{password}".encode()
        self._is_said = False

    def respond(self, challenge: bytes | None) -> ClientStep:
        if self._is_said:
            return Refused("the server asks for more than PLAIN has")
        self._is_said = True
        return Response(self._message)


class LoginClient:
    """Two answers to two questions, whatever their words are."""

    is_satisfied = True

    def __init__(self, name: str, password: str) -> None:
        self._answers = [name.encode(), password.encode()]

    def respond(self, challenge: bytes | None) -> ClientStep:
        if not self._answers:
            return Refused("the server asks for more than LOGIN has")
        return Response(self._answers.pop(0))
