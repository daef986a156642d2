"""A server certificate that ends during a run: nobody connects anew; once renewed, it goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.deploy.conftest import DERMAFED, LEARNER, SITES, Federation, same_model, wait_until
from tests.deploy.hostile_site import members_and_left_out

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def _expire(folder: Path) -> None:
    """Sign the coordinator's own certificate again, as one that ended a minute ago."""
    old = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    content = (folder / "authority.key").read_bytes()
    key = serialization.load_pem_private_key(content, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(datetime.now(UTC) - timedelta(minutes=1))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    made = builder.sign(key, hashes.SHA384())
    (folder / "server.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def test_a_run_whose_server_certificate_expires_goes_on_once_it_is_renewed(
    federation: Federation, trained: Path
) -> None:
    name, folder = "expired", federation.coordinator
    at = ("--folder", str(folder))
    run = federation.start_run(name, *LEARNER)
    wait_until(lambda: "round" in federation.events(name), 300.0)
    _expire(folder)
    # Live connections would go on for a while; those of programs that start anew do not.
    for service in ("proxy", "superlink"):
        federation.process(folder, service).kill()
    logs = [federation.site(site) / "logs" / "supernode.log" for site in SITES]
    starts = [len(log.read_text(encoding="utf-8")) for log in logs]
    wait_until(
        lambda: all(
            "certificate has expired" in log.read_text(encoding="utf-8")[start:]
            for log, start in zip(logs, starts, strict=True)
        ),
        300.0,
    )
    refused = federation.call(str(DERMAFED), "coordinator", "run", "--name", "new", *LEARNER, *at)
    assert refused.returncode == 1
    assert "certificate" in refused.stderr
    assert "--renew-certificate" in refused.stderr
    # Nor does a coordinator start with it.
    assert federation.call(str(DERMAFED), "coordinator", "stop", *at).returncode == 0
    run.communicate(timeout=300)
    assert run.returncode == 1
    started = federation.call(str(DERMAFED), "coordinator", "start", "--detach", *at)
    assert started.returncode == 1
    assert "certificate" in started.stderr
    assert not federation.result(name).exists()
    started = federation.call(
        str(DERMAFED), "coordinator", "start", "--renew-certificate", "--detach", *at
    )
    assert started.returncode == 0, started.stderr
    done = federation.call(str(DERMAFED), "coordinator", "run", "--resume", name, *at)
    assert done.returncode == 0, done.stderr
    # Every site came back by itself.
    assert members_and_left_out(federation.result(name)) == (set(SITES), {})
    assert same_model(federation.result(name), trained)
