"""Users as a second factor."""

from __future__ import annotations

import pytest

from appliance.identity.passwords import hash_password
from appliance.rpc import Fault, FaultCode
from appliance.rpc import Peer as RpcPeer
from appliance_xmlrpc_sync import accounts as accounts_module
from appliance_xmlrpc_sync.accounts import Accounts
from appliance_xmlrpc_sync.settings import Account

PEER = RpcPeer(address="172.16.1.2", fingerprint="f" * 64)
HASHED = hash_password("right")


def accounts() -> Accounts:
    return Accounts([Account(name="admin", hashed=HASHED), Account(name="eye", hashed=HASHED, privilege="viewer")])


def test_the_right_password_is_accepted_and_a_wrong_one_is_not() -> None:
    made = accounts()
    assert made.authenticate("admin", "right", PEER)
    assert not made.authenticate("admin", "wrong", PEER)
    assert not made.authenticate("nobody", "right", PEER)


def test_scrypt_is_computed_once_for_a_password_that_was_right(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []

    def verify(password: str, hashed: str | None) -> bool:
        computed.append(password)
        return hashed is not None and password == "right"

    monkeypatch.setattr(accounts_module, "verify_password", verify)
    made = accounts()
    assert [made.authenticate("admin", each, PEER) for each in ("right", "right", "wrong", "wrong", "right")] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert computed == ["right", "wrong", "wrong"]
    assert made.authenticate("eye", "right", PEER), "what is remembered belongs to one user"
    assert computed[-1] == "right"


def test_a_viewer_may_only_look() -> None:
    accounts().refuse_unless_sync("admin")
    for user in ("eye", "nobody", ""):
        with pytest.raises(Fault, match=f"the user {user} may not") as error:
            accounts().refuse_unless_sync(user)
        assert error.value.code == FaultCode.PRIVILEGE


def test_without_accounts_the_certificate_suffices() -> None:
    assert not Accounts([])
    assert accounts()


def test_a_disabled_account_lets_nobody_in_and_still_asks_for_a_password() -> None:
    made = Accounts([Account(name="admin", hashed=None, privilege="viewer")])
    assert made
    assert not made.authenticate("admin", "right", PEER)
    with pytest.raises(Fault, match="may not"):
        made.refuse_unless_sync("")
    Accounts([]).refuse_unless_sync("")
