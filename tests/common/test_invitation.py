"""Invitations: what is written is read, what is damaged is refused, no secret travels."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.deployment.invitation import PRIVATE as PRIVATE_KEY
from common.deployment.invitation import Invitation, read_invitation, write_invitation
from common.errors import TrustError
from common.trust import new_authority, new_site_key

PRIVATE, PUBLIC = new_site_key("our-clinic")
AUTHORITY = new_authority("clinics")
TYPICAL = {
    "federation": "clinics",
    "site": "our-clinic",
    "key": PUBLIC.decode(),
    "address": "coordinator.example:8443",
    "authority": AUTHORITY.certificate.decode(),
    "bundle": "0" * 64,
    "code": "1" * 64,
    "version": "1.0",
}
TEXT = st.text().filter(lambda text: PRIVATE_KEY not in text.upper())


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "our-clinic.invitation.toml"
    write_invitation(path, Invitation(**TYPICAL))
    return path


def test_an_invitation_is_read_as_it_was_written(written: Path) -> None:
    assert read_invitation(written).model_dump() == TYPICAL


@given(st.builds(Invitation, **dict.fromkeys(TYPICAL, TEXT)))
def test_any_text_survives_the_file(invitation: Invitation) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.toml"
        write_invitation(path, invitation)
        assert read_invitation(path) == invitation


@pytest.mark.parametrize("name", TYPICAL)
@pytest.mark.parametrize("secret", [PRIVATE, AUTHORITY.key], ids=["site", "authority"])
def test_no_private_key_is_written(name: str, secret: bytes, tmp_path: Path) -> None:
    held = Invitation(**{**TYPICAL, name: TYPICAL[name] + secret.decode()})
    with pytest.raises(TrustError, match=r"a\.toml: holds a private key"):
        write_invitation(tmp_path / "a.toml", held)
    assert not list(tmp_path.iterdir())


def test_a_file_with_a_private_key_is_refused(written: Path) -> None:
    for secret in (PRIVATE, AUTHORITY.key):
        written.write_bytes(written.read_bytes() + b"# " + secret.replace(b"\n", b" ") + b"\n")
        with pytest.raises(TrustError, match="holds a private key"):
            read_invitation(written)


def test_an_invitation_that_was_cut_off_is_refused(written: Path) -> None:
    whole = written.read_bytes()
    # Behind its last quotation mark nothing but the line's end is lost.
    for length in (*range(0, len(whole) - 1, 7), len(whole) - 2):
        written.write_bytes(whole[:length])
        with pytest.raises(TrustError, match="not an invitation; ask the coordinator"):
            read_invitation(written)


@given(st.binary(max_size=100))
def test_bytes_are_no_invitation(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.toml"
        path.write_bytes(content)
        with pytest.raises(TrustError, match=r"a\.toml: "):
            read_invitation(path)


@pytest.mark.parametrize(
    "more",
    [
        'secret = "x"\n',
        "site = 'twice'\n",
        "[site]\n",
        f"deep = {'[' * 100_000}\n",
        f"long = {'1' * 5_000}\n",
        "\ufffe\0",
    ],
    ids=["unknown", "twice", "table", "deep", "long", "no text"],
)
def test_an_invitation_with_more_in_it_is_refused(more: str, written: Path) -> None:
    written.write_text(written.read_text(encoding="utf-8") + more, encoding="utf-8")
    with pytest.raises(TrustError, match="not an invitation"):
        read_invitation(written)


@pytest.mark.parametrize("name", TYPICAL)
@pytest.mark.parametrize("value", ["1", "true", "['a']", "1979-05-27", "{}"])
def test_a_field_that_is_no_text_is_refused(name: str, value: str, tmp_path: Path) -> None:
    # JSON's texts are TOML's too.
    lines = {one: f"{one} = {json.dumps(text)}" for one, text in TYPICAL.items()}
    path = tmp_path / "a.toml"
    path.write_text("\n".join(lines.values()), encoding="utf-8")
    assert read_invitation(path).model_dump() == TYPICAL
    path.write_text("\n".join({**lines, name: f"{name} = {value}"}.values()), encoding="utf-8")
    with pytest.raises(TrustError, match="not an invitation"):
        read_invitation(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"a\.toml: No such file"):
        read_invitation(tmp_path / "a.toml")
    with pytest.raises(TrustError, match="Is a directory"):
        read_invitation(tmp_path)
