"""What a node knows about itself and its peers: kept, checked, and whole after a kill at any step."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, RefusedError
from appliance.identity.certificates import create_identity
from appliance.identity.keyring import Keyring, PairingSecret, keyring_of
from appliance.identity.store import PEERS_MAX, IdentityStore, Peer

SECRETS = [PairingSecret(created=number, secret=bytes([number]) * 32) for number in (1, 2)]
OLD: Keyring = keyring_of(SECRETS[:1], sending=SECRETS[0].id)
NEW: Keyring = keyring_of(SECRETS, sending=SECRETS[1].id)
TWO = Peer(certificate=create_identity("fw2").certificate, address="172.16.77.3", paired_at=1_790_000_000)
TWO_REBUILT = Peer(certificate=create_identity("fw2").certificate, address="fe80::1%sync", paired_at=1_790_000_001)


RunUntil = Callable[[int, Callable[[], object]], tuple[bool, list[str]]]


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path)


def peer_file(tmp_path: Path, name: str = "fw2") -> Path:
    return tmp_path / "identity" / "peers" / f"{name}.pem"


def test_an_identity_is_made_once(tmp_path: Path, store: IdentityStore) -> None:
    made = store.identity("fw1")
    assert made.certificate.name == "fw1"
    assert IdentityStore(tmp_path).identity("fw1") == made
    assert store.certificate_path.read_text() == made.certificate.pem
    assert store.key_path.read_text() == made.key_pem


def test_everything_is_for_the_owner_only(tmp_path: Path, store: IdentityStore) -> None:
    store.identity("fw1")
    store.record_pairing(TWO, OLD)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {
        "identity": 0o700,
        "own.key": 0o600,
        "own.pem": 0o600,
        "peers": 0o700,
        "fw2.pem": 0o600,
        "secrets": 0o600,
    }


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path, store: IdentityStore) -> None:
    (tmp_path / "identity").mkdir(mode=0o755)
    with pytest.raises(ApplianceError, match="is open to others"):
        store.identity("fw1")


def test_a_missing_key_is_told_and_not_replaced(store: IdentityStore) -> None:
    store.identity("fw1")
    store.key_path.unlink()
    with pytest.raises(ApplianceError, match=r"the private key .*own.key is missing") as refused:
        store.identity("fw1")
    assert "Restore it from a backup" in refused.value.hint
    assert not store.key_path.exists()


def test_a_key_that_others_can_read_is_refused(store: IdentityStore) -> None:
    store.identity("fw1")
    store.key_path.chmod(0o644)
    with pytest.raises(ApplianceError, match=r"own.key is open to others"):
        store.identity("fw1")


def test_files_that_do_not_fit_or_are_malformed_are_named(store: IdentityStore) -> None:
    store.identity("fw1")
    store.key_path.write_text(create_identity("fw1").key_pem)
    with pytest.raises(ApplianceError, match=r"the key .*own.key does not fit the certificate .*own.pem"):
        store.identity("fw1")
    store.certificate_path.write_text("nothing")
    with pytest.raises(ApplianceError, match=r"own.pem is not a certificate"):
        store.identity("fw1")


def test_a_node_that_was_renamed_is_told_what_to_do(store: IdentityStore) -> None:
    store.identity("fw1")
    with pytest.raises(RefusedError, match="is that of fw1, and its configuration calls it fw9") as refused:
        store.identity("fw9")
    assert "[node] name" in refused.value.hint
    with pytest.raises(ApplianceError, match="is not the name of a node"):
        store.identity("../fw1")


def test_an_identity_that_is_killed_in_the_making_is_made_again(tmp_path: Path, run_until: RunUntil) -> None:
    def once(steps: int) -> bool:
        store = IdentityStore(tmp_path / str(steps))
        killed, _ = run_until(steps, lambda: store.identity("fw1"))
        made = store.identity("fw1")
        assert store.identity("fw1") == made
        return killed

    assert kills(once) >= 14


def kills(once: Callable[[int], bool]) -> int:
    """How many steps there are: killed after none, after one, and so on until it gets through."""
    return next(steps for steps in range(200) if not once(steps))


def test_peers_come_back_by_name(tmp_path: Path, store: IdentityStore) -> None:
    three = Peer(certificate=create_identity("Fw3").certificate, address="2001:db8::3", paired_at=5)
    store.add_peer(TWO)
    store.add_peer(three)
    assert IdentityStore(tmp_path).peers() == (three, TWO)
    assert three.name == "Fw3"


def test_a_peer_file_is_for_people_and_for_tls(tmp_path: Path, store: IdentityStore) -> None:
    store.add_peer(TWO)
    text = peer_file(tmp_path).read_text()
    assert text.endswith(TWO.certificate.pem)
    assert text.splitlines()[1:5] == [
        "name: fw2",
        f"fingerprint: {TWO.certificate.fingerprint}",
        "address: 172.16.77.3",
        "paired_at: 1790000000",
    ]


def test_a_node_that_was_rebuilt_replaces_its_old_self(store: IdentityStore) -> None:
    store.add_peer(TWO)
    store.add_peer(TWO_REBUILT)
    assert store.peers() == (TWO_REBUILT,)


def test_a_node_without_peers_has_none(store: IdentityStore) -> None:
    assert store.peers() == ()
    with pytest.raises(RefusedError, match="not paired with 'fw2'") as refused:
        store.remove_peer("fw2")
    assert refused.value.hint == "Its peers are: none."


def test_a_peer_can_be_removed(store: IdentityStore) -> None:
    store.record_pairing(TWO, OLD)
    with pytest.raises(RefusedError) as refused:
        store.remove_peer("../secrets")
    assert refused.value.hint == "Its peers are: fw2."
    third = Peer(certificate=create_identity("fw3").certificate, address="10.0.0.3", paired_at=0)
    store.add_peer(third)
    store.remove_peer("fw2")
    assert store.peers() == (third,)
    assert store.keyring() == OLD


def test_the_secrets_go_with_the_last_peer_so_that_the_next_one_does_not_share_them_with_it(
    store: IdentityStore,
) -> None:
    store.record_pairing(TWO, OLD)
    store.remove_peer("fw2")
    assert (store.peers(), store.keyring()) == ((), None)


def test_names_that_an_operator_would_confuse_are_refused(store: IdentityStore) -> None:
    store.identity("fw1")
    for name in ("fw1", "FW1"):
        with pytest.raises(RefusedError, match="this node itself is called fw1"):
            store.add_peer(Peer(certificate=create_identity(name).certificate, address="10.0.0.1", paired_at=0))
    store.add_peer(TWO)
    with pytest.raises(RefusedError, match="a peer is already called FW2 in other capitals"):
        store.add_peer(Peer(certificate=create_identity("FW2").certificate, address="10.0.0.1", paired_at=0))


def test_an_eighth_peer_is_refused_before_anything_is_stored(tmp_path: Path, store: IdentityStore) -> None:
    for number in range(PEERS_MAX):
        certificate = create_identity(f"node{number}").certificate
        store.add_peer(Peer(certificate=certificate, address="10.0.0.1", paired_at=0))
    with pytest.raises(RefusedError, match="paired with 7 others already") as refused:
        store.record_pairing(TWO, OLD)
    assert "appliance pair remove" in refused.value.hint
    assert store.keyring() is None
    store.add_peer(Peer(certificate=create_identity("node3").certificate, address="10.0.0.9", paired_at=1))
    peer_file(tmp_path).write_text("")
    with pytest.raises(ApplianceError, match="has 8 peers, at most 7 are possible"):
        store.peers()


@pytest.mark.parametrize("address", ["", "fw2.example.org", "10.0.0.1\nname: x", "10.0.0.1/24", "fe80::1%" + "x" * 99])
def test_an_address_that_is_none_is_refused(store: IdentityStore, address: str) -> None:
    with pytest.raises(ApplianceError, match="is not an address"):
        store.add_peer(Peer(certificate=TWO.certificate, address=address, paired_at=0))
    assert store.peers() == ()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("name: fw2", "name: fw3", "it is that of fw2"),
        ("fingerprint: ", "fingerprint: 0", "not the one with the fingerprint above it"),
        ("address: 172.16.77.3", "address: nowhere", "'nowhere' is not an address"),
        ("paired_at: 1", "paired_at: -1", "paired_at is not a number of seconds"),
        ("paired_at: 1", "paired_at: 1000000", "paired_at is not a number of seconds"),
        ("address: ", "where: ", "does not begin with name, fingerprint, address, paired_at"),
        ("# A", "é", "is damaged"),
        ("-----BEGIN", "-----BEGUN", "is not a certificate"),
    ],
)
def test_an_altered_peer_is_named(tmp_path: Path, store: IdentityStore, old: str, new: str, what: str) -> None:
    store.add_peer(TWO)
    path = peer_file(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ApplianceError, match=what) as refused:
        store.peers()
    assert str(path) in refused.value.message


def test_a_peer_under_another_name_is_not_believed(tmp_path: Path, store: IdentityStore) -> None:
    store.add_peer(TWO)
    peer_file(tmp_path).rename(peer_file(tmp_path, "fw3"))
    with pytest.raises(ApplianceError, match=r"fw3.pem is damaged: it is that of fw2"):
        store.peers()


@pytest.mark.parametrize("name", ["README", ".pem", "-x.pem", "fw2.pem.bak"])
def test_strange_files_among_the_peers_are_named(tmp_path: Path, store: IdentityStore, name: str) -> None:
    store.add_peer(TWO)
    (peer_file(tmp_path).parent / name).touch()
    with pytest.raises(ApplianceError, match="is not the file of a peer") as refused:
        store.peers()
    assert name in refused.value.message


def test_secrets_come_back(tmp_path: Path, store: IdentityStore) -> None:
    assert store.keyring() is None
    store.write_keyring(NEW)
    assert IdentityStore(tmp_path).keyring() == NEW


def test_damaged_secrets_are_told_and_not_taken_for_none(tmp_path: Path, store: IdentityStore) -> None:
    store.write_keyring(NEW)
    path = tmp_path / "identity" / "secrets"
    for damage in (b"", b"\xff", path.read_bytes()[:-9]):
        path.write_bytes(damage)
        with pytest.raises(ApplianceError, match="are damaged: ") as refused:
            store.keyring()
        assert "pair the nodes again" in refused.value.hint


def states(store: IdentityStore) -> tuple[Keyring | None, tuple[Peer, ...]]:
    return store.keyring(), store.peers()


def test_a_pairing_that_is_killed_anywhere_leaves_old_or_new_and_can_be_repeated(
    tmp_path: Path, run_until: RunUntil
) -> None:
    seen = set()

    def once(steps: int) -> bool:
        store = IdentityStore(tmp_path / str(steps))
        store.identity("fw1")
        store.record_pairing(TWO, OLD)
        killed, _ = run_until(steps, lambda: store.record_pairing(TWO_REBUILT, NEW))
        seen.add(states(store))
        store.record_pairing(TWO_REBUILT, NEW)
        assert states(store) == (NEW, (TWO_REBUILT,))
        return killed

    assert kills(once) >= 14
    assert seen == {(OLD, (TWO,)), (NEW, (TWO,)), (NEW, (TWO_REBUILT,))}


def test_a_reset_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path, run_until: RunUntil) -> None:
    def once(steps: int) -> bool:
        store = IdentityStore(tmp_path / str(steps))
        before = store.identity("fw1")
        store.record_pairing(TWO, NEW)
        killed, _ = run_until(steps, store.reset)
        store.identity("fw1")  # the node starts meanwhile, whatever is left
        store.reset()
        assert states(store) == (None, ())
        assert store.identity("fw1") != before
        return killed

    assert kills(once) >= 10


def test_a_reset_leaves_no_key_behind_that_was_being_written(tmp_path: Path, store: IdentityStore) -> None:
    store.identity("fw1")
    (tmp_path / "identity" / "own.key.new").write_text("half a key")
    (tmp_path / "identity" / "secrets.new").write_text("half a secret")
    store.reset()
    assert os.listdir(tmp_path / "identity") == []


def test_leftovers_of_a_killed_write_are_no_peers(tmp_path: Path, store: IdentityStore) -> None:
    store.add_peer(TWO)
    (peer_file(tmp_path).parent / "fw3.pem.new").write_text("half")
    assert store.peers() == (TWO,)
