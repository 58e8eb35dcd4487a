"""What the doctor finds, and that every finding that is not good news carries a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from appliance.config import Config, Model, VirtualHost
from appliance.config.model import NodeTable
from appliance.events import Event, Health, PeerChanged, Request
from appliance.plugin import Finding, Node, NoProvider
from appliance.testing import LogicalInterfaces
from appliance_pfsync.checks import LAG_MS, checks
from appliance_pfsync.config import PfsyncConfig

TABLES = {
    "pfsync": PfsyncConfig.model_validate({"interface": "sync", "key_file": "/etc/pfsync.key"}),
    "interfaces": LogicalInterfaces.of(sync="172.16.1.2/24"),
}
CHECKS = {each.name: each for each in checks(Config(TABLES, node=NodeTable(name="fw1")))}
PEER = {"name": "fw2", "alive": True, "lag_ms": 1.5}
ANSWER: dict[str, Any] = {
    "error": None, "remedy": None, "bulk": "done", "bulk_text": "", "secured": True, "interface": "sync",
    "peers": [PEER],
}  # fmt: skip
CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_"


class Patient:
    """What the doctor looks at."""

    node = Node(name="fw1")

    def __init__(self, *facts: Event, answer: Any = None, **sysctls: str) -> None:
        self.facts, self.answer = facts, answer
        self.sysctls = {CONNTRACK + name: f"{value}\n" for name, value in sysctls.items()}

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
        return self.sysctls.get(path, "")


def found(name: str, patient: Patient) -> Finding:
    """The finding of one check, within its own deadline."""

    async def main() -> Finding:
        with trio.fail_after(CHECKS[name].deadline_s):
            return await CHECKS[name].run(patient)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def asked(name: str, *facts: Event, **values: Any) -> Finding:
    return found(name, Patient(*facts, answer=ANSWER | values))


def peer(*, alive: bool) -> PeerChanged:
    return PeerChanged(peer="fw2", alive=alive, healthy=alive, demotion=0, summary="BACKUP")


def test_the_names_are_unique_and_every_check_says_what_it_looks_at() -> None:
    assert len(CHECKS) == 5
    assert all(each.help.endswith(".") for each in CHECKS.values())


class Hosts(Model):
    """A table with one virtual host, on this interface."""

    interface: str

    def virtual_hosts(self) -> dict[str, VirtualHost]:
        return {"lan": VirtualHost(name="lan", interface=self.interface, vhid=1, addresses=())}


@pytest.mark.parametrize(("interface", "health"), [("sync", Health.WARN), ("lan", Health.OK)])
def test_a_link_that_is_shared_with_clients_is_named(interface: str, health: Health) -> None:
    config = Config({**TABLES, "carp": Hosts(interface=interface)}, node=NodeTable(name="fw1"))
    (check,) = [each for each in checks(config) if each.name == "pfsync-link"]

    async def main() -> Finding:
        return await check.run(Patient())

    finding = trio.run(main)
    assert finding.health is health
    assert ("virtual hosts lan" in finding.what) is (health is Health.WARN)


@pytest.mark.parametrize("name", ["pfsync-service", "pfsync-secured", "pfsync-peer"])
def test_replication_that_works_is_well(name: str) -> None:
    assert asked(name).health is Health.OK


@pytest.mark.parametrize("answer", [None, "never"])
@pytest.mark.parametrize("name", ["pfsync-service", "pfsync-secured", "pfsync-peer"])
def test_a_service_that_does_not_answer_fails_with_a_remedy(name: str, answer: str | None) -> None:
    finding = found(name, Patient(answer=answer))
    assert (finding.health, finding.what) == (Health.FAIL, "the pfsync service does not answer")
    assert "show services" in finding.fix


def test_what_keeps_it_from_replicating_is_passed_on_with_its_remedy() -> None:
    finding = asked("pfsync-service", error="there is no key", remedy="Make one.")
    assert (finding.health, finding.what, finding.fix) == (
        Health.FAIL,
        "pfsync does not replicate: there is no key",
        "Make one.",
    )


def test_a_bulk_update_that_failed_can_be_repeated() -> None:
    finding = asked("pfsync-service", bulk="failed", bulk_text="fw2 fell silent")
    assert (finding.health, finding.what) == (Health.WARN, "the last bulk update failed: fw2 fell silent")
    assert "states resync" in finding.fix


def test_plain_datagrams_are_told_with_the_interface_they_travel_on() -> None:
    finding = asked("pfsync-secured", secured=False)
    assert (finding.health, finding.what.startswith("states travel on sync")) == (Health.WARN, True)
    assert "appliance pfsync key" in finding.fix


def test_nobody_to_replicate_to_is_a_warning_and_a_failure_when_somebody_is_there() -> None:
    for facts in ([], [peer(alive=False)]):
        finding = asked("pfsync-peer", *facts, peers=[])
        assert (finding.health, finding.what) == (Health.WARN, "no pfsync peer is heard")
    finding = asked("pfsync-peer", peer(alive=True), peers=[PEER | {"alive": False}])
    assert (finding.health, finding.what) == (Health.FAIL, "fw2 is alive but no pfsync is heard from it")
    assert "sync" in finding.fix


@pytest.mark.parametrize(
    ("lag_ms", "health"), [(None, Health.OK), (LAG_MS, Health.OK), (LAG_MS + 1, Health.WARN), (2500.0, Health.WARN)]
)
def test_a_peer_far_behind_would_lose_connections(lag_ms: float | None, health: Health) -> None:
    finding = asked("pfsync-peer", peers=[PEER, PEER | {"name": "fw3", "lag_ms": lag_ms}])
    assert finding.health is health
    if health is Health.WARN:
        assert finding.what == f"fw3 is {lag_ms:.0f} ms behind"
    else:
        assert finding.what == "fw2, fw3 has this node's states"


def test_a_kernel_that_would_refuse_packets_of_replicated_connections_is_told_the_cure() -> None:
    for wrong in (Patient(tcp_be_liberal="0", count="1", max="100"), Patient()):
        finding = found("pfsync-kernel", wrong)
        assert finding.health is Health.WARN
        assert finding.fix == "sysctl net.netfilter.nf_conntrack_tcp_be_liberal=1"


@pytest.mark.parametrize(("count", "health"), [("90", Health.OK), ("91", Health.WARN), ("", Health.OK)])
def test_a_table_that_is_almost_full_is_told_before_it_is(count: str, health: Health) -> None:
    finding = found("pfsync-kernel", Patient(tcp_be_liberal="1", count=count, max="100"))
    assert finding.health is health
    assert health is Health.OK or "91 of 100" in finding.what
