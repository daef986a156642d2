"""A site's key: made at the site, which gives away only its public half."""

from __future__ import annotations

import base64
import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.errors import TrustError


def new_site_key(comment: str = "") -> tuple[bytes, bytes]:
    """Make a key on the curve P-384.

    Parameters
    ----------
    comment : str
        Written behind the public key, for people: one word.

    Returns
    -------
    private, public : bytes
        In the formats of OpenSSH, which Flower reads.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return private, public_key_line(key.public_key(), comment)


def public_key_line(key: ec.EllipticCurvePublicKey, comment: str = "") -> bytes:
    """Write a public key as OpenSSH does, in one line."""
    line = key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()
    return f"{line} {comment}".rstrip().encode() + b"\n"


def read_public_key(line: bytes) -> bytes:
    """Check a public key and give it without its comment.

    Raises
    ------
    TrustError
        If it is a private key, or none on the curve P-384.
    """
    if b"PRIVATE KEY" in line:
        raise TrustError("this is a private key; it stays at the site, send the .pub file")
    try:
        key = serialization.load_ssh_public_key(line.strip())
    # A compressed point is what the last one is for.
    except (ValueError, UnsupportedAlgorithm, NotImplementedError) as error:
        raise TrustError("not a public key as dermafed site init makes one") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        raise TrustError("the key is not on the curve P-384; make one with dermafed site init")
    return public_key_line(key)


def fingerprint(line: bytes) -> str:
    """Give a public key's fingerprint as ``ssh-keygen -lf`` prints it, for two people to compare.

    Parameters
    ----------
    line : bytes
        The key, as `public_key_line` writes it.
    """
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def certificate_fingerprint(pem: str) -> str:
    """Give a certificate's SHA-256 fingerprint as ``openssl x509 -fingerprint -sha256`` prints it.

    Raises
    ------
    TrustError
        If it is no certificate.
    """
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, x509.InvalidVersion) as error:
        raise TrustError("authority: no certificate; ask the coordinator for it anew") from error
    return found.fingerprint(hashes.SHA256()).hex(":").upper()


def comment_of(line: bytes) -> str:
    """Give what stands behind a public key, for people; empty if nothing does."""
    return b" ".join(line.split()[2:]).decode(errors="replace")
