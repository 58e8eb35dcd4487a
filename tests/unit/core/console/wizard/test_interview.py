"""The order of the questions, what depends on what, and what is asked again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from appliance.console.wizard.answers import Kind
from appliance.console.wizard.askers import Terminal
from appliance.console.wizard.interview import Hearing, Interview
from appliance.console.wizard.ports import Port
from appliance.errors import UsageError
from tests.unit.core.console.wizard.people import BUNDLED, BUNDLED_LANS, DEVICES, MULTIWAN, told


@dataclass(frozen=True)
class Heard:
    """What there is to be heard."""

    vhids: Mapping[int, str]
    is_done: bool

    def __call__(self) -> Mapping[int, str]:
        return self.vhids


def test_the_example_needs_devices_and_nothing_else() -> None:
    found = told(DEVICES)
    assert (found.nodes, found.this, found.password) == (("fw1", "fw2"), "fw1", "")
    assert [(each.name, each.kind, each.clients) for each in found.networks] == [
        ("wan", Kind.WAN, ""),
        ("lan", Kind.LAN, "192.168.1.100-192.168.1.199"),
        ("sync", Kind.SYNC, ""),
    ]


def test_a_further_network_with_a_router_is_a_wan() -> None:
    kinds = {each.name: each.kind for each in told(MULTIWAN).networks}
    assert kinds == {"wan": Kind.WAN, "lan": Kind.LAN, "dmz": Kind.LAN, "wan2": Kind.WAN, "sync": Kind.SYNC}


def test_devices_are_those_of_the_machine_where_it_is_run() -> None:
    answers = DEVICES | {"same_devices": "no", "network.wan.other_device": "eth0"}
    assert told(answers).networks[0].devices == ("wan0", "eth0")
    assert told(answers | {"this": "fw2"}).networks[0].devices == ("eth0", "wan0")
    with pytest.raises(UsageError, match="`wan0` already carries another network"):
        told(answers | {"network.wan.other_device": "wan0", "network.lan.other_device": "wan0"})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"secondary": "fw1"}, "`fw1` is the other node"),
        ({"this": "fw3"}, "`fw3` is no answer"),
        ({"network.lan.device": "wan0"}, "already carries"),
        ({"network.lan.ipv4": "198.51.100.0/25"}, "overlaps"),
        ({"network.lan.ipv4": "192.168.1.0/30"}, "too few"),
        ({"network.lan.ipv4": "none", "network.lan.ipv6": "none"}, "lan would have no addresses"),
        ({"network.sync.ipv4": "none"}, "sync would have no addresses"),
        ({"network.wan.gateway": "none"}, "`none` is not an address"),
        ({"network.wan.ipv4": "198.51.100.0/30", "network.wan.gateway": "198.51.100.1"}, "too few"),
        ({"network.lan.dhcp": "192.168.1.2-192.168.1.9"}, "192.168.1.2 is an address of the cluster"),
        ({"network.dmz.device": "eth9"}, "nobody asked for `network.dmz.device`"),
    ],
)
def test_answers_that_do_not_fit_together_are_refused(answer: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        told(DEVICES | answer)
    assert message in refused.value.message


def test_a_person_finds_a_device_by_its_cable_and_is_asked_again() -> None:
    lines = ["", "", "", "", "eth9", "auto", *[""] * 4, "", "eth1", *[""] * 4, "eth2", *[""] * 3]
    sink = io.StringIO()
    asker = Terminal(io.StringIO("\n".join(lines) + "\n"), sink)
    found = Interview(
        asker=asker,
        defaults={},
        installed=BUNDLED,
        devices=["eth0", "eth1", "eth2"],
        detect=lambda network: {"wan": "eth0"}[network],
    ).run()
    assert [each.devices[0] for each in found.networks] == ["eth0", "eth1", "eth2"]
    assert "this machine has no device `eth9`\n  It has eth0, eth1, eth2." in sink.getvalue()


def test_several_networks_on_one_bundle_are_vlans_and_its_protocol_is_asked_once() -> None:
    answers = BUNDLED_LANS | {"network.lan.bundle": "lacp"}
    networks = {each.name: each for each in told(answers).networks}
    assert networks["lan"].devices == ("eth0+eth1.10", "eth7.10")
    assert (networks["lan"].bundle, networks["dmz"].bundle, networks["wan"].bundle) == ("lacp", "lacp", "")
    with pytest.raises(UsageError, match=r"nobody asked for `network\.dmz\.bundle`"):
        told(answers | {"network.dmz.bundle": "lacp"})
    with pytest.raises(UsageError, match=r"`eth0` already carries another network, as eth0\+eth1\.10"):
        told(answers | {"network.dmz.device": "eth0"})


def test_a_vhid_that_somebody_else_has_is_not_proposed_and_refused_and_the_own_cluster_is_nobody_else() -> None:
    heard = {"wan0": {200: "198.51.100.9"}, "lan0": {1: "192.168.1.2"}}
    listened: list[str] = []

    def listen(port: Port) -> Hearing:
        listened.append(str(port))
        return Heard(heard[str(port)], is_done=str(port) == "lan0")

    lines = [*[""] * 4, "wan0", "", "", "", "200", "", "lan0", *[""] * 4, "sync0", *[""] * 3]
    sink = io.StringIO()
    asker = Terminal(io.StringIO("\n".join(lines) + "\n"), sink)
    found = Interview(asker=asker, defaults={}, installed=BUNDLED, listen=listen).run()
    assert listened == ["wan0", "lan0"], "nobody has a virtual address on the sync network"
    assert [each.vhid for each in found.networks] == [1, 2, None]
    shown = sink.getvalue()
    heard_then = "wan: listening for virtual routers of others …\nwan: others use VHID 200 (198.51.100.9).\n"
    assert f"{heard_then}wan: VHID [1]: VHID 200 is used there by 198.51.100.9" in shown
    assert "lan: others" not in shown
    assert "lan: listening" not in shown


def test_nobody_is_asked_about_plugins_that_are_not_installed() -> None:
    asker = Terminal(io.StringIO("\n" * 4 + "a\n\n\n\n\nb\n\n\n\nc\n\n\n\n"), io.StringIO())
    Interview(asker=asker, defaults={}, installed=frozenset()).run()
    assert "network.lan.dhcp" not in asker.given
