"""In which keys, and by which values, a peer differs from what it should have. Without I/O.

The core compares, because it knows the models of all plugins and with them which values are secret.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from appliance.events.config import ConfigState, SectionChanges
from appliance_xmlrpc_sync import machine, vocabulary
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.machine import choose, meet
from appliance_xmlrpc_sync.preflight import read_digests
from appliance_xmlrpc_sync.vocabulary import Answer, AskChanges, Call, Known, Step, Task, Work

KEYS_MAX = 200
"""Keys of one section that are listed."""

Exchange = Generator[Step, Any, list[dict[str, Any]]]


def exchange(task: Task, known: Known) -> Exchange:
    """Compare a peer with this node; the sections that differ, each with its keys and their values.

    Args:
        task: As for a push.
        known: What is known of the peer; filled as the look goes on.

    Raises:
        SyncError, RpcError, Fault: As `machine.exchange`.
    """
    own: ConfigState = yield vocabulary.AskState()
    hello = yield from meet(task, known)
    wanted = yield from choose(task, known, own, hello)
    answer: Answer = yield Call(method="config_digest")
    theirs = read_digests(answer.value)
    machine.note(known, task, wanted, theirs)
    different = [each.name for each in wanted if machine.lacks(theirs, each)]
    there = [name for name in different if name in theirs.sections]
    copies: Mapping[str, object] = {}
    if there:
        answer = yield Call(method="backup_config_section", params=(there,))
        copies = answer.value if isinstance(answer.value, dict) else {}
    data: dict[str, Any] = yield Work(run=lambda: {name: _read(copies.get(name, b"{}")) for name in different})
    changes: tuple[SectionChanges, ...] = ()
    if data:
        changes = yield AskChanges(theirs=data, receiver=hello.addresses, rank=task.rank)
    return [_row(each, known) for each in changes]


def _row(changes: SectionChanges, known: Known) -> dict[str, Any]:
    fact = known.sections[changes.name]
    return {
        "name": changes.name,
        "state": str(fact.state),
        "who": fact.who,
        "when": fact.when,
        "keys": [
            {"key": each.where, "change": str(each.kind), "there": each.old, "here": each.new} for each in changes.keys
        ],
        "more": changes.more,
    }


def _read(raw: object) -> Mapping[str, Any]:
    try:
        data = json.loads(raw) if isinstance(raw, bytes) else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise SyncError(
            Cause.NONSENSE,
            "the answer of backup_config_section is no JSON object",
            hint="Run the same version on both nodes.",
        )
    return data
