"""Users on the way to another node that asks for a password itself."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from appliance.config.sections import canonical
from appliance.errors import ApplianceError
from appliance.identity.passwords import hash_password
from appliance.rpc import Fault, FaultCode
from appliance_users.config import UsersConfig
from tests.unit.plugins.xmlrpc_sync.nodes import Pair, Start

RIGHT = hash_password("right")
OWN = f"""
[users.push]
role = "sync"
nosync = true
hash = "{RIGHT}"

[users.eve]
role = "viewer"
nosync = true
hash = "{RIGHT}"

[users.old]
role = "operator"
hash = "{RIGHT}"
"""


def users(**users: dict[str, Any]) -> dict[str, Any]:
    """The first parameter of `restore_config_section`."""
    raw = canonical({"users": users})
    return {"users": {"data": raw, "sha256": hashlib.sha256(raw).hexdigest()}}


async def call(paired: Pair, user: str, method: str, *params: Any) -> Any:
    """Over a connection of its own."""
    async with paired.client(user, "right") as client:
        return await client.call(f"appliance.{method}", *params)


async def test_a_push_of_users_is_confirmed_and_leaves_the_nodes_own_ones_alone(pair: Start) -> None:
    async with pair(sync=OWN) as paired:
        await paired.introduce()
        sent = users(olga={"role": "operator", "hash": hash_password("new")})
        done = await call(paired, "push", "restore_config_section", sent, {"node": "fw1"})
        await call(paired, "push", "confirm_config", done["txn"])
        table = paired.two.config[UsersConfig]
        assert sorted(table.users()) == ["eve", "olga", "push"]
        assert table.users()["push"].hash == RIGHT
        assert {row["name"] for row in await paired.two.command("show users")} == {"eve", "olga", "push"}


async def test_a_viewer_may_ask_and_push_nothing_and_a_user_who_travels_is_unknown_there(pair: Start) -> None:
    async with pair(sync=OWN) as paired:
        await paired.introduce()
        assert await call(paired, "eve", "config_digest")
        with pytest.raises(Fault) as refused:
            await call(paired, "eve", "restore_config_section", users(), {"node": "fw1"})
        assert refused.value.code == FaultCode.PRIVILEGE
        with pytest.raises(ApplianceError, match="unknown user or wrong password"):
            await call(paired, "old", "config_digest")
