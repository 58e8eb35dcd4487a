"""In which keys a peer differs from what it should have. Keys only: values may be secret, and which are is known to the
models of plugins that this node need not have. Without I/O."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from appliance.events.config import ConfigState, Section
from appliance_xmlrpc_sync import machine, vocabulary
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.machine import choose, meet
from appliance_xmlrpc_sync.preflight import read_digests
from appliance_xmlrpc_sync.vocabulary import Answer, Call, Known, Step, Task, Work

KEYS_MAX = 200
"""Keys of one section that are listed."""
IDENTITIES = ("name", "id")
"""Keys by which an item of a list is the same one on both nodes."""

Exchange = Generator[Step, Any, list[dict[str, Any]]]


def exchange(task: Task, known: Known) -> Exchange:
    """Compare a peer with this node; the sections that differ, each with its keys.

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
    different = [each for each in wanted if machine.lacks(theirs, each)]
    there = [each.name for each in different if each.name in theirs.sections]
    copies: Mapping[str, object] = {}
    if there:
        answer = yield Call(method="backup_config_section", params=(there,))
        copies = answer.value if isinstance(answer.value, dict) else {}
    found: list[dict[str, Any]] = yield Work(run=lambda: [_section(each, copies, known) for each in different])
    return found


def _section(section: Section, copies: Mapping[str, object], known: Known) -> dict[str, Any]:
    theirs = _read(copies[section.name]) if section.name in copies else {}
    keys = list(itertools.islice(differing(theirs, section.data.value), KEYS_MAX + 1))
    fact = known.sections[section.name]
    return {
        "name": section.name,
        "state": str(fact.state),
        "who": fact.who,
        "when": fact.when,
        "keys": keys[:KEYS_MAX],
        "more": len(keys) > KEYS_MAX,
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


def differing(theirs: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Keys that a push would add (``+``), remove (``-``) or change (``~``).

    Args:
        theirs: What the peer has.
        ours: What it should have.
        path: Of the two.
    """
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key in dict.fromkeys([*theirs, *ours]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _pair(theirs, ours, key, inner)
    elif isinstance(theirs, list) and isinstance(ours, list):
        before, after = _by_identity(theirs), _by_identity(ours)
        common = [name for name in before if name in after]
        for name in dict.fromkeys([*before, *after]):
            yield from _pair(before, after, name, f"{path}[{name}]")
        if common != [name for name in after if name in before]:
            yield f"~ {path} (order)"
    elif _plain(theirs) != _plain(ours):
        yield f"~ {path}"


def _pair(before: Mapping[Any, Any], after: Mapping[Any, Any], key: Any, path: str) -> Iterator[str]:
    if key not in after:
        yield f"- {path}"
    elif key not in before:
        yield f"+ {path}"
    else:
        yield from differing(before[key], after[key], path)


def _by_identity(items: Sequence[Any]) -> dict[str, Any]:
    """Items by name or id; those that have none by their place."""
    found: dict[str, Any] = {}
    for place, item in enumerate(items):
        names = (item.get(key) for key in IDENTITIES) if isinstance(item, Mapping) else ()
        name = next((each for each in names if isinstance(each, str) and each), str(place))
        found[name if name not in found else str(place)] = item
    return found


def _plain(value: Any) -> Any:
    """As it is in JSON: dates of TOML are their texts there."""
    return value if isinstance(value, str | int | float | bool | list | Mapping) or value is None else str(value)
