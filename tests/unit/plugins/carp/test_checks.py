"""What the doctor finds, and that every finding that is not good news carries a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.events import Event, Health, PeerChanged, Request, Role, RoleChanged
from appliance.plugin import Finding, Node, NoProvider
from appliance.testing import LogicalInterfaces
from appliance_carp.checks import checks
from appliance_carp.config import CarpConfig
from appliance_carp.report import report
from appliance_carp.wire import Key
from tests.unit.plugins.carp.fakes import Peer, Rig

VIPS = [
    {"name": "lan", "interface": "lan", "vhid": 1, "addresses": ["192.168.1.1/24"]},
    {"name": "two", "interface": "lan", "vhid": 2, "addresses": ["192.168.1.9/24"]},
    {"name": "wan", "interface": "wan", "vhid": 3, "addresses": ["198.51.100.1/24"]},
]
INTERFACES = LogicalInterfaces.of(lan="192.168.1.2/24", wan="198.51.100.2/24", sync="172.16.1.2/24")


class Patient:
    """What the doctor looks at."""

    node = Node(name="fw1")

    def __init__(self, *facts: Event, answer: Any = None, files: dict[str, str] | None = None) -> None:
        self.facts = facts
        self.answer = answer
        self.files = files or {}
        self.read_paths: list[str] = []

    async def call(self, request: Request[Any]) -> Any:
        if self.answer is None:
            raise NoProvider(type(request).__name__)
        if self.answer == "never":
            await trio.sleep_forever()
        return self.answer

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def output(self, *argv: str) -> str:
        raise AssertionError("these checks run nothing")

    def read(self, path: str) -> str:
        self.read_paths.append(path)
        return self.files.get(path, "")


def found(name: str, patient: Patient, *, interfaces: bool = True, **carp: Any) -> Finding:
    """The finding of one check, within its own deadline."""
    tables: dict[str, Any] = {"carp": CarpConfig.model_validate({"password": "secret", "vip": VIPS} | carp)}
    if interfaces:
        tables["interfaces"] = INTERFACES
    (check,) = [each for each in checks(Config(tables, node=NodeTable(name="fw1"))) if each.name == name]

    async def main() -> Finding:
        with trio.fail_after(check.deadline_s):
            return await check.run(patient)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def role(vhid: int, value: Role, interface: str = "lan") -> RoleChanged:
    return RoleChanged(interface=interface, vhid=vhid, role=value, reason="-")


def peer(name: str = "fw2", *, healthy: bool, summary: str = "BACKUP") -> PeerChanged:
    return PeerChanged(peer=name, alive=True, healthy=healthy, demotion=0, summary=summary)


def arp_ignore(lan: str, wan: str) -> dict[str, str]:
    return {
        f"/proc/sys/net/ipv4/conf/{device}/arp_ignore": f"{value}\n" for device, value in (("lan", lan), ("wan", wan))
    }


def test_the_names_are_unique_and_every_check_says_what_it_looks_at() -> None:
    config = Config({"carp": CarpConfig(), "interfaces": INTERFACES}, node=NodeTable(name="fw1"))
    made = checks(config)
    assert len({each.name for each in made}) == len(made) == 9
    assert all(each.help.endswith(".") for each in made)


@pytest.mark.parametrize("answer", [None, "never"])
def test_a_service_that_does_not_answer_fails_with_a_remedy(answer: str | None) -> None:
    finding = found("carp-service", Patient(answer=answer))
    assert (finding.health, finding.what) == (Health.FAIL, "the carp service does not answer")
    assert "show services" in finding.fix


def test_adverts_that_are_not_believed_are_alarms_and_forgotten_when_they_end(rig: Rig) -> None:
    stranger = Peer()
    for host in stranger.hosts.values():
        host.voice.key = Key("other", host.settings.vhid, host.settings.all_addresses)
    rig.take("lan", stranger.advert(), stranger.advert())
    assert found("carp-service", Patient(answer=report(rig.station, rig.now))).health is Health.OK
    assert rig.station.herald.alarms.standing


STATUS: dict[str, Any] = {
    "enabled": True, "maintenance": False, "resigned": False, "demotion": 0, "reasons": [],
    "vips": [{
        "name": "lan", "state": "BACKUP", "since": "2020-01-01T00:00:00.000Z", "advskew": 0, "reason": "r",
        "peers": [{"address": "192.168.1.3", "advskew": 0, "last_seen_ms": 1}],
    }],
}  # fmt: skip


def reason(name: str, weight: int = 240) -> dict[str, Any]:
    return {"name": name, "weight": weight, "since": "2020-01-01T00:00:00.000Z"}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("link:wan", "cable"),
        ("maintenance", "ha maintenance off"),
        ("service:pfsync/replicator", "show services"),
        ("gateway:wan_gw", "show gateways"),
        ("dhcp:lan", "show dhcp"),
        ("required-plugin:carp", "show plugins"),
        ("bulk", "show pfsync"),
        ("a plugin's own", "show ha"),
    ],
)
def test_every_demotion_is_named_with_its_own_remedy(name: str, remedy: str) -> None:
    finding = found("carp-demotion", Patient(answer=STATUS | {"reasons": [reason(name)], "demotion": 240}))
    assert (finding.health, finding.what) == (Health.WARN, f"this node is demoted: {name} 240")
    assert remedy in finding.fix
    assert found("carp-demotion", Patient(answer=STATUS)).health is Health.OK


def test_a_node_that_is_disabled_is_told_how_to_be_enabled() -> None:
    finding = found("carp-demotion", Patient(answer=STATUS | {"enabled": False}))
    assert (finding.health, "ha enable" in finding.fix) == (Health.WARN, True)


def test_a_primary_that_stays_backup_for_no_reason_is_told_who_goes_before_it() -> None:
    finding = found("carp-preferred", Patient(answer=STATUS))
    assert finding.health is Health.WARN
    assert finding.what == "this primary is BACKUP of lan (192.168.1.3 advertises advskew 0)"
    assert "lowest advskew" in finding.fix


@pytest.mark.parametrize(
    "change",
    [
        {"demotion": 240},
        {"resigned": True},
        {"vips": [STATUS["vips"][0] | {"state": "MASTER"}]},
        {"vips": [STATUS["vips"][0] | {"since": "2999-01-01T00:00:00.000Z"}]},
    ],
)
def test_a_primary_with_a_reason_to_wait_is_left_alone(change: dict[str, Any]) -> None:
    assert found("carp-preferred", Patient(answer=STATUS | change)).health is Health.OK


@pytest.mark.parametrize(("interface", "health"), [("lan", Health.WARN), ("sync", Health.OK)])
def test_a_sync_interface_with_virtual_hosts_is_named(interface: str, health: Health) -> None:
    finding = found("carp-sync-link", Patient(), sync_interface=interface)
    assert finding.health is health
    assert ("virtual hosts lan, two" in finding.what) is (health is Health.WARN)


def test_roles_that_disagree_are_named() -> None:
    finding = found("carp-roles", Patient(role(1, Role.MASTER), role(2, Role.BACKUP), role(3, Role.INIT, "wan")))
    assert finding.health is Health.FAIL
    assert finding.what == "the virtual hosts disagree: lan@1 MASTER, lan@2 BACKUP, wan@3 INIT"
    assert finding.fix


@pytest.mark.parametrize(
    "roles",
    [
        [],
        [role(1, Role.MASTER), role(2, Role.MASTER)],
        [role(1, Role.BACKUP), role(3, Role.INIT, "wan")],
        [role(1, Role.DISABLED), role(2, Role.DISABLED)],
    ],
)
def test_one_role_is_well_whatever_has_no_link(roles: list[RoleChanged]) -> None:
    assert found("carp-roles", Patient(*roles)).health is Health.OK


def test_a_healthy_peer_is_enough() -> None:
    assert found("carp-peer", Patient(peer(healthy=False), peer("fw3", healthy=True))).health is Health.OK


def test_without_a_healthy_peer_everybody_is_named_with_what_it_has() -> None:
    finding = found("carp-peer", Patient(peer(healthy=False, summary="in maintenance")))
    assert (finding.health, finding.what) == (
        Health.WARN,
        "nobody could take over from this node (fw2: in maintenance)",
    )
    assert finding.fix
    assert "no other node has been heard" in found("carp-peer", Patient()).what


def test_a_parent_that_answers_arp_for_everything_is_named_with_the_command_that_cures_it() -> None:
    assert found("carp-arp", Patient(files=arp_ignore("1", "2"))).health is Health.OK
    finding = found("carp-arp", Patient(files=arp_ignore("1", "0")))
    assert finding.health is Health.FAIL
    assert finding.what.startswith("wan has arp_ignore=0")
    assert finding.fix == "sysctl net.ipv4.conf.wan.arp_ignore=1"


def test_only_parents_of_virtual_hosts_are_looked_at_and_each_once() -> None:
    patient = Patient(files=arp_ignore("1", "1"))
    found("carp-arp", patient)
    assert patient.read_paths == [f"/proc/sys/net/ipv4/conf/{device}/arp_ignore" for device in ("lan", "wan")]


def test_without_a_plugin_for_interfaces_the_checks_still_run() -> None:
    assert found("carp-arp", Patient(), interfaces=False).health is Health.OK
