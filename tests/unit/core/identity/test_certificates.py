"""Certificates: made for decades, checked before they are believed, and enough for mutual TLS 1.3."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from appliance.errors import ApplianceError
from appliance.identity.certificates import (
    DER_MAX,
    Identity,
    create_identity,
    fingerprint_of,
    parse_certificate,
    parse_certificate_pem,
    parse_identity,
)

ONE, TWO = create_identity("fw1"), create_identity("fw2")


def subject_of(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def made(
    *,
    key: Any = None,
    signer: Any = None,
    subject: x509.Name | None = None,
    issuer: x509.Name | None = None,
    digest: Any = None,
    extra: bytes = b"",
) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = subject if subject is not None else subject_of("fw1")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 1, 1, tzinfo=UTC))
    )
    if extra:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, extra), critical=False)
    signed = builder.sign(signer or key, digest)
    return signed.public_bytes(serialization.Encoding.DER)


def test_it_is_valid_from_2020_to_2050_so_that_a_wrong_clock_does_not_end_the_synchronization() -> None:
    parsed = x509.load_der_x509_certificate(ONE.certificate.der)
    assert parsed.not_valid_before_utc == datetime(2020, 1, 1, tzinfo=UTC)
    assert parsed.not_valid_after_utc - parsed.not_valid_before_utc > timedelta(days=30 * 365)


def test_it_names_the_node_and_is_no_authority() -> None:
    parsed = x509.load_der_x509_certificate(ONE.certificate.der)
    assert ONE.certificate.name == "fw1"
    assert parsed.subject == parsed.issuer == subject_of("fw1")
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fw1"]
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not parsed.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_no_two_identities_are_the_same() -> None:
    again = create_identity("fw1")
    assert again.certificate.fingerprint != ONE.certificate.fingerprint
    assert again.key_pem != ONE.key_pem


def test_a_name_that_no_node_can_have_gets_no_identity() -> None:
    with pytest.raises(ApplianceError, match="is not the name of a node"):
        create_identity("../fw1")


def test_the_fingerprint_is_that_of_openssl_in_groups_of_four() -> None:
    shown = ONE.certificate.fingerprint
    digest = x509.load_der_x509_certificate(ONE.certificate.der).fingerprint(hashes.SHA256())
    assert bytes.fromhex(shown.replace(":", "")) == digest
    assert [len(group) for group in shown.split(":")] == [4] * 16
    assert len(shown) < 80
    assert fingerprint_of(b"").startswith("E3B0:C442:98FC")


def test_neither_the_key_nor_the_certificate_is_in_its_representation() -> None:
    assert "PRIVATE" not in repr(ONE)
    assert len(repr(ONE)) < 300


def test_it_comes_back_from_files() -> None:
    back = parse_identity(
        ONE.certificate.pem.encode(), ONE.key_pem.encode(), certificate_path="own.pem", key_path="own.key"
    )
    assert back == ONE
    assert parse_certificate_pem(b"name: fw1\n" + ONE.certificate.pem.encode(), "fw1.pem") == ONE.certificate


@pytest.mark.parametrize(
    ("der", "what"),
    [
        (b"", "is malformed"),
        (b"\x30\x80" + bytes(50), "is malformed"),
        (ONE.certificate.der[:-1], "is malformed"),
        (ONE.certificate.der + b"\0", "malformed"),
        (bytes(DER_MAX + 1), f"has {DER_MAX + 1} bytes, at most {DER_MAX} are accepted"),
        (made(digest=hashes.SHA256(), extra=bytes(DER_MAX)), "at most 2048 are accepted"),
        (made(key=ec.generate_private_key(ec.SECP384R1()), digest=hashes.SHA256()), "has no P-256 key"),
        (made(key=ed25519.Ed25519PrivateKey.generate()), "has no P-256 key"),
        (made(digest=hashes.SHA512()), "is not signed with SHA-256"),
        (made(signer=ec.generate_private_key(ec.SECP256R1()), digest=hashes.SHA256()), "not signed by its own key"),
        (made(subject=x509.Name([]), digest=hashes.SHA256()), "does not name a node"),
        (made(subject=subject_of("../../etc/x"), digest=hashes.SHA256()), "does not name a node"),
        (
            made(subject=x509.Name([*subject_of("fw1"), *subject_of("fw2")]), digest=hashes.SHA256()),
            "does not name a node",
        ),
    ],
)
def test_a_certificate_that_no_node_made_is_refused(der: bytes, what: str) -> None:
    with pytest.raises(ApplianceError, match=what) as refused:
        parse_certificate(der)
    assert "Pair again" in refused.value.hint


def test_a_file_without_a_certificate_is_named() -> None:
    with pytest.raises(ApplianceError, match=r"peers/fw2.pem is not a certificate"):
        parse_certificate_pem(b"nothing", "peers/fw2.pem")
    strange = x509.load_der_x509_certificate(made(digest=hashes.SHA512())).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(ApplianceError, match=r"peers/fw2.pem: the certificate is not signed with SHA-256"):
        parse_certificate_pem(strange, "peers/fw2.pem")


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"nothing",
        ONE.certificate.pem.encode(),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        ),
    ],
)
def test_a_file_without_a_key_is_named(key: bytes) -> None:
    with pytest.raises(ApplianceError, match=r"own.key is not a private key") as refused:
        parse_identity(ONE.certificate.pem.encode(), key, certificate_path="own.pem", key_path="own.key")
    assert "appliance pair reset" in refused.value.hint


def test_a_key_of_another_certificate_is_told() -> None:
    for key in (
        TWO.key_pem.encode(),
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    ):
        with pytest.raises(ApplianceError, match=r"the key own.key does not fit the certificate own.pem"):
            parse_identity(ONE.certificate.pem.encode(), key, certificate_path="own.pem", key_path="own.key")


def context(role: int, own: Identity, peer_pem: str, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(role)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=peer_pem)
    files = folder / f"{role}.pem", folder / f"{role}.key"
    files[0].write_text(own.certificate.pem)
    files[1].write_text(own.key_pem)
    made.load_cert_chain(*files)
    return made


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """What a client reads over a new connection; both sides in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ends[1].write(b"hello")
    return ends[0].read(5).decode()


def test_two_nodes_that_pinned_each_other_speak_tls_1_3(tmp_path: Path) -> None:
    server = context(ssl.PROTOCOL_TLS_SERVER, ONE, TWO.certificate.pem, tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, TWO, ONE.certificate.pem, tmp_path)
    assert shake_hands(client, server) == "hello"


def test_another_certificate_of_the_same_name_is_not_accepted(tmp_path: Path) -> None:
    server = context(ssl.PROTOCOL_TLS_SERVER, create_identity("fw1"), TWO.certificate.pem, tmp_path)
    client = context(ssl.PROTOCOL_TLS_CLIENT, TWO, ONE.certificate.pem, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)


def test_a_certificate_that_a_peer_signed_for_somebody_else_is_not_accepted(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key(ONE.key_pem.encode(), None)
    der = made(key=key, signer=signer, subject=subject_of("fw3"), issuer=subject_of("fw1"), digest=hashes.SHA256())
    pem = x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM).decode()
    server = context(ssl.PROTOCOL_TLS_SERVER, ONE, TWO.certificate.pem, tmp_path)
    (tmp_path / "chain.pem").write_text(pem + ONE.certificate.pem)
    (tmp_path / "chain.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server.load_cert_chain(tmp_path / "chain.pem", tmp_path / "chain.key")
    client = context(ssl.PROTOCOL_TLS_CLIENT, TWO, ONE.certificate.pem, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)
