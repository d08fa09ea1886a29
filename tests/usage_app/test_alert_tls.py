"""Webhooks by HTTPS: an alert goes only to whoever proves to be its receiver."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.usage_app import receivers
from tests.usage_app.alerting import make_watched, run
from usage_app.models import AlertDelivery

pytestmark = pytest.mark.django_db


def make_certificate(path: Path, address: str) -> ssl.SSLContext:
    """A server's side with a certificate that it signed itself, which is at `path` with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests only")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    ("address", "trusted", "state", "why"),
    [
        ("127.0.0.1", True, "sent", ""),
        ("127.0.0.1", False, "failed", "its certificate is not valid: self-signed certificate"),
        ("127.0.0.2", True, "failed", "its certificate is not valid: IP address mismatch"),
    ],
    ids=["trusted", "self-signed", "of another"],
)
def test_receiver_must_prove_who_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    trusted: bool,
    state: str,
    why: str,
) -> None:
    path = tmp_path / "certificate.pem"
    with receivers.webhook(make_certificate(path, address)) as receiver:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(path))
        make_watched(tokens=800, webhook_url=receiver.url)
        run()
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempts) == (state, 1)
    assert row.last_error.startswith(why)
    assert bool(row.last_error) == bool(why)
    assert len(receiver.calls) == (state == "sent")
