"""What the doctor finds, and that every finding that is not good news carries a remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from appliance.events import AddressesChanged, Event, Health
from appliance.plugin import Finding, Node, NoProvider
from appliance_gateways.checks import checks
from tests.unit.plugins.gateways.samples import config_of

CHECKS = {each.name: each for each in checks(config_of())}
LOCAL_RULE = {"priority": 90, "table": "main"}


def gateway(name: str = "wan_gw", status: str = "online", **more: Any) -> dict[str, Any]:
    return {"name": name, "status": status, "reason": "", "interface": "wan", "addresses": ["198.51.100.1"]} | more


def answer(*gateways: dict[str, Any], tier: int | None = 1, problems: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    return {"gateways": list(gateways), "groups": [{"name": "balanced", "tier": tier}], "problems": list(problems)}


class Patient:
    """What the doctor looks at; commands answer with `listed`, by family and object."""

    node = Node(name="fw1")

    def __init__(self, told: Any = None, *facts: Event, listed: dict[str, list[Any]] | None = None) -> None:
        self.told, self.facts, self.listed = told, facts, listed or {}

    async def call(self, request: object) -> Any:
        await trio.lowlevel.checkpoint()
        if self.told is None:
            raise NoProvider
        if self.told == "never":
            await trio.sleep_forever()
        return self.told

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def output(self, *argv: str) -> str:
        await trio.lowlevel.checkpoint()
        found = self.listed.get(f"{argv[2]} {argv[3]}")
        return "" if found is None else json.dumps(found)

    def read(self, path: str) -> str:
        raise AssertionError("these checks read no files")


def found(name: str, patient: Patient) -> Finding:
    async def main() -> Finding:
        with trio.fail_after(CHECKS[name].deadline_s):
            return await CHECKS[name].run(patient)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("told", [None, "never"])
@pytest.mark.parametrize("name", ["gateways-status", "gateways-groups", "gateways-network"])
def test_a_service_that_does_not_answer_fails_with_a_remedy(name: str, told: Any) -> None:
    finding = found(name, Patient(told))
    assert (finding.health, finding.what) == (Health.FAIL, "the gateways service does not answer")
    assert "show services" in finding.fix


def test_gateways_that_are_up_are_counted() -> None:
    finding = found("gateways-status", Patient(answer(gateway(), gateway("six", "unknown"))))
    assert (finding.health, finding.what) == (Health.OK, "1 gateways are online; not probed from here: six")


def test_a_gateway_that_is_down_is_named_with_its_reason() -> None:
    finding = found("gateways-status", Patient(answer(gateway(), gateway("lte", "down", reason="no link on lte0"))))
    assert (finding.health, finding.what, finding.why) == (Health.FAIL, "down: lte", "no link on lte0")
    finding = found("gateways-status", Patient(answer(gateway(status="down"))))
    assert finding.why == "probes to the monitor address are lost or too slow"
    assert "on the other node" in finding.fix


@pytest.mark.parametrize("status", ["loss", "latency"])
def test_a_gateway_that_is_poor_is_a_warning(status: str) -> None:
    finding = found("gateways-status", Patient(answer(gateway(status=status))))
    assert (finding.health, finding.what) == (Health.WARN, "lossy or slow: wan_gw")


def test_what_the_kernel_refused_is_passed_on() -> None:
    finding = found("gateways-status", Patient(answer(gateway(), problems=[{"what": "no maps", "fix": "Load them."}])))
    assert (finding.health, finding.what, finding.fix) == (Health.FAIL, "no maps", "Load them.")


def test_a_group_without_a_usable_gateway_fails() -> None:
    assert found("gateways-groups", Patient(answer(gateway()))).health is Health.OK
    finding = found("gateways-groups", Patient(answer(gateway(), tier=None)))
    assert (finding.health, finding.what) == (Health.FAIL, "no usable gateway in balanced")


def test_a_gateway_outside_the_networks_in_the_kernel_is_told() -> None:
    inside = AddressesChanged(interface="wan", device="wan0", addresses=("198.51.100.201/24",))
    outside = AddressesChanged(interface="wan", device="wan0", addresses=("203.0.113.9/24",))
    assert found("gateways-network", Patient(answer(gateway()), inside)).health is Health.OK
    assert found("gateways-network", Patient(answer(gateway()))).health is Health.OK, "a virtual address may do"
    finding = found("gateways-network", Patient(answer(gateway()), outside))
    assert (finding.health, finding.what) == (Health.FAIL, "198.51.100.1 of wan_gw is in no network of wan")


def test_a_node_without_a_default_route_cannot_reach_the_internet() -> None:
    both = {"-4 route": [{"dst": "default"}], "-6 route": [{"dst": "default"}]}
    assert found("gateways-default", Patient(listed=both)).health is Health.OK
    finding = found("gateways-default", Patient(listed=both | {"-6 route": []}))
    assert (finding.health, finding.what) == (Health.FAIL, "this node has no IPv6 default route")
    assert found("gateways-default", Patient()).what == "this node has no IPv4 and IPv6 default route"


def test_a_missing_rule_for_local_networks_is_told() -> None:
    both = {"-4 rule": [LOCAL_RULE], "-6 rule": [LOCAL_RULE]}
    assert found("gateways-local", Patient(listed=both)).health is Health.OK
    finding = found("gateways-local", Patient(listed=both | {"-4 rule": [{"priority": 90, "table": "7"}]}))
    assert (finding.health, finding.why) == (Health.FAIL, "connections to local networks leave by a WAN")


def test_the_names_are_unique_and_every_check_says_what_it_looks_at() -> None:
    assert len(CHECKS) == 5
    assert all(each.help.endswith(".") for each in CHECKS.values())
