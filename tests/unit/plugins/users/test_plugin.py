"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

import pytest

from appliance.testing import check_plugin
from appliance_users.plugin import Users
from tests.unit.plugins.users.test_config import HASH


def test_it_is_a_good_citizen() -> None:
    check_plugin(Users, config={})
    check_plugin(Users, config={"olga": {"role": "operator", "hash": HASH}, "eve": {"role": "viewer"}})


@pytest.mark.parametrize("path", [("show", "users"), ("user", "password")])
def test_it_contributes_its_commands(path: tuple[str, ...]) -> None:
    assert path in {command.path for command in Users().appliance_commands()}
