"""Answers as people give them, and what becomes of them."""

from __future__ import annotations

import tomllib
from functools import partial
from typing import Any

from appliance.console.wizard.answers import Answers
from appliance.console.wizard.askers import Answered
from appliance.console.wizard.document import node_text
from appliance.console.wizard.interview import Interview
from appliance.console.wizard.plan import make_plan
from appliance.host.discovery import discover
from appliance.host.loading import ConfigLoader
from appliance.host.plugins import Plugins

BUNDLED = frozenset(found.name for found in discover())
DEVICES = {
    "network.wan.device": "wan0",
    "network.wan.ipv6": "2001:db8:ffff::200/64",
    "network.wan.gateway6": "2001:db8:ffff::1",
    "network.lan.device": "lan0",
    "network.lan.ipv6": "2001:db8:1::/64",
    "network.sync.device": "sync0",
}
"""The example cluster: everything else has a default."""
MULTIWAN = DEVICES | {
    "further": "dmz wan2",
    "password": "generate",
    "same_devices": "no",
    "network.dmz.device": "dmz0",
    "network.dmz.ipv4": "192.168.2.0/24",
    "network.dmz.dhcp": "none",
    "network.wan2.device": "wan1",
    "network.wan2.ipv4": "203.0.113.10/24 203.0.113.12 203.0.113.13",
    "network.wan2.gateway": "203.0.113.1",
    "network.wan.other_device": "eth0",
}
BUNDLED_LANS = DEVICES | {
    "further": "dmz",
    "same_devices": "no",
    "network.wan.other_device": "eno1",
    "network.lan.device": "eth0+eth1.10",
    "network.dmz.device": "eth0+eth1.20",
    "network.dmz.ipv4": "192.168.2.0/24",
    "network.dmz.vhid": "77",
    "network.sync.device": "eth2.5",
    "network.lan.other_device": "eth7.10",
    "network.dmz.other_device": "eth7.20",
    "network.sync.other_device": "eth8+eth9",
}
"""VLANs on two devices that are one on the primary; on the secondary on a single one."""


def told(answers: dict[str, str], defaults: dict[str, str] | None = None) -> Answers:
    """What the interview makes of a file."""
    asker = Answered(answers)
    found = Interview(asker=asker, defaults=defaults or {}, installed=BUNDLED).run()
    asker.refuse_unused()
    return found


def texts(
    answers: dict[str, str], installed: frozenset[str] = BUNDLED, defaults: dict[str, str] | None = None
) -> tuple[str, str]:
    """Both files."""
    text = partial(node_text, make_plan(told(answers, defaults)), installed=installed)
    return text(ordinal=0), text(ordinal=1)


def tables(answers: dict[str, str], defaults: dict[str, str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both files, parsed."""
    one, other = texts(answers, defaults=defaults)
    return tomllib.loads(one), tomllib.loads(other)


def check(text: str, name: str = "fw1.toml") -> tuple[str, ...]:
    """Warnings of `appliance check` with all bundled plugins; raises what it refuses."""
    return tuple(ConfigLoader(Plugins(discover()), probe=None).strict(text, path=name, old=None).warnings)
