"""What may be rehearsed: only on a node that takes part, so that putting back never undoes what somebody has chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from appliance.errors import RefusedError, UsageError
from appliance.events import Demotion, LinkChanged, Role, RoleChanged
from appliance_drill.plan import Rehearsal, choose


@dataclass
class Facts:
    """A healthy MASTER with two virtual hosts and a sync interface."""

    links: list[LinkChanged] = field(
        default_factory=lambda: [
            LinkChanged(interface=name, device=f"{name}0", present=True, up=True) for name in ("wan", "lan", "sync")
        ]
    )
    roles: list[RoleChanged] = field(default_factory=lambda: [role("wan", Role.MASTER), role("lan", Role.MASTER)])
    reasons: list[Demotion] = field(default_factory=list)

    def choose(self, name: str, seconds: float = 30) -> Rehearsal:
        return choose(name, seconds, links=self.links, roles=self.roles, reasons=self.reasons)


def role(interface: str, what: Role) -> RoleChanged:
    return RoleChanged(interface=interface, vhid=1, role=what, reason="test")


@pytest.mark.parametrize("name", ["switchover", "maintenance", "disable"])
def test_roles_need_no_device(name: str) -> None:
    assert Facts().choose(name) == Rehearsal(name=name)


def test_a_cable_is_that_of_an_interface_with_a_virtual_host() -> None:
    assert Facts().choose("unplug-wan") == Rehearsal(name="unplug-wan", device="wan0")
    with pytest.raises(UsageError) as refused:
        Facts().choose("unplug-sync")
    assert refused.value.hint == "There are: switchover, maintenance, disable, unplug-lan, unplug-wan."


@pytest.mark.parametrize("seconds", [0, 0.5, 301, float("nan")])
def test_it_lasts_seconds_or_minutes(seconds: float) -> None:
    with pytest.raises(UsageError, match="not possible"):
        Facts().choose("maintenance", seconds)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (Facts(reasons=[Demotion(reason="maintenance", weight=240)]), "demoted itself: maintenance"),
        (Facts(roles=[role("wan", Role.DISABLED)]), "takes part: DISABLED"),
        (Facts(roles=[role("wan", Role.MASTER), role("lan", Role.INIT)]), "takes part: INIT, MASTER"),
        (Facts(roles=[role("wan", Role.REMOVED)]), "no virtual hosts"),
    ],
)
def test_a_node_that_does_not_take_part_rehearses_nothing(facts: Facts, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        facts.choose("maintenance")


def test_a_cleared_reason_is_none() -> None:
    assert Facts(reasons=[Demotion(reason="bulk", weight=0)]).choose("switchover").name == "switchover"


def test_a_cable_that_is_out_cannot_be_unplugged() -> None:
    facts = Facts()
    facts.links[0] = LinkChanged(interface="wan", device="wan0", present=True, up=False)
    with pytest.raises(RefusedError, match="has no link already"):
        facts.choose("unplug-wan")


def test_a_journal_is_read_as_it_was_written() -> None:
    rehearsal = Rehearsal(name="unplug-wan", device="wan0")
    assert Rehearsal.from_text(rehearsal.to_text()) == rehearsal


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name": 1, "device": ""}', '{"name": "x", "device": "", "more": 1}']
)
def test_anything_else_is_no_journal(text: str) -> None:
    with pytest.raises(ValueError, match=r"journal|Expecting"):
        Rehearsal.from_text(text)
