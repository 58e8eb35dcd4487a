"""TLS contexts: version 1.3 only, both sides authenticated by pinned certificates.

A pin is a whole certificate. It is the only authority of its context and compared once more by its
fingerprint after the handshake, because a pinned certificate that may sign could vouch for others. Names
and dates in certificates mean nothing here: a node whose clock is wrong has to be reachable to be told so.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import ApplianceError

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the ssl module has no name for."""
_PEM_MAX: Final = 64 * 1024
"""Bytes; a certificate has one or two thousand."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class TlsError(ApplianceError):
    """A certificate or key cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What one side of a connection needs."""

    context: ssl.SSLContext
    pins: frozenset[str]
    """Fingerprints of acceptable peers. Empty, for pairing only: any, and the caller looks at it."""


def fingerprint(certificate: bytes | str) -> str:
    """SHA-256 over a certificate (DER, or PEM as text) in 64 hexadecimal digits.

    Raises:
        TlsError: The text holds no certificate.
    """
    der = _der(certificate, "the certificate") if isinstance(certificate, str) else certificate
    return hashlib.sha256(der).hexdigest()


def readable(digits: str) -> str:
    """A fingerprint in groups that people can compare."""
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def server_tls(certificate: Path, key: Path, peers: Sequence[Path], *, optional: bool = False) -> Tls:
    """The server's side.

    Args:
        certificate: Own certificate, a PEM file.
        key: Its private key, a PEM file without a password.
        peers: Pinned certificates of clients, PEM files.
        optional: Let clients in that show no certificate, for pairing; one that is not pinned is refused anyway.

    Raises:
        TlsError: A file cannot be used; names it.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    # Every connection proves its identity anew; a ticket would only be a further secret to keep.
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    _load_own(context, certificate, key)
    if not peers and not optional:
        raise TlsError("no certificate of a peer is pinned", hint="Pair the nodes first: `appliance pair`.")
    return Tls(context=context, pins=_pin(context, peers))


def client_tls(certificate: Path | None, key: Path | None, peers: Sequence[Path]) -> Tls:
    """The client's side.

    Args:
        certificate: Own certificate, a PEM file; `None` to show none, for pairing.
        key: Its private key.
        peers: Pinned certificates of the server, PEM files (two while one is replaced). Empty, for pairing:
            any certificate is taken, and `Client.peer_fingerprint` says which.

    Raises:
        TlsError: A file cannot be used; names it.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED if peers else ssl.CERT_NONE
    if certificate is not None and key is not None:
        _load_own(context, certificate, key)
    return Tls(context=context, pins=_pin(context, peers))


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _read(certificate)
    _read(key)
    try:
        # A key with a password would ask for it on the terminal of the node.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise TlsError(
            f"{certificate} and {key} are not a certificate and its key: {_reason(error)}",
            hint="Make them anew by pairing again, or restore both from the same backup.",
        ) from None


def _pin(context: ssl.SSLContext, peers: Sequence[Path]) -> frozenset[str]:
    pins = set()
    for path in peers:
        der = _der(_read(path), str(path))
        try:
            context.load_verify_locations(cadata=der)
        except (OSError, ValueError) as error:
            raise _unusable(str(path), _reason(error)) from None
        pins.add(fingerprint(der))
    return frozenset(pins)


def _der(text: str, where: str) -> bytes:
    found = _CERTIFICATE.findall(text)
    if len(found) != 1:
        raise _unusable(where, f"it holds {len(found)} certificates instead of one")
    try:
        return ssl.PEM_cert_to_DER_cert(found[0])
    except ValueError as error:
        raise _unusable(where, str(error)) from None


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as stream:
            text = stream.read(_PEM_MAX + 1)
    except OSError as error:
        raise TlsError(f"cannot read {path}: {error.strerror}", hint="Pair the nodes, or restore the file.") from None
    if len(text) > _PEM_MAX:
        raise _unusable(str(path), f"it has more than {_PEM_MAX} bytes")
    return text


def _unusable(where: str, reason: str) -> TlsError:
    return TlsError(f"{where} is no certificate: {reason}", hint="Pair the nodes again, or restore the file.")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error)
