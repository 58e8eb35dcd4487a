"""What ``show gateways --json`` prints."""

from __future__ import annotations

from appliance_gateways.config import settings_of
from appliance_gateways.monitor import Reading, Status
from appliance_gateways.numbers import numbers
from appliance_gateways.report import Seen, document, rfc3339
from tests.unit.plugins.gateways.samples import EXAMPLE, config_of

SETTINGS = settings_of(config_of())


def seen(reading: Reading, **more: object) -> Seen:
    values = {"reason": "", "error": "", "since": 0.0, "is_demoting": False} | more
    return Seen(reading=reading, **values)  # type: ignore[arg-type]


def test_the_document_has_the_shape_of_the_readme() -> None:
    online = Reading(status=Status.ONLINE, loss=0.004, latency_ms=1.23456, deviation_ms=0.5)
    every = {
        "wan_gw": seen(online),
        "wan2_gw": seen(Reading(status=Status.DOWN), reason="no link on wan20", is_demoting=True),
        "six": seen(Reading()),
    }
    made = document(SETTINGS, every, {4: "wan_gw"}, {"it is broken": "mend it"})
    assert made["gateways"][0] == {
        "name": "wan_gw", "interface": "wan", "device": "wan0", "addresses": ["198.51.100.1"],
        "number": numbers(EXAMPLE["gateway"])["wan_gw"], "monitor": "198.51.100.1", "status": "online", "reason": "",
        "error": "", "loss": 0.0, "latency_ms": 1.23, "deviation_ms": 0.5, "since": "1970-01-01T00:00:00.000Z",
        "demoting": False, "groups": ["balanced"],
    }  # fmt: skip
    assert [(each["loss"], each["demoting"]) for each in made["gateways"][1:]] == [(None, True), (None, False)]
    assert made["groups"] == [
        {
            "name": "balanced", "trigger": "down", "sticky": False, "tier": 1,
            "members": [
                {"gateway": "wan_gw", "tier": 1, "weight": 1, "usable": True, "slots": 64},
                {"gateway": "wan2_gw", "tier": 1, "weight": 1, "usable": False, "slots": 0},
            ],
        }
    ]  # fmt: skip
    assert made["defaults"] == [
        {"family": "ipv4", "configured": "balanced", "gateway": "wan_gw"},
        {"family": "ipv6", "configured": "six", "gateway": None},
    ]
    assert made["problems"] == [{"what": "it is broken", "fix": "mend it"}]


def test_times_are_in_utc() -> None:
    assert rfc3339(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
