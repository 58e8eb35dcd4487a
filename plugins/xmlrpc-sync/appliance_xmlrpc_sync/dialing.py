"""How the sender gets to a peer: the identity of this node, the pinned certificate of the other, user and password.

Files are read anew for every look, so that a pairing or a new password counts at once. Blocking: for a thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from appliance.identity.files import read_private
from appliance.identity.store import IdentityStore
from appliance.rpc import Client, Target, Timeouts, Tls, client_tls
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.introductions import pin
from appliance_xmlrpc_sync.settings import SenderSettings

PASSWORD_MAX = 1024
"""Bytes of a password's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """All that is needed to call a peer."""

    target: Target
    tls: Tls
    name: str
    """As it was paired; empty when nobody was paired at this address."""
    fingerprint: str
    """For people; empty as well."""
    user: str = ""
    password: str = field(default="", repr=False)

    def client(self, timeouts: Timeouts | None = None) -> Client:
        """A client that has not connected yet."""
        return Client(self.target, tls=self.tls, user=self.user, password=self.password, timeouts=timeouts)


def way_to(address: str, settings: SenderSettings, state_dir: Path) -> Way:
    """The way to a peer.

    Args:
        address: One of the configured peers.
        settings: Of the sender.
        state_dir: Of the plugin, where the identity is.

    Raises:
        SyncError: This node is paired with nobody.
        ApplianceError: A file is damaged, open to others, or missing.
    """
    store = IdentityStore(state_dir)
    peers = store.peers()
    if not peers:
        raise SyncError(
            Cause.NOT_PAIRED,
            f"this node is not paired with {address}",
            hint=f"'appliance pair --listen' on that node shows a code; then 'appliance pair {address} --code …' here.",
        )
    # One that has moved to another address is still known by its certificate.
    meant = [peer for peer in peers if peer.address == address] or list(peers)
    tls = client_tls(store.certificate_path, store.key_path, [pin(state_dir, peer.name) for peer in meant])
    is_known = len(meant) == 1
    user, password = _credentials(settings)
    return Way(
        target=Target(address=address, port=settings.port, device=settings.device),
        tls=tls,
        name=meant[0].name if is_known else "",
        fingerprint=meant[0].certificate.fingerprint if is_known else "",
        user=user,
        password=password,
    )


def _credentials(settings: SenderSettings) -> tuple[str, str]:
    if settings.password_file is None:
        return "", ""
    content = read_private(Path(settings.password_file), size_max=PASSWORD_MAX)
    password = content.decode(errors="replace").strip("\r\n") if content is not None else ""
    if not password:
        raise SyncError(
            Cause.OWN,
            f"the password file {settings.password_file} is {'missing' if content is None else 'empty'}",
            hint="Write the password of the account at the peers into it, mode 0600, or remove `password_file`.",
        )
    return settings.username, password
