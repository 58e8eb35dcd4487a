"""The request of this plugin."""

from __future__ import annotations

from appliance.events import Request
from appliance_users.events import GetUsers
from appliance_users.plugin import Users


def test_the_plugin_declares_its_request() -> None:
    assert issubclass(GetUsers, Request)
    assert Users().appliance_events() == [GetUsers]
