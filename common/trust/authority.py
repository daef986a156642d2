"""The certificate authority of one federation, and the certificate of its coordinator.

Both are on the curve P-384 with SHA-384. The authority signs nothing but server certificates of
one level (path length 0), and its private key is needed only to make the next one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import TrustError

AUTHORITY_DAYS, SERVER_DAYS = 3650, 398
# A site's clock may be behind.
_BEFORE = timedelta(hours=1)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST, _LONGEST_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*"), 253


@dataclass(frozen=True)
class Authority:
    """A certificate authority.

    Attributes
    ----------
    certificate : bytes
        PEM.
    key : bytes
        PEM, PKCS #8, not encrypted.
    """

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        """Leave the key out."""
        return "Authority(...)"


def new_authority(name: str, *, days: int = AUTHORITY_DAYS) -> Authority:
    """Make a certificate authority.

    Parameters
    ----------
    name : str
        Of the federation.
    days : int
        How long its certificate is valid.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name(f"{name} certificate authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(subject, subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    return Authority(_pem(certificate), _private_pem(key))


def server_certificate(
    authority: Authority, hosts: Sequence[str], *, days: int = SERVER_DAYS
) -> tuple[bytes, bytes]:
    """Make a server certificate.

    Parameters
    ----------
    authority : Authority
        Who signs it.
    hosts : sequence of str
        Names and addresses that sites reach the server by: its subjectAltName. The loopback's are
        added, since the coordinator's own programs use them.
    days : int
        How long it is valid; less than 1 makes an expired one.

    Returns
    -------
    certificate, key : bytes
        PEM.

    Raises
    ------
    TrustError
        If there is no host, or one is no name.
    """
    if not hosts:
        raise TrustError("server certificate: name the host that sites reach the coordinator by")
    key = ec.generate_private_key(ec.SECP384R1())
    signer = serialization.load_pem_private_key(authority.key, None)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TrustError("certificate authority: its key is not on an elliptic curve")
    names = [_alternative(host) for host in dict.fromkeys((*hosts, "localhost", "127.0.0.1"))]
    certificate = (
        _builder(_name(hosts[0]), issuer.subject, key.public_key(), days)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA384())
    )
    return _pem(certificate), _private_pem(key)


def check_certificate(
    certificate: bytes, authority: bytes, host: str, now: datetime | None = None
) -> int:
    """Check a server certificate as a site would.

    Parameters
    ----------
    certificate, authority : bytes
        PEM, or DER for the certificate.
    host : str
        Name or address that the server is reached by.
    now : datetime or None
        The time; None for the clock's.

    Returns
    -------
    int
        Days that it is still valid.

    Raises
    ------
    TrustError
        If it is not signed by the authority, not for this host, or not valid now.
    """
    now = now or datetime.now(UTC)
    try:
        pem = certificate.lstrip().startswith(b"-----")
        load = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
        server, root = load(certificate), x509.load_pem_x509_certificate(authority)
    except (ValueError, x509.InvalidVersion) as error:
        raise TrustError("certificate: cannot be read; ask the coordinator for it anew") from error
    try:
        server.verify_directly_issued_by(root)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise TrustError(f"certificate of {host}: not signed by this federation") from error
    for what, one in (("certificate", server), ("certificate authority", root)):
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise TrustError(
                f"{what} of {host}: valid from {one.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; it is {now:%Y-%m-%d %H:%M}"
            )
    try:
        names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise TrustError(f"certificate of {host}: has no subjectAltName") from error
    if _alternative(host) not in list(names):
        raise TrustError(f"certificate of {host}: is not for this host")
    return (server.not_valid_after_utc - now).days


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    # Of names, only those that cannot be mistaken for a pattern or another's syntax.
    name = host.lower()
    if len(host) > _LONGEST_HOST or not host.isascii() or not _HOST.fullmatch(name):
        raise TrustError(f"{host!r}: neither an address nor the name of a host")
    return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    start = now - _BEFORE if days >= 1 else now - timedelta(days=30)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now + timedelta(days=days) if days >= 1 else now - timedelta(days=1))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
