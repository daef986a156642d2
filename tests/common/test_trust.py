"""Which certificate is trusted: by `check_certificate` and by TLS alike."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from common.errors import TrustError
from common.trust import Authority, check_certificate, new_authority, server_certificate

HOST, ADDRESS = "coordinator.example", "2001:db8::7"
AUTHORITY = new_authority("clinics")
CERTIFICATE, KEY = server_certificate(AUTHORITY, (HOST, "Upper.Example", ADDRESS, "192.0.2.7"))
DER = ssl.PEM_cert_to_DER_cert(CERTIFICATE.decode())
ENDED = new_authority("clinics", days=0)


def _tls_error(certificate: bytes, key: bytes, trusted: bytes, host: str, folder: Path) -> str:
    """Shake hands over a socket as the two ends do, and give why the client would not."""
    (folder / "chain.pem").write_bytes(certificate + key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "chain.pem")
    client = ssl.create_default_context(cadata=trusted.decode())
    # What Python 3.13 asks for of itself.
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        try:
            with server.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), 20) as plain,
                client.wrap_socket(plain, server_hostname=host),
            ):
                return ""
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        finally:
            thread.join()


def _check_error(certificate: bytes, trusted: bytes, host: str) -> str:
    try:
        assert check_certificate(certificate, trusted, host) > 0
    except TrustError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "host",
    [
        *(HOST, "COORDINATOR.example", "upper.example", "localhost", "127.0.0.1"),
        *(ADDRESS, "2001:0DB8:0::0:7", "192.0.2.7"),
    ],
)
def test_a_certificate_is_accepted_for_each_of_its_hosts(host: str, tmp_path: Path) -> None:
    assert _tls_error(CERTIFICATE, KEY, AUTHORITY.certificate, host, tmp_path) == ""
    for certificate in (CERTIFICATE, DER):
        assert _check_error(certificate, AUTHORITY.certificate, host) == ""


REFUSED = {
    "another host": (CERTIFICATE, KEY, AUTHORITY, "other.example"),
    "a host below": (CERTIFICATE, KEY, AUTHORITY, f"a.{HOST}"),
    "a host above": (CERTIFICATE, KEY, AUTHORITY, "example"),
    "another address": (CERTIFICATE, KEY, AUTHORITY, "192.0.2.8"),
    "another authority of the same name": (CERTIFICATE, KEY, new_authority("clinics"), HOST),
    "an ended certificate": (*server_certificate(AUTHORITY, (HOST,), days=0), AUTHORITY, HOST),
    "an ended authority": (*server_certificate(ENDED, (HOST,)), ENDED, HOST),
    "the authority's own": (AUTHORITY.certificate, AUTHORITY.key, AUTHORITY, HOST),
}


@pytest.mark.parametrize(("certificate", "key", "trusted", "host"), REFUSED.values(), ids=REFUSED)
def test_tls_and_the_check_refuse_the_same(
    certificate: bytes, key: bytes, trusted: Authority, host: str, tmp_path: Path
) -> None:
    assert _tls_error(certificate, key, trusted.certificate, host, tmp_path) != ""
    assert host in _check_error(certificate, trusted.certificate, host)


def test_a_server_certificate_cannot_sign_another() -> None:
    other = server_certificate(Authority(CERTIFICATE, KEY), (HOST,))[0]
    assert "not signed" in _check_error(other, AUTHORITY.certificate, HOST)
    constraints = x509.load_pem_x509_certificate(CERTIFICATE).extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert constraints.critical
    assert not constraints.value.ca


def test_a_check_counts_days_by_the_clock_it_is_given() -> None:
    now = datetime.now(UTC)
    made, _ = server_certificate(AUTHORITY, (HOST,), days=100)
    trusted = AUTHORITY.certificate
    assert check_certificate(made, trusted, HOST, now + timedelta(hours=1)) == 99
    assert check_certificate(made, trusted, HOST, now + timedelta(days=60, hours=1)) == 39
    # A site's clock that is half an hour behind is no reason to refuse.
    assert check_certificate(made, trusted, HOST, now - timedelta(minutes=30)) == 100
    for when in (now - timedelta(days=1), now + timedelta(days=101)):
        with pytest.raises(TrustError, match=rf"{HOST}: valid from .* it is {when:%Y-%m-%d}"):
            check_certificate(made, trusted, HOST, when)


# What cryptography warns of in a stranger's certificate does not matter: it is refused.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(place=st.integers(0, len(DER) - 1), change=st.integers(1, 255))
def test_a_certificate_with_a_changed_byte_is_refused(place: int, change: int) -> None:
    changed = bytearray(DER)
    changed[place] ^= change
    assert _check_error(bytes(changed), AUTHORITY.certificate, HOST)


def test_a_certificate_of_an_unknown_version_is_refused() -> None:
    version = DER.index(bytes.fromhex("a003020102")) + 4
    changed = DER[:version] + b"\x2a" + DER[version + 1 :]
    assert "cannot be read" in _check_error(changed, AUTHORITY.certificate, HOST)


def test_an_authority_on_an_unknown_curve_is_refused() -> None:
    der = ssl.PEM_cert_to_DER_cert(AUTHORITY.certificate.decode())
    strange = der.replace(bytes.fromhex("2b81040022"), bytes.fromhex("2b81040063"))
    assert strange != der
    assert _check_error(CERTIFICATE, ssl.DER_cert_to_PEM_cert(strange).encode(), HOST)


@given(st.binary(max_size=200), st.booleans())
def test_what_is_no_certificate_is_refused(content: bytes, armoured: bool) -> None:
    if armoured:
        content = ssl.DER_cert_to_PEM_cert(content).encode()
    assert _check_error(content, AUTHORITY.certificate, HOST)
    assert _check_error(CERTIFICATE, content, HOST)


@pytest.mark.parametrize(
    "host",
    [
        *("", "*", "*.example", "a b", "a\nb", f"{HOST}\n", "a\0b", "a" * 300, "a." * 150 + "a"),
        *("a" * 64, "a..b", ".a", "a.", "-a", "a-", "a/b", "a:1", "ä.example", "\u212aiel.example"),
    ],
)
def test_a_hostile_host_name_is_refused(host: str) -> None:
    for hosts in ((host,), (HOST, host)):
        with pytest.raises(TrustError, match="neither an address nor the name of a host"):
            server_certificate(AUTHORITY, hosts)
    with pytest.raises(TrustError):
        check_certificate(CERTIFICATE, AUTHORITY.certificate, host)


def test_a_certificate_is_for_some_host() -> None:
    with pytest.raises(TrustError, match="name the host"):
        server_certificate(AUTHORITY, ())


def test_an_authority_does_not_show_its_key() -> None:
    assert AUTHORITY.key.splitlines()[1].decode() not in repr(AUTHORITY)
    assert "PRIVATE" not in f"{AUTHORITY} {AUTHORITY!r}"
