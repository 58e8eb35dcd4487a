"""Identity, peers and pairing secrets on the disk of a node: ``<state_dir>/identity/``, mode 0700.

    own.key, own.pem    private key and certificate of this node
    peers/NAME.pem      one peer: what is known about it, then its certificate, which is the pin
    secrets             the pairing secrets

Each file is written whole or not at all. Where two files belong together, the order of the writes makes every state
between them one from which the same command goes on: a key without its certificate is nobody's yet and is made again;
secrets without the peer they came from wait for the pairing to be repeated.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from appliance.errors import ApplianceError, RefusedError
from appliance.identity.certificates import (
    PEM_MAX,
    Certificate,
    Identity,
    create_identity,
    parse_certificate_pem,
    parse_identity,
)
from appliance.identity.files import NEW, make_private_directory, read_private, remove_private, write_private
from appliance.identity.keyring import TEXT_MAX, Keyring, decode_keyring, encode_keyring
from appliance.identity.names import check_name, is_name, same_name

DIRECTORY = "identity"
"""Below the state directory."""
PEERS_MAX = 7
"""Clusters have two or three nodes; eight is the end."""
ADDRESS_MAX = 64
"""Characters of an address, with the scope of a link-local one."""

_HEAD = "# A paired node. The certificate below is what is trusted; the rest is for people."
_FIELDS = ("name", "fingerprint", "address", "paired_at")
_BEGIN = "-----BEGIN CERTIFICATE-----"
_SUFFIX = ".pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A node that this one is paired with."""

    certificate: Certificate
    """The only one that is accepted from it."""
    address: str
    """Where it was when it was paired, ``172.16.77.3``."""
    paired_at: int
    """Seconds since the epoch, by the clock of this node."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.certificate.name


class IdentityStore:
    """The directory of one node. The holder of the state directory's lock is the only one who uses it."""

    def __init__(self, state_dir: Path) -> None:
        """Nothing is read or made yet.

        Args:
            state_dir: The state directory of the node.
        """
        self._directory = state_dir / DIRECTORY
        self._peers = self._directory / "peers"
        self.certificate_path = self._directory / "own.pem"
        """For ``SSLContext.load_cert_chain``."""
        self.key_path = self._directory / "own.key"
        """For ``SSLContext.load_cert_chain``."""
        self._secrets = self._directory / "secrets"

    def identity(self, name: str) -> Identity:
        """The identity of this node, made when there is none.

        Args:
            name: As the configuration calls the node.

        Raises:
            RefusedError: The identity is that of another name.
            ApplianceError: A file is missing, open to others, malformed, or key and certificate do not fit.
        """
        check_name(name)
        make_private_directory(self._directory)
        certificate = read_private(self.certificate_path, size_max=PEM_MAX)
        if certificate is None:
            return self._make_identity(name)
        key = read_private(self.key_path, size_max=PEM_MAX)
        if key is None:
            raise ApplianceError(
                f"the private key {self.key_path} is missing",
                hint="Restore it from a backup, or make a new identity with 'appliance pair reset' and pair again.",
            )
        own = parse_identity(certificate, key, certificate_path=str(self.certificate_path), key_path=str(self.key_path))
        if own.certificate.name != name:
            raise RefusedError(
                f"the identity of this node is that of {own.certificate.name}, and its configuration calls it {name}",
                hint="Correct [node] name, or make a new identity with 'appliance pair reset' and pair again.",
            )
        return own

    def peers(self) -> tuple[Peer, ...]:
        """All peers, by name.

        Raises:
            ApplianceError: A file is open to others, malformed or altered, or there are too many.
        """
        return tuple(self._read_peer(name) for name in self._peer_names())

    def add_peer(self, peer: Peer) -> None:
        """Pin a peer; one of the same name is replaced. On disk when this returns.

        Raises:
            RefusedError: It is called like this node or, in other capitals, like another peer, or there are 7 already.
            ApplianceError: The address is none, or the directory cannot be written.
        """
        self._check_room(peer)
        text = _encode_peer(peer)
        make_private_directory(self._directory)
        make_private_directory(self._peers)
        write_private(self._peers / (peer.name + _SUFFIX), text.encode())

    def remove_peer(self, name: str) -> None:
        """Trust a peer no longer. The pairing secrets go with the last one: only nodes that were removed know them.

        As long as there are others the secrets stay: rotate them if the peer must not know them.

        Raises:
            RefusedError: There is no such peer.
            ApplianceError: The file cannot be removed.
        """
        names = self._peer_names()
        if name not in names:
            raise RefusedError(
                f"this node is not paired with {name!r}", hint=f"Its peers are: {', '.join(names) or 'none'}."
            )
        remove_private(self._peers / (name + _SUFFIX))
        if names == [name]:
            remove_private(self._secrets)

    def keyring(self) -> Keyring | None:
        """The pairing secrets, ``None`` when there are none yet.

        Raises:
            ApplianceError: The file is open to others or malformed.
        """
        raw = read_private(self._secrets, size_max=TEXT_MAX)
        if raw is None:
            return None
        try:
            return decode_keyring(raw.decode())
        except ValueError as error:
            raise ApplianceError(
                f"the pairing secrets {self._secrets} are damaged: {error}",
                hint="Restore the file from a backup, or remove it and pair the nodes again.",
            ) from error

    def write_keyring(self, keyring: Keyring) -> None:
        """Replace the pairing secrets; on disk when this returns.

        Raises:
            ApplianceError: They cannot be written; the old ones stay.
        """
        make_private_directory(self._directory)
        write_private(self._secrets, encode_keyring(keyring).encode())

    def record_pairing(self, peer: Peer, keyring: Keyring) -> None:
        """Store what a pairing gave. Killed in between, the same pairing can be repeated.

        Raises:
            RefusedError: As `add_peer`.
            ApplianceError: The directory cannot be written.
        """
        self._check_room(peer)
        # A peer that is trusted but shares no secret would look paired and not work: the secrets come first.
        self.write_keyring(keyring)
        self.add_peer(peer)

    def reset(self) -> None:
        """Forget everything: peers, secrets, then the own identity, which `identity` makes anew.

        Raises:
            ApplianceError: Something cannot be removed; what is left goes with the next try.
        """
        make_private_directory(self._directory)
        for name in self._peer_names():
            remove_private(self._peers / (name + _SUFFIX))
        for path in (self._secrets, self.certificate_path, self.key_path):
            remove_private(path)
            remove_private(path.with_name(path.name + NEW))  # of a write that was killed: it has secrets in it, too

    def _make_identity(self, name: str) -> Identity:
        made = create_identity(name)
        # The certificate comes last: as long as there is none, nobody can have pinned it and the key may change.
        write_private(self.key_path, made.key_pem.encode())
        write_private(self.certificate_path, made.certificate.pem.encode())
        return made

    def _check_room(self, peer: Peer) -> None:
        names = self._peer_names()
        certificate = read_private(self.certificate_path, size_max=PEM_MAX)
        if certificate is not None:
            own = parse_certificate_pem(certificate, str(self.certificate_path)).name
            if same_name(own, peer.name):
                raise RefusedError(f"this node itself is called {own}", hint="Give each node a name of its own.")
        if any(same_name(name, peer.name) and name != peer.name for name in names):
            raise RefusedError(
                f"a peer is already called {peer.name} in other capitals", hint="Give each node a name of its own."
            )
        if peer.name not in names and len(names) >= PEERS_MAX:
            raise RefusedError(
                f"this node is paired with {PEERS_MAX} others already",
                hint="Remove one that is gone with 'appliance pair remove NAME'.",
            )

    def _peer_names(self) -> list[str]:
        try:
            found = os.listdir(self._peers)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ApplianceError(
                f"{self._peers} cannot be read: {error.strerror}", hint="Let the node read its state directory."
            ) from error
        names = sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))
        strange = [name for name in found if not name.endswith((_SUFFIX, _SUFFIX + NEW))]
        strange += [name + _SUFFIX for name in names if not is_name(name)]
        if strange:
            raise ApplianceError(f"{self._peers / min(strange)} is not the file of a peer", hint="Remove it.")
        if len(names) > PEERS_MAX:
            raise ApplianceError(
                f"{self._peers} has {len(names)} peers, at most {PEERS_MAX} are possible",
                hint="Remove the files of nodes that are gone.",
            )
        return names

    def _read_peer(self, name: str) -> Peer:
        path = self._peers / (name + _SUFFIX)
        raw = read_private(path, size_max=PEM_MAX)
        if raw is None:
            raise ApplianceError(f"{path} has gone while it was read", hint="Try again.")
        try:
            return _decode_peer(name, raw, str(path))
        except ValueError as error:
            raise ApplianceError(
                f"{path} is damaged: {error}", hint="Restore the file, or remove it and pair the nodes again."
            ) from error


def _encode_peer(peer: Peer) -> str:
    values = (peer.name, peer.certificate.fingerprint, _address(peer.address), str(int(peer.paired_at)))
    lines = [f"{field}: {value}" for field, value in zip(_FIELDS, values, strict=True)]
    return "\n".join([_HEAD, *lines, peer.certificate.pem])


def _decode_peer(name: str, raw: bytes, where: str) -> Peer:
    head, begin, body = raw.decode("ascii").partition(_BEGIN)
    certificate = parse_certificate_pem((begin + body).encode(), where)
    entries = dict(line.partition(": ")[::2] for line in head.splitlines() if not line.startswith("#"))
    if tuple(entries) != _FIELDS:
        raise ValueError(f"it does not begin with {', '.join(_FIELDS)}")
    if entries["name"] != name or certificate.name != name:
        raise ValueError(f"it is that of {certificate.name}")
    if entries["fingerprint"] != certificate.fingerprint:
        raise ValueError("its certificate is not the one with the fingerprint above it")
    if not entries["paired_at"].isdecimal() or len(entries["paired_at"]) > 15:
        raise ValueError("paired_at is not a number of seconds")
    address = entries["address"]
    try:
        _address(address)
    except ApplianceError as error:
        raise ValueError(error.message) from error
    return Peer(certificate=certificate, address=address, paired_at=int(entries["paired_at"]))


def _address(text: str) -> str:
    try:
        if len(text) > ADDRESS_MAX or not text.isprintable():
            raise ValueError("too long, or not printable")
        return str(ip_address(text))
    except ValueError as error:
        raise ApplianceError(
            f"{text[:ADDRESS_MAX]!r} is not an address", hint="Give the address of the peer, such as 172.16.77.3."
        ) from error
