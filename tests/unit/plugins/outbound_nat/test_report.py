"""The shape of ``show nat --json`` and the lines people read."""

from __future__ import annotations

from appliance.events import Count
from appliance_outbound_nat.listing import settings_of
from appliance_outbound_nat.report import render, report
from appliance_outbound_nat.settings import NatSettings
from tests.unit.plugins.outbound_nat.fakes import config

TABLE = """
mode = "hybrid"
[[rule]]
id = "voip"
interface = "wan"
protocol = "udp"
source = "192.168.1.30"
destination = "192.0.2.0/24"
destination_port = 5060
translation = "none"
description = "telephones"
[[rule]]
id = "off"
interface = "wan"
translation = "198.51.100.200"
disabled = true
[[one_to_one]]
id = "mail"
interface = "wan"
external = "198.51.100.50"
internal = "192.168.1.50"
destination = "192.0.2.0/24"
reflection = true
[[port_forward]]
id = "web"
interface = "wan"
destination = "vip:wan"
source = "192.0.2.0/24"
port = 8080
target = "web"
target_port = 80
filter = "none"
"""
SETTINGS = settings_of(config(TABLE))
COUNTS = {"nat_out_voip": Count(packets=7, bytes=700), "nat_port_web": Count(packets=3, bytes=180)}


def test_the_shape_other_programs_rely_on() -> None:
    data = report(SETTINGS, COUNTS)
    assert set(data) == {"node", "mode", "rules", "port_forwards", "one_to_one"}
    assert data["rules"][0] == {
        "id": "voip",
        "counter": "nat_out_voip",
        "kind": "manual",
        "interface": "wan",
        "protocol": "udp",
        "source": "192.168.1.30",
        "source_port": "any",
        "destination": "192.0.2.0/24",
        "destination_port": "5060",
        "translation": "none",
        "resolved": [],
        "static_port": False,
        "description": "telephones",
        "disabled": False,
        "hits": 7,
        "bytes": 700,
    }
    assert set(data["port_forwards"][0]) == {
        "id", "counter", "interface", "protocol", "source", "destination", "resolved", "port", "target", "target_port",
        "filter", "reflection", "description", "disabled", "hits", "bytes",
    }  # fmt: skip
    assert set(data["one_to_one"][0]) == {
        "id", "counter", "interface", "external", "resolved", "internal", "destination", "reflection", "description",
        "disabled", "hits", "bytes",
    }  # fmt: skip


def test_hits_are_unknown_when_the_kernel_cannot_be_asked_and_for_what_is_not_in_force() -> None:
    assert [row["hits"] for row in report(SETTINGS, None)["rules"]] == [None] * 4
    assert [row["hits"] for row in report(SETTINGS, COUNTS)["rules"]] == [7, None, None, None]


def test_people_read_hits_what_and_notes() -> None:
    assert render(report(SETTINGS, COUNTS)).splitlines() == [
        "fw1: outbound NAT, mode hybrid",
        "  rules:",
        "         7  wan udp 192.168.1.30 to 192.0.2.0/24 port 5060: not translated             telephones",
        "         -  wan any to any: 198.51.100.200                                             DISABLED",
        "         -  wan udp 192.168.1.0/24 port 500 to any port 500: vip:wan (198.51.100.200)  "
        "automatic; Auto created rule for ISAKMP - LAN to WAN",
        "         -  wan 192.168.1.0/24 to any: vip:wan (198.51.100.200)                        "
        "automatic; Auto created rule - LAN to WAN",
        "  port forwards:",
        "         3  wan tcp from 192.0.2.0/24 to vip:wan (198.51.100.200) port 8080: 192.168.1.10 port 80  "
        "no filter rule",
        "  one to one:",
        "         -  wan 198.51.100.50: 192.168.1.50 with 192.0.2.0/24  reflected",
    ]


def test_a_table_that_does_nothing_says_so() -> None:
    assert render(report(NatSettings(node="fw1", mode="disabled"), {})).endswith("nothing is translated")
