"""Waiting for what nodes say about themselves: poll, never sleep and hope; fail with what was seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from appliance.control import wire
from appliance.control.client import request as control_request
from appliance.errors import ApplianceError, UsageError

if TYPE_CHECKING:
    from appliance.lab.lab import Lab

DEADLINE_S = 20.0
"""A start, an election of 3.4 s and a loaded machine fit in."""
POLL_S = 0.02
LOG_TAIL_LINES = 15
JsonObject = dict[str, object]
Predicate = Callable[[Mapping[str, JsonObject]], bool]
"""Told what ``show carp --json`` of every node that answers says."""


class LabTimeoutError(ApplianceError):
    """Something did not happen in time; the message says what was seen instead."""


def request(lab: Lab, node: str, argv: Sequence[str]) -> JsonObject:
    """One question to a node; raises what the node says went wrong."""
    lab.topology.ordinal(node)
    return ask(lab.socket(node), argv, hint=f"See {lab.log(node)}")


def ask(socket: str | Path, argv: Sequence[str], *, hint: str = "See the log of the node.") -> JsonObject:
    """One question to the node behind a control socket; raises what the node says went wrong."""
    # Closed here and not when it is collected: Python drops a Ctrl-C that arrives in there.
    with closing(control_request(socket, argv, json=True)) as replies:
        for reply in replies:
            if isinstance(reply, wire.Data):
                return cast(JsonObject, reply.data)
            if isinstance(reply, wire.Text):
                return cast(JsonObject, json.loads(reply.text))
            if isinstance(reply, wire.Failure):
                kind = UsageError if reply.exit == UsageError.exit_code else ApplianceError
                raise kind(reply.message, hint=reply.hint)
    raise ApplianceError(f"the node had no answer to {' '.join(argv)}", hint=hint)


def view(lab: Lab) -> dict[str, JsonObject]:
    """``show carp`` of every node that answers."""
    seen = {}
    for node in lab.topology.node_names:
        try:
            seen[node] = request(lab, node, ("show", "carp"))
        except ApplianceError:
            continue  # starting, stopping, without power: it is simply not seen
    return seen


def wait_for(
    lab: Lab, predicate: Predicate, what: str, deadline_s: float, *, needed: Sequence[str] = ()
) -> dict[str, JsonObject]:
    """Polls until the predicate holds; returns what was seen then.

    A `needed` node that has given up (its configuration was refused) ends the waiting at once.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        seen = view(lab)
        if predicate(seen):
            return seen
        failed = [node for node in needed if lab.init_facts(node).get("state") == "failed"]
        if failed:
            raise LabTimeoutError(f"{', '.join(failed)} does not start, so never: {what}", hint=_tails(lab, seen))
        if time.monotonic() > deadline:
            raise LabTimeoutError(
                f"not within {deadline_s:.0f} s: {what}\nlast seen: {describe(seen)}", hint=_tails(lab, seen)
            )
        time.sleep(POLL_S)


def wait_until(
    condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S, poll_s: float = POLL_S
) -> None:
    """Polls any condition; one that costs much less often."""
    deadline = time.monotonic() + deadline_s
    while not (last := condition()):
        if time.monotonic() > deadline:
            raise LabTimeoutError(f"not within {deadline_s:.0f} s: {what}", hint=f"Last seen: {last!r}.")
        time.sleep(poll_s)


def states(status: JsonObject | None) -> dict[str, str]:
    """State of every virtual host of one node, by name; empty for a node that was not seen."""
    vips = cast(list[JsonObject], (status or {}).get("vips", []))
    return {str(vip["name"]): str(vip["state"]) for vip in vips}


def is_all(status: JsonObject | None, state: str) -> bool:
    """Whether a node was seen, has virtual hosts, and all of them are in this state."""
    found = set(states(status).values())
    return found == {state}


def is_settled(seen: Mapping[str, JsonObject], master: str, others: Sequence[str]) -> bool:
    """Whether one node has everything and the others wait."""
    return is_all(seen.get(master), "MASTER") and all(is_all(seen.get(node), "BACKUP") for node in others)


def describe(seen: Mapping[str, JsonObject]) -> str:
    """One line for people."""
    if not seen:
        return "no node answers"
    parts = []
    for node, status in seen.items():
        roles = ", ".join(f"{name} {state}" for name, state in states(status).items()) or "no virtual hosts"
        reasons = cast(list[JsonObject], status.get("reasons", []))
        why = f" (demoted: {', '.join(str(reason['name']) for reason in reasons)})" if reasons else ""
        parts.append(f"{node}: {roles}{why}")
    return "; ".join(parts)


def tail(lab: Lab, node: str, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a node's log."""
    try:
        text = lab.log(node).read_text(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(an empty log)"


def _tails(lab: Lab, seen: Mapping[str, JsonObject]) -> str:
    parts = []
    for node in lab.topology.node_names:
        parts.append(f"--- {node}: {_condition(lab, node, seen)}; end of {lab.log(node)}:\n{tail(lab, node)}")
    return "\n".join(parts)


def _condition(lab: Lab, node: str, seen: Mapping[str, JsonObject]) -> str:
    if node in seen:
        return "answers"
    if not lab.has_power(node):
        return "has no power"
    facts = lab.init_facts(node)
    software = f"software {facts.get('state', 'none')}, started {facts.get('starts', 0)} times, {facts.get('last')}"
    try:
        request(lab, node, ("show", "carp"))
    except ApplianceError as error:
        return f"{software}; {error.message}"
    return f"{software}; answers now"
