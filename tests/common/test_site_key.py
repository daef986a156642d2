"""Keys of sites, and the files that hold what is private."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from common.errors import TrustError
from common.trust import (
    comment_of,
    fingerprint,
    new_authority,
    new_site_key,
    public_key_line,
    read_public_key,
    write_private,
    write_public,
)
from common.trust.files import read_private


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "new" / "key", b"secret")
    write_public(tmp_path / "key.pub", b"open")
    assert (tmp_path / "new" / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key.pub").stat().st_mode & 0o777 == 0o644
    assert read_private(tmp_path / "new" / "key") == b"secret"


@pytest.mark.parametrize("write", [write_private, write_public])
def test_a_file_of_trust_is_never_overwritten(
    write: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    path, link, elsewhere = tmp_path / "key", tmp_path / "link", tmp_path / "elsewhere"
    write(path, b"first")
    link.symlink_to(elsewhere)
    for taken in (path, link):
        with pytest.raises(TrustError, match="exists already"):
            write(taken, b"second")
    with pytest.raises(TrustError, match="key/below"):
        write(path / "below" / "key", b"second")
    assert path.read_bytes() == b"first"
    assert not elsewhere.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644])
def test_a_private_file_that_is_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"secret")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(TrustError, match="key: others may read it"):
        read_private(tmp_path / "key")


def test_a_private_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"nothing\.key: No such file"):
        read_private(tmp_path / "nothing.key")


def test_a_site_key_is_on_p384_and_its_halves_fit() -> None:
    private, public = new_site_key("our-clinic")
    loaded = serialization.load_ssh_private_key(private, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    assert loaded.curve.name == "secp384r1"
    read = serialization.load_ssh_public_key(public)
    assert read == loaded.public_key()
    assert public.endswith(b" our-clinic\n")
    assert public.count(b"\n") == 1
    assert new_site_key()[0] != new_site_key()[0]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_openssh_reads_a_site_key(tmp_path: Path) -> None:
    private, public = new_site_key("our-clinic")
    write_private(tmp_path / "key", private)
    run = ["ssh-keygen", "-y", "-f", str(tmp_path / "key")]
    told = subprocess.run(run, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    assert told.split()[:2] == public.split()[:2]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
@pytest.mark.parametrize("comment", ["", "our-clinic"])
def test_a_fingerprint_is_that_which_openssh_prints(tmp_path: Path, comment: str) -> None:
    _, public = new_site_key(comment)
    write_public(tmp_path / "key.pub", public)
    run = ["ssh-keygen", "-lf", str(tmp_path / "key.pub")]
    told = subprocess.run(run, capture_output=True, check=True, text=True).stdout
    assert told.split()[:2] == ["384", fingerprint(public)]


@pytest.mark.parametrize("comment", ["", "our-clinic", "PRIVATE", "a b c"])
def test_a_public_key_is_taken_without_its_comment(comment: str) -> None:
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    line = public_key_line(public, comment)
    assert comment_of(line) == comment
    assert read_public_key(line) == public_key_line(public)
    assert serialization.load_ssh_public_key(read_public_key(line)) == public


def _line(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


PRIVATE, PUBLIC = new_site_key()
REFUSED = {
    "a private key": (PRIVATE, "private key"),
    "an authority's key": (new_authority("x").key, "private key"),
    "both halves": (PUBLIC + PRIVATE, "private key"),
    "RSA": (_line(rsa.generate_private_key(65537, 2048).public_key()), "not on the curve"),
    "ed25519": (_line(ed25519.Ed25519PrivateKey.generate().public_key()), "not on the curve"),
    "P-256": (_line(ec.generate_private_key(ec.SECP256R1()).public_key()), "not on the curve"),
    "P-521": (_line(ec.generate_private_key(ec.SECP521R1()).public_key()), "not on the curve"),
    "a certificate": (new_authority("x").certificate, "not a public key"),
    "half a key": (PUBLIC[:60], "not a public key"),
    "nothing": (b"", "not a public key"),
}


@pytest.mark.parametrize(("line", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_public_key_on_p384_is_refused(line: bytes, reason: str) -> None:
    with pytest.raises(TrustError, match=reason):
        read_public_key(line)


@given(st.binary(max_size=120), st.sampled_from([b"", b"ecdsa-sha2-nistp384 ", b"ssh-rsa "]))
def test_bytes_are_no_public_key(content: bytes, kind: bytes) -> None:
    with pytest.raises(TrustError):
        read_public_key(kind + content)


def test_a_compressed_point_is_refused() -> None:
    kind, blob = PUBLIC.split()[:2]
    public = serialization.load_ssh_public_key(PUBLIC)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    point = public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    # Of P-384, an uncompressed point has 97 bytes behind a length of four.
    changed = base64.b64decode(blob)[: -97 - 4] + len(point).to_bytes(4, "big") + point
    with pytest.raises(TrustError, match="not a public key"):
        read_public_key(kind + b" " + base64.b64encode(changed))
