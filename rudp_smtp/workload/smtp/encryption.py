"""TLS between simulated hosts: what is random in it changes octets, but neither how many there are nor when.

DETERMINISM.md rule 9. TLS draws its keys from the operating system, so everything that its lengths hang on is fixed:
one version and no older, one group for the key exchange, a certificate that is always the same and never expires,
Ed25519 (an ECDSA signature is a few octets longer or shorter as it happens), no session tickets. OpenSSL's own
choices are left: its ClientHello is padded to 512 octets, whatever it offers.
"""

import ssl
from importlib.resources import as_file, files
from typing import Final

from rudp_smtp.errors import ConfigError
from rudp_smtp.registry import nearest
from rudp_smtp.smtp.tls import ClientTls, ServerTls, TlsUse

TLS = ("none", "starttls", "implicit")
SERVER_NAME: Final = "server.example"  # in the certificate, which is its own authority
GROUP = "prime256v1"  # every OpenSSL has it; what it offers by itself grew with its versions


def check_tls(given: str) -> None:
    """Refuse what is no way to encrypt."""
    if given not in TLS:
        raise ConfigError(f"no way to encrypt is {given!r}; {nearest(given, TLS)}", key="tls")


def encrypt(way: str) -> tuple[ClientTls | None, ServerTls | None]:
    """What the two sides of a session need for one of `TLS`: the client demands it, and proves whom it talks to."""
    if way == "none":
        return None, None
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for context in (client, server):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.set_ecdh_curve(GROUP)
    server.num_tickets = 0
    with as_file(files(__package__) / f"{SERVER_NAME}.pem") as certificate:
        server.load_cert_chain(certificate)
        client.load_verify_locations(certificate)
    is_implicit = way == "implicit"
    use = TlsUse.IMPLICIT if is_implicit else TlsUse.REQUIRED
    return (
        ClientTls(context=client, server_name=SERVER_NAME, use=use),
        ServerTls(context=server, is_implicit=is_implicit, is_required=True),
    )
