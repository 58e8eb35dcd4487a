"""What the doctor says, in every case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from appliance.events import Health
from appliance.plugin import Finding, NoProvider
from appliance_dhcp_failover import checks
from appliance_dhcp_failover.checks import clocks, free, installed, peer, service
from tests.unit.plugins.dhcp_failover.samples import config_of, lan

POOL = {"interface": "lan", "refused": "", "my_state": "serving", "reason": "", "size": 100, "free": 50}
PEER = {"name": "fw2", "state": "synchronized", "error": "", "clock_ahead_s": 0.1}


class Answers:
    """A probe whose service answers, or is absent."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        self._answer = answer

    async def call(self, request: object) -> Any:
        await trio.lowlevel.checkpoint()
        if self._answer is None:
            raise NoProvider
        return self._answer


def found(
    check: Callable[[Any], Awaitable[Finding]],
    *,
    pool: dict[str, Any] | None = None,
    other: dict[str, Any] | None = None,
    replication: str = "",
) -> Finding:
    answer = {"pools": [{**POOL, **(pool or {})}], "peers": [{**PEER, **(other or {})}], "replication": replication}
    return trio.run(check, Answers(answer))


@pytest.mark.parametrize("check", [service, free, peer, clocks])
def test_a_healthy_pair_is_fine_and_an_absent_service_is_not(check: Callable[[Any], Awaitable[Finding]]) -> None:
    assert found(check).health is Health.OK
    assert trio.run(check, Answers(None)).what == "the DHCP service does not answer"


@pytest.mark.parametrize(
    ("check", "pool", "health", "what"),
    [
        (service, {"refused": "bad option"}, Health.FAIL, "the configuration of lan is not in force"),
        (service, {"my_state": "starting"}, Health.WARN, "lan is starting"),
        (service, {"my_state": "down"}, Health.FAIL, "lan is down"),
        (free, {"free": 9}, Health.WARN, "9 of 100 addresses of lan are free"),
        (free, {"free": 0}, Health.FAIL, "0 of 100 addresses of lan are free"),
    ],
)
def test_what_is_wrong_with_a_pool(check: Any, pool: dict[str, Any], health: Health, what: str) -> None:
    finding = found(check, pool=pool)
    assert (finding.health, finding.what) == (health, what)


@pytest.mark.parametrize(
    ("check", "other", "health", "what"),
    [
        (peer, {"state": "unreachable", "error": "no route"}, Health.FAIL, "fw2 does not take leases"),
        (peer, {"state": "synchronizing"}, Health.WARN, "fw2 is synchronizing"),
        (clocks, {"clock_ahead_s": -6.0}, Health.WARN, "the clocks of the nodes are 6 s apart"),
        (clocks, {"clock_ahead_s": 40.0}, Health.FAIL, "the clocks of the nodes are 40 s apart"),
    ],
)
def test_what_is_wrong_with_the_other_node(check: Any, other: dict[str, Any], health: Health, what: str) -> None:
    finding = found(check, other=other)
    assert (finding.health, finding.what) == (health, what)


def test_a_missing_pairing_is_a_failure() -> None:
    assert found(peer, replication="not paired").what == "leases stay on this node: not paired"


def test_kea_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("appliance_dhcp_failover.process._PLACES", ())
    finding = trio.run(installed, Answers(None))
    assert (finding.health, finding.what) == (Health.FAIL, "kea-dhcp4 is not installed")


def test_warnings_of_the_configuration_are_shown_again() -> None:
    assert trio.run(checks.gateway(config_of()), Answers(None)).health is Health.OK
    finding = trio.run(checks.gateway(config_of(lan(gateway="192.168.1.2"))), Answers(None))
    assert finding.health is Health.WARN
    assert "after a takeover it is gone" in finding.what


def test_a_lone_node_is_not_asked_for_its_peer() -> None:
    names = [check.name for check in checks.checks(config_of(lan(failover_peer=None)))]
    assert names == ["dhcp-kea", "dhcp-service", "dhcp-leases", "dhcp-gateway"]
    assert [check.name for check in checks.checks(config_of())][4:] == ["dhcp-peer", "dhcp-clocks"]
