"""The service that knows the users."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from appliance.events import Status
from appliance.testing import RunningNode
from appliance_users.plugin import Users
from appliance_users.service import summary
from appliance_users.settings import Settings, UserRow
from tests.unit.plugins.users.test_config import HASH

Run = Callable[..., AbstractAsyncContextManager[RunningNode]]


async def test_it_answers_with_the_users_in_force_and_without_hashes(run_service: Run) -> None:
    async with run_service(Users, config={"olga": {"role": "operator", "hash": HASH}}) as node:
        (row,) = await node.command("show users")
        assert (row["name"], row["role"], row["has_password"]) == ("olga", "operator", True)
        assert "scrypt" not in str(row)
        assert [status.summary for status in node.retained(Status)] == ["1 operator"]


async def test_a_new_user_is_known_without_a_restart(run_service: Run) -> None:
    async with run_service(Users, config={"olga": {"role": "operator"}}) as node:
        await node.reload({"olga": {"role": "operator"}, "eve": {"role": "viewer", "disabled": True}})
        assert [row["name"] for row in await node.command("show users")] == ["olga", "eve"]
        assert [status.summary for status in node.retained(Status)] == ["1 operator, 1 disabled"]
        assert [report.restarts for report in node.services()] == [0]


def test_the_summary_counts_by_role() -> None:
    rows = [
        UserRow(name="a", role="operator"),
        UserRow(name="b", role="viewer"),
        UserRow(name="c", role="viewer"),
        UserRow(name="d", role="sync"),
        UserRow(name="e", role="sync", disabled=True),
    ]
    assert summary(Settings(users=tuple(rows))).summary == "1 operator, 2 viewer, 1 sync, 1 disabled"
    assert "may do everything" in summary(Settings()).summary
