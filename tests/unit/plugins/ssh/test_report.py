"""One line of status, the worst first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from appliance.events import Health
from appliance_ssh.accounts import Installed
from appliance_ssh.report import document, rfc3339, status
from appliance_ssh.server import Session
from appliance_ssh.settings import Account, Place, Settings
from tests.unit.plugins.ssh.doors import OLGA


def known(waiting_for: str = "", unusable: dict[str, str] | None = None) -> Any:
    place = Place(interface="lan", device="lan0", address="192.168.1.2", sources=())
    server = SimpleNamespace(place=place, port=0 if waiting_for else 22, waiting_for=waiting_for)
    return SimpleNamespace(
        settings=Settings(accounts=(Account(name="olga", keys=(OLGA,)),)),
        installed=Installed(unusable=unusable or {}),
        sessions={
            1: Session(number=1, user="olga", key="SHA256:x", source="::1", interface="lan", end=print, since=5.0)
        },
        host_key="SHA256:abc",
        servers=[server],
    )


@pytest.mark.parametrize(
    ("given", "health", "summary"),
    [
        (known(), Health.OK, "listening on 192.168.1.2; 1 sessions"),
        (known("No such device"), Health.WARN, "not listening on 192.168.1.2: No such device"),
        (known(unusable={"olga": "why"}), Health.WARN, "olga cannot log in: why"),
    ],
)
def test_the_status_names_what_is_wrong(given: Any, health: Health, summary: str) -> None:
    said = status(given)
    assert (said.health, said.summary) == (health, summary)


def test_the_document_is_plain_data() -> None:
    data = document(known(unusable={"olga": "why"}), 8.0)
    assert data["users"] == [{"name": "olga", "keys": 1, "problem": "why"}]
    assert data["listening"][0]["listening"] is True
    assert data["sessions"][0]["since"].endswith("Z")
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
