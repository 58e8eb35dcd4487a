"""What the types of the keys cannot see."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance_notify.config import NotifyConfig
from appliance_notify.verify import verify

URL = "https://chat.example.net/"
MAIL = {"server": "mail.example.net", "sender": "fw@example.net", "recipients": ["noc@example.net"]}


def problems(**table: Any) -> list[tuple[str, str]]:
    config = Config({"notify": NotifyConfig.model_validate(table)}, node=NodeTable(name="fw1"))
    return [(".".join(map(str, each.path)), each.severity) for each in verify(config)]


def test_a_good_table_has_none() -> None:
    good = MAIL | {"username": "fw", "password": "x"}
    assert problems(webhook={"a": {"url": URL}}, mail={"b": good}, syslog={"c": {"transport": "local"}}) == []
    assert problems() == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"webhook": {"a": {"url": URL}}, "mail": {"a": MAIL}}, [("notify.mail.a", "error")]),
        ({"mail": {"a": MAIL | {"username": "x"}}}, [("notify.mail.a.username", "error")]),
        ({"mail": {"a": MAIL | {"password": "x"}}}, [("notify.mail.a.password", "error")]),
        (
            {"mail": {"a": MAIL | {"username": "x", "password": "x", "security": "none"}}},
            [("notify.mail.a.security", "error")],
        ),
        ({"syslog": {"a": {}}}, [("notify.syslog.a", "error")]),
        (
            {"syslog": {"a": {"transport": "local", "server": "x", "port": 5}}},
            [("notify.syslog.a.server", "error"), ("notify.syslog.a.port", "error")],
        ),
        ({"webhook": {"a": {"url": "http://192.0.2.1/"}}}, [("notify.webhook.a.url", "warning")]),
    ],
)
def test_each_mistake_is_named_at_its_key(table: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert problems(**table) == expected
