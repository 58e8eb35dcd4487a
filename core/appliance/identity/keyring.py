"""The pairing secrets of a node. Values only: `pairing` and `rotation` change them, `store` keeps them.

Secrets have one order everywhere: by the time they were made, then by id. A node accepts all that it holds and uses one
of them for sending, which never goes back to an older one.
"""

from __future__ import annotations

import json
import secrets as random_numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from appliance.errors import RefusedError
from appliance.identity.derive import ID_BYTES, SECRET_BYTES, secret_id

SECRETS_MAX = 4
"""Old, new, and two in reserve: both sides of pfsync and of the hellos try all of them."""
TEXT_MAX = 2048
"""Characters of a keyring as text."""
CREATED_MAX = 2**40
"""Seconds since the epoch to which a peer may jump; there is always room for newer secrets, step by step."""
_CREATED_END = 2 * CREATED_MAX
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingSecret:
    """One secret that all nodes of a cluster share."""

    created: int
    """Seconds since the epoch at the node that made it, or later: newer ones are always greater."""
    secret: bytes = field(repr=False)
    """32 random bytes."""
    id: str = field(init=False)
    """Names it, 16 hexadecimal digits; follows from the secret."""

    def __post_init__(self) -> None:
        if not 0 <= self.created < _CREATED_END:
            raise ValueError(f"a pairing secret cannot be made at {self.created}")
        object.__setattr__(self, "id", secret_id(self.secret))

    @property
    def age(self) -> Age:
        """Its place in the order of all secrets."""
        return (self.created, self.id)


Age = tuple[int, str]
"""When a secret was made, and its id: the greater is the newer."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """What one node holds: at least one secret, newest first, and the one it sends with."""

    secrets: tuple[PairingSecret, ...]
    sending: str
    """Id of the secret that is used for sending; all are accepted."""

    def __post_init__(self) -> None:
        ages = [secret.age for secret in self.secrets]
        if not 1 <= len(ages) <= SECRETS_MAX:
            raise ValueError(f"a keyring has 1 to {SECRETS_MAX} secrets, not {len(ages)}")
        if ages != sorted(set(ages), reverse=True) or len({secret.id for secret in self.secrets}) != len(ages):
            raise ValueError("the secrets of a keyring are not in order, or one is there twice")
        if self.find(self.sending) is None:
            raise ValueError("a keyring does not hold the secret it sends with")

    def find(self, secret: str) -> PairingSecret | None:
        """The secret of that id."""
        return next((held for held in self.secrets if held.id == secret), None)

    @property
    def newest(self) -> PairingSecret:
        """The newest secret, which is not yet used for sending while a rotation is under way."""
        return self.secrets[0]

    @property
    def current(self) -> PairingSecret:
        """The secret that is used for sending."""
        return next(held for held in self.secrets if held.id == self.sending)


def new_secret(
    now: int, *, newer_than: Iterable[Age] = (), random: Callable[[int], bytes] = random_numbers.token_bytes
) -> PairingSecret:
    """Make a secret.

    Args:
        now: Seconds since the epoch. A clock that is behind does no harm:
        newer_than: the secret is newer than these in any case.
        random: Gives that many random bytes.
    """
    after = max((created for created, _ in newer_than), default=0)
    return PairingSecret(created=max(now, after + 1), secret=random(SECRET_BYTES))


def keyring_of(secrets: Iterable[PairingSecret], *, sending: str) -> Keyring:
    """Put secrets into their order.

    Raises:
        ValueError: There are too many, none, or the one for sending is missing.
    """
    return Keyring(tuple(sorted(set(secrets), key=lambda held: held.age, reverse=True)), sending)


def merge(own: Keyring | None, theirs: Keyring) -> Keyring:
    """What a node holds after it was paired with another one: the secrets of both, sending as before.

    Raises:
        RefusedError: The two have no secret in common, so they belong to different clusters, or too many together.
    """
    if own is None:
        return theirs
    if not {held.id for held in own.secrets} & {held.id for held in theirs.secrets}:
        raise RefusedError(
            "the two nodes belong to different clusters: both have pairing secrets, and none in common",
            hint="On the node that is to join the other's cluster, run 'appliance pair reset', then pair again.",
        )
    together = {held.id: held for held in (*theirs.secrets, *own.secrets)}
    if len(together) > SECRETS_MAX:
        raise RefusedError(
            f"the two nodes would hold {len(together)} pairing secrets, more than {SECRETS_MAX}",
            hint="Finish the rotation on both with 'appliance pair rotate', then pair again.",
        )
    return keyring_of(together.values(), sending=own.sending)


def encode_keyring(keyring: Keyring) -> str:
    """As text (JSON), for the file and for a sealed message."""
    held = [encode_secret(one) for one in keyring.secrets]
    return json.dumps({"version": _VERSION, "sending": keyring.sending, "secrets": held}, indent=1) + "\n"


def decode_keyring(text: str) -> Keyring:
    """Read the text.

    Raises:
        ValueError: It is malformed; the message says where.
    """
    if len(text) > TEXT_MAX:
        raise ValueError(f"it has more than {TEXT_MAX} characters")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(data, dict) or set(data) != {"version", "sending", "secrets"}:
        raise ValueError("it has other entries than version, sending and secrets")
    if data["version"] != _VERSION:
        raise ValueError(f"it is of version {data['version']!r}; this node knows {_VERSION}")
    held, sending = data["secrets"], data["sending"]
    if not isinstance(held, list) or not isinstance(sending, str):
        raise ValueError("its entries are of the wrong kind")  # noqa: TRY004 - one kind of error for all of it
    return Keyring(tuple(decode_secret(entry) for entry in held[: SECRETS_MAX + 1]), sending)


def encode_secret(secret: PairingSecret) -> dict[str, str]:
    """One secret as `decode_secret` reads it; all text, because integers of XML-RPC end in 2038."""
    return {"id": secret.id, "created": str(secret.created), "secret": secret.secret.hex()}


def decode_secret(entry: object) -> PairingSecret:
    """Read one secret: its id, when it was made in seconds, and 64 hexadecimal digits.

    Raises:
        ValueError: It is malformed, or its id is that of another secret.
    """
    if not isinstance(entry, dict) or set(entry) != {"id", "created", "secret"}:
        raise ValueError("a secret has other entries than id, created and secret")
    created, secret = _seconds(entry["created"]), entry["secret"]
    if created is None or not isinstance(secret, str):
        raise ValueError("the entries of a secret are of the wrong kind")
    try:
        made = PairingSecret(created=created, secret=bytes.fromhex(secret))
    except ValueError as error:
        raise ValueError(f"a secret is not one: {error}") from error
    if entry["id"] != made.id:
        raise ValueError("a secret does not have the id that is written beside it")
    return made


def is_id(value: object) -> bool:
    """Whether it has the form of a secret's id."""
    return isinstance(value, str) and len(value) == 2 * ID_BYTES and set(value) <= set("0123456789abcdef")


def encode_age(age: Age) -> list[str]:
    """An age as `decode_age` reads it."""
    return [str(age[0]), age[1]]


def decode_age(value: object) -> Age:
    """Read when a secret was made, and its id.

    Raises:
        ValueError: It is malformed.
    """
    if isinstance(value, list) and len(value) == 2 and is_id(value[1]):
        created = _seconds(value[0])
        if created is not None:
            return (created, str(value[1]))
    raise ValueError("the age of a secret is malformed")


def _seconds(value: object) -> int | None:
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > 13:
        return None
    return int(value) if int(value) < _CREATED_END else None
