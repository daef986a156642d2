"""A site's key is removed and another one takes its place: with Flower itself, the same model."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.trust import fingerprint
from tests.deploy.conftest import DERMAFED, LEARNER, Federation, same_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SITE = "vidir_molemax"


def test_a_removed_site_is_back_with_a_new_key_and_the_model_is_the_same(
    federation: Federation, trained: Path
) -> None:
    own, coordinator = federation.site(SITE), ("--folder", str(federation.coordinator))
    trail = (own / "audit.jsonl").read_bytes()
    invitation = own / f"{SITE}.invitation.toml"
    invite = ("invite", SITE, "--key", str(own / "site.pub"), "--out", str(invitation))

    def ask(end: str, *arguments: str, code: int = 0) -> str:
        done = federation.call(str(DERMAFED), end, *arguments)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    ask("site", "leave", "--folder", str(own))
    ask("coordinator", "remove", SITE, *coordinator)
    refused = ask("coordinator", *invite, *coordinator, code=1)
    assert "was removed from the federation" in refused
    assert "dermafed site new-key" in refused
    made = ask("site", "new-key", "--folder", str(own))
    invited = ask("coordinator", *invite, *coordinator)
    told = fingerprint((own / "site.pub").read_bytes())
    assert told in made
    assert told in invited
    ask("site", "join", str(invitation), "--folder", str(own), "--detach")
    done = federation.run("new-key", *LEARNER)
    assert done.returncode == 0, done.stderr
    assert same_model(federation.result("new-key"), trained)
    # One trail, of both keys.
    after = (own / "audit.jsonl").read_bytes()
    assert after.startswith(trail)
    assert len(after) > len(trail)
