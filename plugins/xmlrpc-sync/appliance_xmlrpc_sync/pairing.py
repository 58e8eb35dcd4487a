"""The console commands of pairing: ``pair`` and what is below it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from appliance.errors import ApplianceError, UsageError
from appliance.events.config import Hidden
from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_xmlrpc_sync.events import (
    AwaitPairing,
    GetPeers,
    OpenPairing,
    PairWith,
    RemovePeer,
    ResetIdentity,
    RotatePairing,
)

ANSWER_S = 5.0
"""A healthy service answers in milliseconds; a slow disk may take a second."""
PAIR_S = 30.0
"""More than the service gives a pairing."""
ROTATE_S = 120.0
"""Seven questions to each node, at the same time, and a pause."""
SPARE_S = 5.0
"""Beyond the validity of a code."""
Row = dict[str, Any]


async def pair(
    context: CommandContext,
    *,
    address: str | None = None,
    code: str | None = None,
    port: int | None = None,
    listen: bool = False,
) -> AsyncGenerator[Row, None]:
    """Listen for another node, or pair with one that listens."""
    if listen:
        if address or code or port:
            raise UsageError("--listen takes nothing else", hint="The other node is given this one's address and code.")
        async with aclosing(_listen(context)) as rows:
            async for row in rows:
                yield row
        return
    if address is None or code is None:
        raise UsageError(
            "an address and its code are needed",
            hint="'appliance pair --listen' on one node, then 'appliance pair ADDRESS --code XXXX-XXXX' on the other.",
        )
    request = PairWith(address=address, port=port, code=Hidden(code))
    yield {"state": "paired"} | await ask(context, request, table="xmlrpc_sync", within_s=PAIR_S)


async def _listen(context: CommandContext) -> AsyncGenerator[Row, None]:
    opened = await ask(context, OpenPairing(), table="xmlrpc_sync", within_s=ANSWER_S)
    yield {
        "state": "listening",
        "node": opened.name,
        "fingerprint": opened.fingerprint,
        "code": opened.code,
        "valid_s": opened.valid_s,
        "addresses": list(opened.addresses),
        "port": opened.port,
    }
    result = await ask(
        context, AwaitPairing(window=opened.window), table="xmlrpc_sync", within_s=opened.valid_s + SPARE_S
    )
    if result["state"] != "paired":
        raise ApplianceError(
            f"no node was paired: {result['reason']}", hint="Run 'appliance pair --listen' again for a new code."
        )
    yield result


async def pair_list(context: CommandContext) -> Row:
    """This node's identity and its peers."""
    data: Row = await ask(context, GetPeers(), table="xmlrpc_sync", within_s=ANSWER_S)
    return data


async def pair_remove(context: CommandContext, *, name: str) -> Row:
    """Trust a node no longer."""
    data: Row = await ask(context, RemovePeer(name=name), table="xmlrpc_sync", within_s=ANSWER_S)
    return data


async def pair_rotate(context: CommandContext) -> Row:
    """Replace the pairing secret on all nodes."""
    data: Row = await ask(context, RotatePairing(), table="xmlrpc_sync", within_s=ROTATE_S)
    return data


async def pair_reset(context: CommandContext, *, force: bool = False) -> Row:
    """Forget everything about pairing."""
    if not force:
        raise UsageError(
            "this node would lose all its peers and its identity", hint="Add --force, then pair it with every node."
        )
    data: Row = await ask(context, ResetIdentity(), table="xmlrpc_sync", within_s=ANSWER_S)
    return data


# ------------------------------------------------------------------------------------------ text for people


def render_pair(data: Row) -> str:
    """What an operator does next, or what has come of it."""
    if data["state"] == "listening":
        where = data["addresses"][0]
        return "\n".join(
            [
                f"fingerprint of {data['node']}: {data['fingerprint']}",
                f"code: {data['code']} (valid for {data['valid_s'] / 60:.0f} minutes)",
                f"now on the other node: appliance pair {where} --code {data['code']}",
            ]
        )
    lines = [f"paired with {data['peer']} at {data['address']}", f"its fingerprint: {data['fingerprint']}"]
    if data.get("own_fingerprint"):
        lines.append(f"our fingerprint: {data['own_fingerprint']}")
    return "\n".join(lines)


def render_peers(data: Row) -> str:
    """One line a peer, its fingerprint below."""
    lines = [f"{data['node']}: {data['fingerprint'] or 'no identity'}"]
    if data["error"]:
        lines += [data["error"], data["remedy"]]
    if data["listening"]:
        lines.append("listens for a pairing at the moment")
    for peer in data["peers"]:
        day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(peer["paired_at"]))
        lines += [f"{peer['name']} at {peer['address']}, paired {day} UTC", f"  {peer['fingerprint']}"]
    return "\n".join(lines if data["peers"] else [*lines, "not paired with any node"])


def render_result(data: Row) -> str:
    """The sentence that is the result."""
    return str(data["result"])


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("pair",),
        help="Pair with another node: --listen on one of them, the address and the code on the other.",
        run=pair,
        arguments=(
            Argument(name="address", help="of the node that listens"),
            Argument(name="--code", help="that it shows, XXXX-XXXX"),
            Argument(name="--port", help="where it listens, if not at the usual one", type=int),
            Argument(name="--listen", help="show a code and wait for the other node", flag=True),
        ),
        render=render_pair,
    ),
    Command(path=("pair", "list"), help="The nodes this one trusts.", run=pair_list, reads=True, render=render_peers),
    Command(
        path=("pair", "remove"),
        help="Trust a node no longer.",
        run=pair_remove,
        arguments=(Argument(name="name", help="of the node", required=True),),
        render=render_result,
    ),
    Command(
        path=("pair", "rotate"),
        help="Replace the pairing secret on all nodes, without an outage.",
        run=pair_rotate,
        render=render_result,
    ),
    Command(
        path=("pair", "reset"),
        help="Forget all nodes and make a new identity.",
        run=pair_reset,
        arguments=(Argument(name="--force", help="really", flag=True),),
        render=render_result,
    ),
)
