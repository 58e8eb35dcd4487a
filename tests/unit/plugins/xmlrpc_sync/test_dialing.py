"""What the sender needs to call a peer, read from the files of this node."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.identity.certificates import create_identity
from appliance.identity.store import IdentityStore, Peer
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.dialing import Way, way_to
from appliance_xmlrpc_sync.settings import SenderSettings

FW2, FW3 = "172.16.1.3", "172.16.1.4"


def settings(**other: object) -> SenderSettings:
    made = {"interface": "sync", "device": "sync0", "addresses": ("172.16.1.2",), "port": 8443, **other}
    return SenderSettings(**made)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    """Paired with fw2 and fw3."""
    made = IdentityStore(tmp_path)
    made.identity("fw1")
    for name, address in (("fw2", FW2), ("fw3", FW3)):
        made.add_peer(Peer(certificate=create_identity(name).certificate, address=address, paired_at=0))
    return made


def way(tmp_path: Path, address: str = FW2, **other: object) -> Way:
    return way_to(address, settings(**other), tmp_path)


def test_a_peer_is_known_by_the_certificate_that_was_paired_at_its_address(
    tmp_path: Path, store: IdentityStore
) -> None:
    peers = {peer.name: peer.certificate.fingerprint for peer in store.peers()}
    for address, name in ((FW2, "fw2"), (FW3, "fw3")):
        found = way(tmp_path, address)
        assert (found.name, found.fingerprint) == (name, peers[name])
        assert len(found.tls.pins) == 1
    assert (found.target.address, found.target.port, found.target.device) == (FW3, 8443, "sync0")


def test_a_peer_that_has_moved_may_have_any_paired_certificate(tmp_path: Path, store: IdentityStore) -> None:
    found = way(tmp_path, "172.16.1.9")
    assert (found.name, found.fingerprint, len(found.tls.pins)) == ("", "", 2)


def test_of_two_nodes_the_moved_one_can_only_be_the_other(tmp_path: Path, store: IdentityStore) -> None:
    store.remove_peer("fw3")
    assert way(tmp_path, "172.16.1.9").name == "fw2"


def test_a_node_that_is_paired_with_nobody_is_told_how(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="this node is not paired with 172\\.16\\.1\\.3") as refusal:
        way(tmp_path)
    assert refusal.value.cause is Cause.NOT_PAIRED
    assert "appliance pair 172.16.1.3 --code" in refusal.value.hint


def test_without_a_password_file_no_user_is_sent(tmp_path: Path, store: IdentityStore) -> None:
    found = way(tmp_path)
    assert (found.user, found.password) == ("", "")


def test_the_password_is_the_line_of_its_file(tmp_path: Path, store: IdentityStore) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_bytes(b" with spaces \r\n")
    found = way(tmp_path, password_file=str(path), username="sync")
    assert (found.user, found.password) == ("sync", " with spaces ")
    assert "with spaces" not in repr(found)


@pytest.mark.parametrize(("content", "what"), [(None, "missing"), (b"\n", "empty")])
def test_a_password_file_without_one_is_named(
    tmp_path: Path, store: IdentityStore, content: bytes | None, what: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.touch(mode=0o600)
        path.write_bytes(content)
    with pytest.raises(SyncError, match=f"password is {what}") as refusal:
        way(tmp_path, password_file=str(path))
    assert refusal.value.cause is Cause.OWN


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path, store: IdentityStore) -> None:
    path = tmp_path / "password"
    path.write_text("x")
    path.chmod(0o644)
    with pytest.raises(ApplianceError, match="is open to others"):
        way(tmp_path, password_file=str(path))
