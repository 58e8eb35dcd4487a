"""Two whole nodes in one process that really talk: TLS over the loopback, with a small table to synchronize."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from appliance.config import Config, Model, Scope, User, UserRole
from appliance.config.sections import canonical
from appliance.errors import Problem
from appliance.events import Status
from appliance.identity.passwords import hash_password
from appliance.identity.store import IdentityStore
from appliance.plugin import ConfigTable, SyncSection, hookimpl
from appliance.rpc import Client, Target, client_tls
from appliance.testing import LogicalInterfaces, eventually, run_appliance
from appliance.testing.node import RunningNode
from appliance_xmlrpc_sync import pairing
from appliance_xmlrpc_sync.introductions import pin
from appliance_xmlrpc_sync.plugin import XmlrpcSync

FW1, FW2 = "127.0.0.1", "127.0.0.2"


class Rule(Model):
    """One item of the table below."""

    name: str
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    nosync: bool = False


class Rules(Model):
    """``[rules]``: something to synchronize."""

    rule: list[Rule] = []
    device: Annotated[str, Scope.LOCAL] = "lan0"


class RulesPlugin:
    """Owns ``[rules]`` and refuses port 666."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="rules", model=Rules, summary="Something to synchronize.")

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return [
            Problem(path=("rules", "rule", place, "port"), message="port 666 is not for us")
            for place, rule in enumerate(config[Rules].rule)
            if rule.port == 666
        ]

    @hookimpl
    def appliance_sync_sections(self) -> list[SyncSection]:
        return [SyncSection(name="rules", keys=(("rules",),))]


class Users(Model):
    """``[users]``: own users of a node, each with its role and the hash of its password."""

    role: dict[str, UserRole] = {}
    hash: str
    own: bool = True
    disabled: list[str] = []

    def users(self) -> dict[str, User]:
        """All of them by name."""
        return {
            name: User(name=name, role=role, hash=self.hash, own=self.own, disabled=name in self.disabled)
            for name, role in self.role.items()
        }


class UsersPlugin:
    """Owns ``[users]``."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="users", model=Users, summary="Who may do what.")


class InterfacesPlugin:
    """Declares logical interfaces that are there anyway."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="interfaces", model=LogicalInterfaces, summary="Names of devices.")


def free_port() -> int:
    """A port of the loopback whose successor is free, too."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("", port + 1))
            except OSError:
                continue
            return port


def text(name: str, role: str, address: str, port: int, *, rules: str = "", sync: str = "") -> str:
    """The configuration of a node."""
    return f"""[node]
name = "{name}"
role = "{role}"

[interfaces.interfaces]
lo = ["{address}/8"]

[xmlrpc_sync]
interface = "lo"
port = {port}
{sync}

[rules]
device = "{name}-lan"
{rules}
"""


def rule(name: str, **values: Any) -> str:
    """An item of ``[rules]`` as TOML."""
    lines = [f'name = "{name}"', *(f"{key} = {str(value).lower()}" for key, value in values.items())]
    return "\n[[rules.rule]]\n" + "\n".join(lines) + "\n"


def user_table(**roles: str) -> str:
    """``[users]`` as TOML: these users with their roles; the password of all is ``right``."""
    return f'[users]\nhash = "{hash_password("right")}"\n\n[users.role]\n' + "".join(
        f'{name} = "{role}"\n' for name, role in roles.items()
    )


class Pair:
    """A primary and a secondary."""

    def __init__(self, one: RunningNode, two: RunningNode, folder: Path, port: int) -> None:
        self.one, self.two, self.folder, self.port = one, two, folder, port

    async def introduce(self) -> list[dict[str, Any]]:
        """Pair them by their commands; what each of them says, the listening one first."""
        said: list[dict[str, Any]] = []
        async for row in pairing.pair(self.two, listen=True):
            said.append(row)
            if row["state"] == "listening":
                said += await self.one.command(f"pair {FW2} --code {row['code']}")
        await self.listening()
        return said

    @asynccontextmanager
    async def code(self) -> AsyncIterator[str]:
        """While the block lasts the secondary listens, with this code."""
        async with aclosing(pairing.pair(self.two, listen=True)) as rows:
            yield (await anext(rows))["code"]

    async def listening(self) -> None:
        """Wait until the secondary serves its peer."""
        await eventually(lambda: any("listens for" in each.summary for each in self.two.retained(Status)))

    async def restore(self, items: str = "", *, data: Any = None, **meta: Any) -> dict[str, Any]:
        """Send ``[rules]`` from the primary to the secondary; its answer.

        Args:
            items: Names of rules, as words.
            data: The section in full instead.
            meta: The second parameter of the call.
        """
        async with self.client() as client:
            return await send(client, items, data=data, **meta)

    async def confirm(self, txn: str) -> dict[str, Any]:
        """Confirm over a connection of its own."""
        async with self.client() as client:
            answer = await client.call("appliance.confirm_config", txn)
            assert isinstance(answer, dict)
            return answer

    async def push(self, items: str, **meta: Any) -> dict[str, Any]:
        """Send and confirm."""
        done = await self.restore(items, **meta)
        await self.confirm(done["txn"])
        return done

    def rules(self) -> list[str]:
        """Names of the rules that are in force on the secondary."""
        return [each.name for each in self.two.config[Rules].rule]

    async def edit(self, items: str) -> None:
        """An operator of the secondary replaces the rules."""
        head = self.two.config.text.partition("[[rules.rule]]")[0]
        await self.two.reload(head + "".join(rule(name) for name in items.split()))

    @asynccontextmanager
    async def client(self, user: str = "", password: str = "") -> AsyncIterator[Client]:
        """A client with the identity of the primary, at the secondary."""
        state = self.folder / "fw1" / "xmlrpc_sync"
        store = IdentityStore(state)
        tls = client_tls(store.certificate_path, store.key_path, [pin(state, "fw2")])
        async with Client(Target(address=FW2, port=self.port), tls=tls, user=user, password=password) as client:
            yield client


Start = Callable[..., AbstractAsyncContextManager[Pair]]
"""The fixture ``pair``."""


def section(items: str = "", data: Any = None) -> dict[str, Any]:
    """The first parameter of `restore_config_section`."""
    whole = data if data is not None else {"rules": {"rule": [{"name": name} for name in items.split()]}}
    raw = whole if isinstance(whole, bytes) else canonical(whole)
    return {"rules": {"data": raw, "sha256": hashlib.sha256(raw).hexdigest()}}


async def send(client: Client, items: str = "", *, data: Any = None, **meta: Any) -> dict[str, Any]:
    """Call `restore_config_section`."""
    answer = await client.call("appliance.restore_config_section", section(items, data), {"node": "fw1"} | meta)
    assert isinstance(answer, dict)
    return answer


@asynccontextmanager
async def pair(
    folder: Path,
    *,
    rules: Mapping[str, str] | None = None,
    sync: str = "",
    role: str = "secondary",
    users: Callable[[], object] = UsersPlugin,
) -> AsyncIterator[Pair]:
    """Two nodes that do not know each other unless they have met in this folder.

    Args:
        folder: Their state directories are below.
        rules: Items of ``[rules]`` as TOML, by node.
        sync: More of ``[xmlrpc_sync]`` of fw2.
        role: Of fw2.
        users: Plugin that owns ``[users]``.
    """
    port, rules = free_port(), rules or {}
    plugins = [InterfacesPlugin, RulesPlugin, users, XmlrpcSync]
    one = text("fw1", "primary", FW1, port, rules=rules.get("fw1", ""))
    two = text("fw2", role, FW2, port, rules=rules.get("fw2", ""), sync=sync)
    async with (
        run_appliance(one, plugins, state_dir=folder / "fw1") as first,
        run_appliance(two, plugins, state_dir=folder / "fw2") as second,
    ):
        yield Pair(first, second, folder, port)
