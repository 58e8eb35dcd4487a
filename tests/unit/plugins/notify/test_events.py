"""The requests of this plugin."""

from __future__ import annotations

from appliance.events import Request
from appliance_notify.events import GetNotify, SendTestNotice
from appliance_notify.plugin import Notify


def test_the_plugin_declares_its_requests() -> None:
    assert Notify().appliance_events() == [GetNotify, SendTestNotice]
    assert all(issubclass(each, Request) for each in (GetNotify, SendTestNotice))
