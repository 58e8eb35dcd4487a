"""The console commands of pfsync: ``show pfsync``, ``show states``, ``states …`` and the key file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, UsageError
from appliance.plugin import Argument, Command, CommandContext, Where, ask
from appliance_pfsync.events import CountStates, FlushStates, GetPfsync, GetStates, KillStates, ResyncStates

ANSWER_S = 2.0
"""A healthy service answers in milliseconds."""
TABLE_S = 60.0
"""Reading a table of a million states takes seconds."""
LIMIT = 100
"""Rows of `show states` unless another number is asked for."""
LIMIT_MAX = 10_000
KEY_BYTES = 32
ICMP = ("icmp", "icmp6")


async def show_pfsync(context: CommandContext) -> dict[str, Any]:
    """How replication stands."""
    answer: dict[str, Any] = await ask(context, GetPfsync(), table="pfsync", within_s=ANSWER_S)
    return answer


async def show_states(
    context: CommandContext, *, words: tuple[str, ...] | None = None, limit: int | None = None
) -> dict[str, Any]:
    """States of this node's kernel."""
    limit = LIMIT if limit is None else limit
    if not 1 <= limit <= LIMIT_MAX:
        raise UsageError(f"{limit} states cannot be shown", hint=f"Ask for 1 to {LIMIT_MAX}, or narrow the filter.")
    answer: dict[str, Any] = await ask(
        context, GetStates(words=words or (), limit=limit), table="pfsync", within_s=TABLE_S
    )
    return answer


async def count_states(context: CommandContext) -> dict[str, Any]:
    """How many states there are, by protocol."""
    answer: dict[str, Any] = await ask(context, CountStates(), table="pfsync", within_s=TABLE_S)
    return answer


async def resync(context: CommandContext) -> dict[str, Any]:
    """Ask the peers for everything."""
    return {"result": await ask(context, ResyncStates(), table="pfsync", within_s=ANSWER_S)}


async def flush(context: CommandContext) -> dict[str, Any]:
    """Remove every replicated state, here and on the peers."""
    return {"result": await ask(context, FlushStates(), table="pfsync", within_s=TABLE_S)}


async def kill(context: CommandContext, *, words: tuple[str, ...]) -> dict[str, Any]:
    """Remove the states that match, here and on the peers."""
    return {"result": await ask(context, KillStates(words=words), table="pfsync", within_s=TABLE_S)}


def make_key(*, file: str) -> dict[str, Any]:
    """Write a new key file that only root can read."""
    path = Path(file)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ApplianceError(
            f"{path} exists and is left as it is",
            hint="To rotate, append a second line 'name = …' to it on every node, then put that line first.",
        ) from None
    except OSError as error:
        raise ApplianceError(
            f"{path} cannot be written: {error.strerror}", hint="Choose a path in an existing directory."
        ) from error
    with os.fdopen(fd, "w", encoding="ascii") as out:
        out.write(f"# Secrets of the cluster for pfsync: the first sends, all are accepted.\n"
                  f"key1 = {secrets.token_hex(KEY_BYTES)}\n")  # fmt: skip
    return {"result": f"{path} written; copy it to the other nodes and set [pfsync] key_file on each"}


def render_result(data: dict[str, Any]) -> str:
    """One sentence."""
    return str(data["result"])


def render_pfsync(data: dict[str, Any]) -> str:
    """The lines people read."""
    how = "authenticated and encrypted" if data["secured"] else "PLAIN: neither authenticated nor encrypted"
    lines = [
        f"{data['node']}: pfsync on {data['interface']}, version {data['version']}, {how}",
        f"  states {data['states']}, {'active' if data['active'] else 'standby'}; bulk update {data['bulk']}"
        + (f" ({data['bulk_text']})" if data["bulk_text"] else ""),
    ]
    if data["error"]:
        lines += [f"  DOES NOT REPLICATE: {data['error']}", f"    {data['remedy']}"]
    for peer in data["peers"]:
        lag = "unknown" if peer["lag_ms"] is None else f"{peer['lag_ms']:.1f} ms"
        states = "unknown" if peer["states"] is None else str(peer["states"])
        state = "up" if peer["alive"] else "DOWN"
        lines.append(f"  peer {peer['name']} ({peer['address']})  {state}  version {peer['version']}  "
                     f"lag {lag}  states {states}  losses {peer['losses']}  bulk {peer['bulk']}")  # fmt: skip
    if not data["peers"]:
        lines.append("  no peer has been heard")
    audit = data["audit"]
    lines.append(f"  audit: {audit['rounds']} rounds, sent {audit['sent']}, deleted {audit['deleted']}, "
                 f"last {audit['last'] or 'never'}")  # fmt: skip
    shown = {name: count for name, count in data["counters"].items() if count}
    lines.append("  " + (", ".join(f"{name} {count}" for name, count in shown.items()) or "nothing counted yet"))
    return "\n".join(lines)


def render_states(data: dict[str, Any]) -> str:
    """One line a state, as pfctl and conntrack show it: protocol, original, reply, state."""
    lines = [_line(row) for row in data["states"]]
    left = data["matching"] - len(data["states"])
    lines.append(f"{data['matching']} states match" + (f", {left} of them not shown (--limit)" if left else ""))
    return "\n".join(lines)


def _ends(row: dict[str, Any], way: str) -> tuple[str, str]:
    """Source and destination of one direction. The id of ICMP is shown with the address that asks: the type, which
    is in the place of the other port, differs between question and answer and is no translation."""
    side = row[way]
    if row["proto"] not in ICMP:
        return _end(side["src"], side["sport"]), _end(side["dst"], side["dport"])
    known_by = f" id {side['sport']}"
    return (side["src"] + known_by, side["dst"]) if way == "orig" else (side["src"], side["dst"] + known_by)


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _line(row: dict[str, Any]) -> str:
    source, destination = _ends(row, "orig")
    answering, answered = _ends(row, "reply")
    text = f"{row['proto']:<6} {source} -> {destination}"
    if answered != source:
        text += f"  source {answered}"
    if answering != destination:
        text += f"  destination {answering}"
    return f"{text}  {row['state'] or ' '.join(row['status']) or 'NEW'}  {row['timeout']} s"


def render_count(data: dict[str, Any]) -> str:
    """Totals, then a line a protocol."""
    lines = [f"{data['states']} states of at most {data['max']}, {data['replicated']} of them replicated"]
    lines += [f"  {name:<6} {count}" for name, count in sorted(data["protocols"].items())]
    return "\n".join(lines)


_FILTER_HELP = "tcp, udp, icmp, an address, a network, :PORT, a TCP state, nat, assured: all have to match"

COMMANDS: tuple[Command, ...] = (
    Command(
        path=("show", "pfsync"), help="How state replication stands.", run=show_pfsync, reads=True, render=render_pfsync
    ),
    Command(
        path=("show", "states"),
        help="States of the connection-tracking table.",
        run=show_states,
        reads=True,
        arguments=(
            Argument(name="words...", help=_FILTER_HELP),
            Argument(name="--limit", help=f"rows at most ({LIMIT})", type=int),
        ),
        render=render_states,
    ),
    Command(
        path=("states", "count"), help="How many states there are.", run=count_states, reads=True, render=render_count
    ),
    Command(path=("states", "resync"), help="Get all states of the peers anew.", run=resync, render=render_result),
    Command(
        path=("states", "flush"),
        help="Remove every replicated state here and on the peers: all connections have to begin anew.",
        run=flush,
        render=render_result,
    ),
    Command(
        path=("states", "kill"),
        help="Remove the states that match, here and on the peers.",
        run=kill,
        arguments=(Argument(name="words...", help=_FILTER_HELP, required=True),),
        render=render_result,
    ),
    Command(
        path=("pfsync", "key"),
        help="Write a new key file.",
        run=make_key,
        arguments=(Argument(name="file", help="where to", required=True),),
        render=render_result,
        where=Where.LOCAL,
    ),
)
