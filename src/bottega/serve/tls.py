"""TLS: certificate files of the user, checked before the server starts; or one made for this machine alone."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bottega.core import BottegaError, OutputError

__all__ = ["check_pair", "self_signed"]


def check_pair(certificate: Path, key: Path) -> None:
    """See that a certificate and its key can be read, belong together and have not run out; raises BottegaError."""
    for what, path in (("certificate", certificate), ("key", key)):
        if not path.is_file():
            raise BottegaError(f"there is no TLS {what} at {path}; give PEM files, or make some: bottega keys tls DIR")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (ssl.SSLError, ValueError, OSError) as error:
        raise BottegaError(f"{certificate} and {key} are no certificate and its key: {error}; give PEM files, the key without a password") from error  # fmt: skip
    if ends < datetime.now(UTC):
        raise BottegaError(f"the certificate {certificate} ran out on {ends.date()}; get a new one")


def self_signed(
    folder: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"), days: int = 397
) -> tuple[Path, Path]:
    """A certificate that signs itself, for tests and one's own network; who calls must be given it to trust.

    Args:
        folder: where ``certificate.pem`` and ``key.pem`` go.
        hosts: names and addresses that it is for.
        days: for which it holds.

    Returns:
        The two files.

    Raises:
        OutputError: they cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, False, False, False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; choose another folder") from error
    return certificate, private
