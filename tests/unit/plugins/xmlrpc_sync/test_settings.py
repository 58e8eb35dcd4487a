"""What the services are told."""

from __future__ import annotations

from appliance_xmlrpc_sync.settings import Account, ListenerSettings, SenderSettings


def test_pairing_uses_the_next_port() -> None:
    assert ListenerSettings(interface="sync", device="sync0", addresses=(), port=9000).pairing_port == 9001


def test_equal_configurations_make_equal_settings_so_that_a_reload_leaves_the_services_alone() -> None:
    account = Account(name="admin", hashed="x")
    made = [
        ListenerSettings(interface="sync", device="sync0", addresses=("172.16.1.2",), accounts=(account,))
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert SenderSettings(interface="s", device="s", addresses=()) == SenderSettings(
        interface="s", device="s", addresses=()
    )
