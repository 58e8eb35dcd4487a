"""Contexts from files, and what is wrong with files."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from appliance.rpc import tls
from appliance.rpc.tls import TlsError
from tests.unit.core.rpc.peers import Peers


def test_a_fingerprint_is_the_one_that_others_compute(peers: Peers) -> None:
    pem = peers.a.certificate.read_text()
    expected = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
    assert tls.fingerprint(pem) == tls.fingerprint(ssl.PEM_cert_to_DER_cert(pem)) == expected


def test_a_fingerprint_can_be_compared_by_people() -> None:
    assert tls.readable("0123456789abcdef") == "0123 4567 89ab cdef"


def test_a_context_allows_nothing_but_what_is_pinned(peers: Peers) -> None:
    for made in (peers.server(), peers.client()):
        assert made.context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert made.context.verify_mode is ssl.CERT_REQUIRED
        assert len(made.context.get_ca_certs()) + len(made.pins) > 0
    assert peers.server().pins == {peers.a.fingerprint}
    assert peers.client().pins == {peers.b.fingerprint}
    assert peers.server().context.num_tickets == 0


def test_two_certificates_are_pinned_while_one_is_replaced(peers: Peers) -> None:
    both = tls.client_tls(peers.a.certificate, peers.a.key, [peers.b.certificate, peers.stranger.certificate])
    assert both.pins == {peers.b.fingerprint, peers.stranger.fingerprint}


def test_for_pairing_a_client_needs_no_certificate_and_trusts_any(peers: Peers) -> None:
    pairing = tls.client_tls(None, None, [])
    assert pairing.pins == frozenset()
    assert pairing.context.verify_mode is ssl.CERT_NONE
    assert peers.server(optional=True).context.verify_mode is ssl.CERT_OPTIONAL


def test_a_server_without_a_pinned_peer_is_refused(peers: Peers) -> None:
    with pytest.raises(TlsError, match="no certificate of a peer is pinned"):
        tls.server_tls(peers.b.certificate, peers.b.key, [])


def test_a_missing_file_is_named(peers: Peers, tmp_path: Path) -> None:
    missing = tmp_path / "gone.pem"
    with pytest.raises(TlsError, match=rf"^cannot read {missing}: No such file"):
        tls.client_tls(missing, peers.a.key, [])
    with pytest.raises(TlsError, match=rf"^cannot read {missing}"):
        tls.client_tls(peers.a.certificate, missing, [])
    with pytest.raises(TlsError, match=rf"^cannot read {missing}"):
        tls.client_tls(peers.a.certificate, peers.a.key, [missing])


def test_a_key_that_belongs_to_another_certificate_is_refused(peers: Peers) -> None:
    with pytest.raises(TlsError, match=r"are not a certificate and its key: key values mismatch"):
        tls.client_tls(peers.a.certificate, peers.b.key, [])


def test_a_key_with_a_password_is_refused_without_asking(peers: Peers, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(peers.a.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsError, match="are not a certificate and its key"):
        tls.client_tls(peers.a.certificate, locked, [])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "it holds 0 certificates instead of one"),
        ("garbage \xff", "it holds 0 certificates instead of one"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "it holds 0 certificates"),
        ("x" * 70_000, "it has more than 65536 bytes"),
    ],
)
def test_what_is_no_certificate_cannot_be_pinned(peers: Peers, tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "peer.pem"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(TlsError) as caught:
        tls.client_tls(None, None, [file])
    assert str(file) in caught.value.message
    assert what in caught.value.message


@pytest.mark.parametrize("body", ["AAAA", "A", "MIIB"])
def test_a_damaged_certificate_cannot_be_pinned(tmp_path: Path, body: str) -> None:
    file = tmp_path / "peer.pem"
    file.write_text(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    with pytest.raises(TlsError, match=rf"^{file} is no certificate: "):
        tls.client_tls(None, None, [file])


def test_a_file_with_two_certificates_is_no_pin(peers: Peers, tmp_path: Path) -> None:
    file = tmp_path / "peers.pem"
    file.write_text(peers.a.certificate.read_text() + peers.b.certificate.read_text())
    with pytest.raises(TlsError, match="it holds 2 certificates instead of one"):
        tls.client_tls(None, None, [file])


def test_text_without_a_certificate_has_no_fingerprint() -> None:
    with pytest.raises(TlsError, match="the certificate is no certificate"):
        tls.fingerprint("hello")
