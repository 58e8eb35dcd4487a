"""The messages of a pairing: what is in them, what is refused, and how their contents are proved and sealed."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.errors import ApplianceError, RefusedError
from appliance.identity.certificates import DER_MAX, Certificate, parse_certificate
from appliance.identity.cpace import ISK_BYTES, SHARE_BYTES
from appliance.identity.keyring import TEXT_MAX, Keyring, decode_keyring, encode_keyring
from appliance.identity.names import NAME_MAX

VERSION = 1
"""Of the protocol."""
SESSION_BYTES = 16

Message = dict[str, bytes | str | int]
"""What `appliance.pair` carries; at most 3 kB."""

_TAG_BYTES, _PROOF_BYTES, _KEY_BYTES = 16, 32, 32
_SALT = b"ha-appliance pairing 1"
_BYTES_MAX = {
    "session": SESSION_BYTES,
    "certificate": DER_MAX,
    "share": SHARE_BYTES,
    "sealed": TEXT_MAX + _TAG_BYTES,
    "proof": _PROOF_BYTES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A message was refused; the other side is to be told, and nothing has changed."""

    kind: str
    """For counters: ``closed``, ``malformed``, ``version``, ``name``, ``certificate``, ``full``, ``run``, ``code``,
    ``cluster``."""
    message: str
    hint: str

    def error(self) -> RefusedError:
        """As an error for the operator."""
        return RefusedError(self.message, hint=self.hint)


class RefusalError(Exception):
    """How the functions below get out; the machines turn it into an outcome."""

    def __init__(self, kind: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.refused = Refused(kind=kind, message=message, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First message of either side."""

    certificate: Certificate
    share: bytes
    session: bytes
    """Chosen by the initiator, unique for each run; the listener does not repeat it (empty)."""

    def message(self) -> Message:
        """As it is sent."""
        made: Message = {
            "step": "hello",
            "version": VERSION,
            "name": self.certificate.name,
            "certificate": self.certificate.der,
            "share": self.share,
        }
        return {**made, "session": self.session} if self.session else made


@dataclass(frozen=True, slots=True)
class Keys:
    """What one side of one run proves and seals with; used for one message only."""

    proves: bytes = field(repr=False)
    seals: bytes = field(repr=False)


def keys_of(isk: bytes) -> tuple[Keys, Keys]:
    """The keys of the initiator and those of the listener.

    Args:
        isk: The key of the run, 64 bytes, from `appliance.identity.cpace`.
    """
    if len(isk) != ISK_BYTES:
        raise ValueError(f"the key of a run has {ISK_BYTES} bytes, not {len(isk)}")
    raw = HKDF(algorithm=hashes.SHA512(), length=4 * _KEY_BYTES, salt=_SALT, info=b"keys").derive(isk)
    one, two, three, four = (raw[start : start + _KEY_BYTES] for start in range(0, len(raw), _KEY_BYTES))
    return Keys(one, two), Keys(three, four)


def confirm_message(keys: Keys, keyring: Keyring | None, *, session: bytes = b"") -> Message:
    """Second message of either side: the proof that it knows the code, and its secrets under the key of the run."""
    text = b"" if keyring is None else encode_keyring(keyring).encode()
    # The key seals this one message, so the nonce does not have to differ from anything.
    sealed = AESGCM(keys.seals).encrypt(bytes(12), text, None)
    made: Message = {"step": "confirm", "sealed": sealed, "proof": hmac.digest(keys.proves, sealed, "sha256")}
    return {**made, "session": session} if session else made


def step_of(message: object) -> str:
    """Which message it is.

    Raises:
        RefusalError: It is none.
    """
    step = message.get("step") if isinstance(message, dict) else None
    if step not in ("hello", "confirm"):
        raise malformed("step")
    return str(step)


def session_of(message: object) -> bytes:
    """The run that the initiator means.

    Raises:
        RefusalError: It is malformed.
    """
    session = _bytes(message, "session")
    if len(session) != SESSION_BYTES:
        raise malformed("session")
    return session


def parse_hello(message: object) -> Hello:
    """Read a first message; its session is left out.

    Raises:
        RefusalError: It is malformed, of another version, or the certificate is not that of a node with this name.
    """
    version, name = _get(message, "version"), _get(message, "name")
    if not isinstance(version, int) or isinstance(version, bool):
        raise malformed("version")
    if version != VERSION:
        raise RefusalError(
            "version",
            f"the other node pairs with version {version} of the protocol, this one with {VERSION}",
            "Bring both nodes to the same version of the software.",
        )
    if not isinstance(name, str) or len(name) > NAME_MAX:
        raise malformed("name")
    share = _bytes(message, "share")
    try:
        certificate = parse_certificate(_bytes(message, "certificate"))
    except ApplianceError as error:
        raise RefusalError("certificate", f"the other node: {error.message}", error.hint) from error
    if certificate.name != name:
        raise RefusalError(
            "certificate",
            f"the other node calls itself {name!r} and shows the certificate of {certificate.name}",
            "Give the other node its identity anew with 'appliance pair reset', then pair again.",
        )
    return Hello(certificate=certificate, share=share, session=b"")


def proves(keys: Keys, message: object) -> bool:
    """Whether the sender of a second message knows the code and saw the same certificates.

    Raises:
        RefusalError: The message is malformed.
    """
    expected = hmac.digest(keys.proves, _bytes(message, "sealed"), "sha256")
    return hmac.compare_digest(expected, _bytes(message, "proof"))


def unseal(keys: Keys, message: object) -> Keyring | None:
    """The secrets in a second message, after `proves` said yes: a seal alone does not commit to one key, so it could
    be made to test many codes at once.

    Raises:
        RefusalError: The message is malformed.
    """
    try:
        text = AESGCM(keys.seals).decrypt(bytes(12), _bytes(message, "sealed"), None)
        return decode_keyring(text.decode()) if text else None
    except (InvalidTag, ValueError) as error:
        raise malformed("sealed") from error


def malformed(part: str) -> RefusalError:
    """The refusal of a message because of that part."""
    return RefusalError(
        "malformed",
        f"a message of the pairing is malformed: {part}",
        "Check that both nodes run the same version of the software.",
    )


def _bytes(message: object, part: str) -> bytes:
    value = _get(message, part)
    if not isinstance(value, bytes) or len(value) > _BYTES_MAX[part]:
        raise malformed(part)
    return value


def _get(message: object, part: str) -> object:
    return message.get(part) if isinstance(message, dict) else None
