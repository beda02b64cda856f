"""A self-signed certificate, made on the spot, for trying TLS out: nobody vouches for it, so nobody need believe it."""

import os
import ssl
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

VALID = timedelta(days=365)
SKEW = timedelta(hours=1)  # of the peer's clock


def write_self_signed(folder: Path, names: list[str]) -> tuple[Path, Path]:
    """Make a key and a certificate for these host names and addresses; the paths of certificate and key (PEM)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    descriptor = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secret)
    certificate_path.write_bytes(certificate.public_bytes(pem))
    return certificate_path, key_path


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS. Raises OSError (ssl.SSLError) where the files are none or no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def self_signed_context(names: list[str]) -> ssl.SSLContext:
    """The same with a certificate that lasts as long as the process."""
    return self_signed(names)[0]


def self_signed(names: list[str]) -> tuple[ssl.SSLContext, bytes]:
    """That context, and its certificate in DER."""
    with tempfile.TemporaryDirectory(prefix="rudp-smtp-") as folder:
        certificate, key = write_self_signed(Path(folder), names)
        return server_context(certificate, key), ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))


def _general_name(name: str):  # type: ignore[no-untyped-def]
    from cryptography import x509

    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)
