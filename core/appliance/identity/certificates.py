"""The certificate that is the identity of a node: self-signed, and trusted because a peer pinned it.

There is no authority. A peer stores the certificate when the two nodes are paired and accepts no other: the file is
the pin. The validity starts in the past and lasts for decades on purpose, so that a node with a wrong clock still
synchronizes and its clock is reported, instead of TLS failing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import ApplianceError
from appliance.identity.names import check_name, is_name

NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2050, 1, 1, tzinfo=UTC)
DER_MAX = 2048
"""Bytes of a certificate that are looked at; ours have about 500."""
PEM_MAX = 4096
"""Bytes of a file with one certificate or one key."""
_GROUP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A checked certificate: P-256, signed by its own key, with a node's name as its subject."""

    name: str
    """Name of the node that made it."""
    der: bytes = field(repr=False)
    fingerprint: str
    """SHA-256, as `fingerprint_of` shows it."""

    @property
    def pem(self) -> str:
        """As text, for ``SSLContext.load_verify_locations(cadata=...)`` and for files."""
        return x509.load_der_x509_certificate(self.der).public_bytes(serialization.Encoding.PEM).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Certificate and private key of this node."""

    certificate: Certificate
    key_pem: str = field(repr=False)
    """The private key, PKCS #8, not encrypted."""


def fingerprint_of(der: bytes) -> str:
    """SHA-256 of a certificate as 16 groups of 4 hexadecimal digits, 79 characters: ``3F2A:91C0:…``."""
    digits = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))


def create_identity(name: str) -> Identity:
    """Make a key and its certificate, valid from 2020 to 2050.

    Raises:
        ApplianceError: No node can be called `name`.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_name(name))])
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        # Not an authority: who pins this certificate trusts nothing that its key may sign.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Identity(
        certificate=parse_certificate(made.public_bytes(serialization.Encoding.DER)), key_pem=key_pem.decode()
    )


def parse_certificate(der: bytes) -> Certificate:
    """Check a certificate that came from a peer or a file.

    Raises:
        ApplianceError: It is too large, no certificate, or not one that a node makes.
    """
    if len(der) > DER_MAX:
        raise _wrong_certificate(f"has {len(der)} bytes, at most {DER_MAX} are accepted")
    try:
        parsed = x509.load_der_x509_certificate(der)
        key = parsed.public_key()
        subject = [attribute.value for attribute in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        algorithm = parsed.signature_hash_algorithm
        canonical = parsed.public_bytes(serialization.Encoding.DER)
    except (ValueError, UnsupportedAlgorithm, CryptographyDeprecationWarning) as error:
        # The warning: where warnings are errors, about what a later release of the library refuses.
        raise _wrong_certificate("is malformed") from error
    if canonical != der:
        raise _wrong_certificate("is followed by something else")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _wrong_certificate("has no P-256 key")
    if not isinstance(algorithm, hashes.SHA256):
        raise _wrong_certificate("is not signed with SHA-256")
    try:
        key.verify(parsed.signature, parsed.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature as error:
        raise _wrong_certificate("is not signed by its own key") from error
    if len(subject) != 1 or not is_name(subject[0]):
        raise _wrong_certificate("does not name a node")
    return Certificate(name=str(subject[0]), der=der, fingerprint=fingerprint_of(der))


def parse_certificate_pem(text: bytes, where: str) -> Certificate:
    """Check a certificate from a file.

    Args:
        text: PEM; lines before it are ignored.
        where: The file, for messages.

    Raises:
        ApplianceError: It is malformed, or not one that a node makes.
    """
    try:
        der = x509.load_pem_x509_certificate(text).public_bytes(serialization.Encoding.DER)
    except ValueError as error:
        raise ApplianceError(
            f"{where} is not a certificate", hint="Restore the file from a backup, or pair the nodes again."
        ) from error
    try:
        return parse_certificate(der)
    except ApplianceError as error:
        raise ApplianceError(f"{where}: {error.message}", hint=error.hint) from error


def parse_identity(certificate: bytes, key: bytes, *, certificate_path: str, key_path: str) -> Identity:
    """Put certificate and key together, both PEM.

    Raises:
        ApplianceError: One is malformed, or they are not of one pair; the message names the file.
    """
    own = parse_certificate_pem(certificate, certificate_path)
    hint = "Restore both files from a backup, or make a new identity with 'appliance pair reset' and pair again."
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ApplianceError(f"{key_path} is not a private key", hint=hint) from error
    public = x509.load_der_x509_certificate(own.der).public_key()
    if _spki(private.public_key()) != _spki(public):
        raise ApplianceError(f"the key {key_path} does not fit the certificate {certificate_path}", hint=hint)
    return Identity(certificate=own, key_pem=key.decode("ascii"))


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _wrong_certificate(what: str) -> ApplianceError:
    return ApplianceError(f"the certificate {what}", hint="Pair again with a certificate that the node itself made.")
