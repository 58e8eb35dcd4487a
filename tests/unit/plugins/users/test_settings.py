"""What the service is told."""

from __future__ import annotations

from appliance_users.settings import Settings, UserRow


def test_a_row_is_plain_data() -> None:
    assert UserRow(name="olga", role="operator", has_password=True).data() == {
        "name": "olga",
        "role": "operator",
        "has_password": True,
        "ssh_keys": 0,
        "disabled": False,
        "nosync": False,
        "description": "",
    }


def test_equal_configurations_make_equal_settings_so_that_a_reload_leaves_the_service_alone() -> None:
    made = [Settings(users=(UserRow(name="olga", role="operator"),)) for _ in range(2)]
    assert made[0] == made[1]
