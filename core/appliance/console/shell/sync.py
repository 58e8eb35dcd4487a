"""What the other nodes have made of a commit, as `show sync` says it (docs/cli.md has the shape)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from appliance.console.shell import node
from appliance.errors import ApplianceError

WAIT_S = 20.0
"""A push takes a fraction of a second; a large one some seconds."""
LOOK_S = 0.25
MANUAL = "manual"
"""The policy by which nothing is sent unless somebody says so."""
UNSETTLED = frozenset({"behind", "pending"})


def peers_after(
    path: str,
    revision: int,
    *,
    is_pending: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    ask: Callable[[str, list[str]], Any] = node.data,
) -> Iterator[str]:
    """One line for each other node: whether it has this revision; nothing on a node that sends to nobody.

    Args:
        path: The control socket.
        revision: What was put in force.
        is_pending: It waits to be confirmed, and the other nodes with it.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        ask: Gives the data of a command.
    """
    deadline = clock() + WAIT_S
    while True:
        try:
            shown = ask(path, ["show", "sync"])
        except ApplianceError:
            return  # nothing is synchronized here
        peers = shown.get("peers") or []
        if shown.get("state") == "off" or not peers:
            return
        if is_pending:
            yield from (f"{_name(each)}: gets it when it is confirmed" for each in peers)
            return
        if (
            shown.get("policy") == MANUAL
            or all(_is_settled(each, shown, revision) for each in peers)
            or clock() > deadline
        ):
            break
        sleep(LOOK_S)
    for each in peers:
        yield from _told(each)


def _is_settled(peer: Mapping[str, Any], shown: Mapping[str, Any], revision: int) -> bool:
    if int(shown.get("generation") or 0) < revision or peer.get("busy"):
        return False
    return peer.get("state") not in UNSETTLED or bool(peer.get("error"))


def _name(peer: Mapping[str, Any]) -> str:
    return str(peer.get("name") or peer.get("address"))


def _told(peer: Mapping[str, Any]) -> Iterator[str]:
    took = peer.get("last_push_ms")
    state = str(peer.get("state"))
    yield f"{_name(peer)}: {state}" + (f", sent in {took} ms" if took is not None else "")
    if peer.get("error"):
        yield f"  {peer['error']}"
        if peer.get("remedy"):
            yield f"  -> {peer['remedy']}"
