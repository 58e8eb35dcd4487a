"""The answer to `show carp --json`: other programs rely on its shape, so it is written down here once more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_interface
from typing import Any

from appliance_carp.host import COUNTERS
from appliance_carp.report import report, rfc3339
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import DUAL, LAN, PASSWORD, VIPS, Peer, Rig

MakeRig = Callable[..., Rig]
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

TOP: dict[str, type] = {
    "node": str, "enabled": bool, "maintenance": bool, "resigned": bool, "demotion": int, "reasons": list, "vips": list,
    "waiting_for": list, "nodes": list,
}  # fmt: skip
REASON: dict[str, type] = {"name": str, "weight": int, "since": str}
VIP: dict[str, type | tuple[type, ...]] = {
    "name": str, "interface": str, "vhid": int, "state": str, "addresses": list, "aliases": list,
    "staged": (dict, type(None)),
    "advbase": (int, float), "advskew": int, "mac": str, "since": str, "reason": str, "peers": list, "counters": dict,
}  # fmt: skip
PEER: dict[str, type] = {"address": str, "advskew": int, "last_seen_ms": int}


def is_shaped(data: dict[str, Any], shape: dict[str, Any]) -> bool:
    return set(data) == set(shape) and all(isinstance(data[name], kind) for name, kind in shape.items())


def told(rig: Rig) -> dict[str, Any]:
    """The report as it comes out at the other end."""
    data: dict[str, Any] = json.loads(json.dumps(report(rig.station, rig.now)))
    return data


def test_every_field_has_its_promised_name_and_type(make_rig: MakeRig) -> None:
    rig = make_rig(replace(DUAL, aliases=(ip_interface("10.0.0.1/8"),)), VIPS[1]).plugged()
    rig.take("lan", Peer(replace(DUAL, aliases=(ip_interface("10.0.0.1/8"),))).advert())
    rig.station.perform(rig.machine.set_reasons({"gateway": 100}, rig.now))
    rig.station.perform(rig.machine.set_maintenance(True, rig.now))
    rig.station.herald.publish_demotion()
    data = told(rig)
    assert is_shaped(data, TOP)
    assert [is_shaped(each, REASON) for each in data["reasons"]] == [True, True]
    assert [is_shaped(each, VIP) for each in data["vips"]] == [True, True]
    assert [is_shaped(each, PEER) for each in data["vips"][0]["peers"]] == [True]
    assert {name: type(count) for name, count in data["vips"][0]["counters"].items()} == dict.fromkeys(COUNTERS, int)


def test_what_the_other_nodes_say_of_their_roles_is_told_until_they_fall_silent(rig: Rig) -> None:
    assert told(rig)["nodes"] == []
    rig.take("lan", Peer(*VIPS).hello(state=State.MASTER))
    (other,) = told(rig)["nodes"]
    assert (other["name"], other["alive"]) == ("fw2", True)
    assert {"interface": "lan", "vhid": 1, "state": "MASTER"} in other["states"]
    rig.station.herald.peers.died("fw2")
    assert [each["alive"] for each in told(rig)["nodes"]] == [False]


def test_times_are_rfc_3339_in_utc(rig: Rig) -> None:
    assert rfc3339(1_750_000_000.123) == "2025-06-15T15:06:40.123Z"
    assert rfc3339(1_750_000_000.0) == "2025-06-15T15:06:40.000Z"
    rig.station.perform(rig.machine.set_reasons({"gateway": 100}, rig.now))
    data = told(rig)
    for text in [data["reasons"][0]["since"], *(each["since"] for each in data["vips"])]:
        assert STAMP.fullmatch(text)
        datetime.fromisoformat(text)


def test_the_states_are_those_of_the_documentation(rig: Rig) -> None:
    seen = [told(rig)["vips"][0]["state"]]
    rig.master()
    seen.append(told(rig)["vips"][0]["state"])
    rig.station.perform(rig.machine.resign(rig.now, reason="asked"))
    seen.append(told(rig)["vips"][0]["state"])
    rig.pass_time(0.1)
    rig.station.perform(rig.machine.set_link("lan", False, rig.now))
    seen.append(told(rig)["vips"][0]["state"])
    rig.station.perform(rig.machine.set_enabled(False, rig.now))
    seen.append(told(rig)["vips"][0]["state"])
    assert seen == ["BACKUP", "MASTER", "BACKUP", "INIT", "DISABLED"], "a releasing host is BACKUP to people"


def test_a_virtual_host_tells_its_addresses_its_mac_and_why_it_is_what_it_is(rig: Rig) -> None:
    rig.master()
    rig.now += 60
    lan = told(rig)["vips"][0]
    assert (lan["name"], lan["interface"], lan["vhid"], lan["mac"]) == ("lan", "lan", 1, "00:00:5e:00:01:01")
    assert (lan["addresses"], lan["aliases"], lan["reason"]) == (["192.168.1.1/24"], [], "master timed out")
    assert (lan["advbase"], lan["advskew"]) == (1, 0)


def test_advskew_is_the_one_that_is_sent(rig: Rig) -> None:
    rig.station.perform(rig.machine.set_reasons({"gateway": 100}, rig.now))
    data = told(rig)
    assert (data["demotion"], data["vips"][0]["advskew"]) == (100, 100)


def test_a_peer_is_shown_with_the_age_of_its_last_advert(rig: Rig) -> None:
    rig.take("lan", Peer().advert(advskew=100))
    rig.now += 0.5
    assert told(rig)["vips"][0]["peers"] == [{"address": "192.168.1.3", "advskew": 100, "last_seen_ms": 500}]


def test_no_password_is_told(rig: Rig) -> None:
    rig.take("lan", Peer().hello(), Peer().advert())
    assert PASSWORD not in json.dumps(report(rig.station, rig.now))


def test_the_flags_follow_the_station(rig: Rig) -> None:
    rig.station.enabled, rig.station.maintenance = False, True
    rig.station.perform(rig.machine.resign(rig.now, reason="asked"))
    data = told(rig)
    assert (data["enabled"], data["maintenance"], data["resigned"]) == (False, True, True)


def test_counters_are_copies(rig: Rig) -> None:
    data = report(rig.station, rig.now)
    rig.take("lan", Peer().advert())
    assert data["vips"][0]["counters"]["received"] == 0
    assert rig.counters(LAN)["received"] == 1
