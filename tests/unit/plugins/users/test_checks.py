"""What `appliance doctor` says about the users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from trio.testing import MockClock

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.errors import KernelError
from appliance.events import Event, Health, Request
from appliance.plugin import Finding, Node
from appliance_users.checks import checks
from appliance_users.config import UsersConfig


class Machine:
    """People and their groups, as `id` and `getent` tell them."""

    node = Node(name="fw1")

    def __init__(self, groups: Mapping[str, str], *, has_group: bool = True) -> None:
        self._groups, self._has_group = groups, has_group

    async def output(self, *argv: str) -> str:
        match argv:
            case ("id", "-nG", "--", name) if name in self._groups:
                return self._groups[name] + "\n"
            case ("getent", "group", "appliance") if self._has_group:
                members = [name for name, groups in self._groups.items() if "appliance" in groups.split()]
                return f"appliance:x:991:{','.join(members)}\n"
        raise KernelError(f"`{' '.join(argv)}` failed: exit status 1", hint="Try it by hand.")

    async def call(self, request: Request[Any]) -> Any:
        raise AssertionError(request)

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return ()

    def read(self, path: str) -> str:
        raise AssertionError(path)


OLGA = {"olga": {"role": "operator"}}
IN = "olga appliance"


async def look(name: str, machine: Machine, users: dict[str, Any]) -> Finding:
    config = Config({"users": UsersConfig.model_validate(users)}, node=NodeTable(name="fw1"))
    (check,) = [check for check in checks(config) if check.name == name]
    return await check.run(machine)


async def test_users_in_the_group_are_well(autojump_clock: MockClock) -> None:
    machine = Machine({"olga": IN})
    for name in ("users-group", "users-members"):
        assert (await look(name, machine, OLGA)).health is Health.OK


@pytest.mark.parametrize("groups", [{"olga": "olga users"}, {}])
async def test_a_user_who_cannot_reach_the_socket_is_named(autojump_clock: MockClock, groups: dict[str, str]) -> None:
    finding = await look("users-group", Machine(groups), OLGA)
    assert finding.health is Health.WARN
    assert finding.what == "not in the group appliance of this machine: olga"
    assert "usermod -aG appliance olga" in finding.fix


async def test_who_need_not_reach_the_socket_is_not_looked_for(autojump_clock: MockClock) -> None:
    users = {"push": {"role": "sync"}, "old": {"role": "viewer", "disabled": True}, "root": {"role": "operator"}}
    assert (await look("users-group", Machine({}), users)).health is Health.OK


async def test_a_member_of_the_group_without_an_entry_is_named(autojump_clock: MockClock) -> None:
    finding = await look("users-members", Machine({"olga": IN, "mallory": "appliance", "root": "appliance"}), OLGA)
    assert finding.health is Health.WARN
    assert finding.what == "in the group appliance and not in [users]: mallory"
    assert "[users.mallory]" in finding.fix


async def test_an_empty_table_with_members_in_the_group_is_pointed_out(autojump_clock: MockClock) -> None:
    finding = await look("users-members", Machine({"olga": IN}), {})
    assert finding.health is Health.WARN
    assert finding.what == "[users] is empty: olga may do everything"
    assert finding.fix


@pytest.mark.parametrize("users", [{}, OLGA])
async def test_a_machine_without_the_group_lets_nobody_in(autojump_clock: MockClock, users: dict[str, Any]) -> None:
    machine = Machine({"olga": "users"}, has_group=False)
    assert (await look("users-members", machine, users)).health is Health.OK
