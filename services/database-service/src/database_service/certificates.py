"""X.509: authorities of our own, keys of servers and the certificates that go with them. All texts are PEM."""

import ipaddress
from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from database_service.domain.secret import Secret
from database_service.domain.tls import AUTHORITY_LIFE, BACKDATED, CERTIFICATE_LIFE

MOST_OF_A_NAME = 64
"""Characters of a common name (RFC 5280, ub-common-name); names that count are in the extension beside it."""


def new_key() -> Secret:
    """A private key on the curve P-256, which every client of PostgreSQL speaks."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Secret(text.decode())


def new_authority(generation: int, key: Secret, now: datetime) -> str:
    """The certificate of an authority that vouches for servers alone, never for another authority."""
    signer = _read(key)
    name = _named(f"database-service authority {generation}")
    made = (
        _begun(name, name, signer.public_key(), now)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(signer, SHA256())
    )
    return _text(made)


def issue(authority: str, authority_key: Secret, key: Secret, names: Iterable[str], now: datetime) -> str:
    """A certificate for the server that has `key` and is reached by these names and addresses."""
    signer, issuer = _read(authority_key), x509.load_pem_x509_certificate(authority.encode())
    listed = sorted(names)
    made = (
        _begun(_named(listed[0]), issuer.subject, _read(key).public_key(), now)
        .not_valid_after(now + CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in listed]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, SHA256())
    )
    return _text(made)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:MOST_OF_A_NAME])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _read(key: Secret) -> ec.EllipticCurvePrivateKey:
    read = serialization.load_pem_private_key(key.reveal().encode(), password=None)
    if not isinstance(read, ec.EllipticCurvePrivateKey):
        raise TypeError("a key of ours is on an elliptic curve")
    return read


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
