"""A site's real SuperNode before a server that is not its coordinator: not a byte is sent."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import common.trust.authority
from common.trust import Authority, new_authority, server_certificate
from tests.deploy.listener import call_once, joined_site, listener_with

pytestmark = pytest.mark.timeout(300)


def _certificate(
    what: str, ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> tuple[bytes, bytes]:
    if what == "expired":
        return server_certificate(ours, ("localhost",), days=0)
    if what == "of another authority":
        # Of the same name, too.
        return server_certificate(new_authority("dermafed"), ("localhost",))
    if what == "not yet valid":
        # As a site sees it whose clock is two days behind.
        monkeypatch.setattr(common.trust.authority, "_BEFORE", -timedelta(days=2))
        return server_certificate(ours, ("localhost",))
    return server_certificate(ours, ("localhost",))


@pytest.mark.parametrize(
    "what", ["right", "expired", "not yet valid", "of another authority", "for another host"]
)
def test_a_supernode_sends_nothing_to_a_server_whose_certificate_is(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = new_authority("dermafed")
    # Each certificate that is made is for localhost and 127.0.0.1, too.
    bound, called = ("127.0.0.2",) * 2 if what == "for another host" else ("127.0.0.1", "localhost")
    listener = listener_with(tmp_path, *_certificate(what, ours, monkeypatch), bound)
    folder = tmp_path / "site"
    site = joined_site(folder, ours, f"{called}:{listener.port}")
    with listener.listening():
        done = call_once(folder, site, {})
    assert done.returncode != 0
    assert listener.callers > 0
    if what == "right":
        # The request that would have come: it has the site's public key and signature.
        assert listener.received.startswith(b"POST /v1/fleet/")
    else:
        assert listener.received == b""
        assert "CERTIFICATE_VERIFY_FAILED" in done.stdout + done.stderr
