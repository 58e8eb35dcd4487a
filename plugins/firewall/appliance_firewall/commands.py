"""The console commands of the firewall: ``show firewall``, ``show firewall log`` and ``show aliases``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import trio

from appliance.errors import ApplianceError, UsageError
from appliance.events import RulesetLoaded
from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_firewall.events import GetAliases, GetFirewall, GetFirewallLog

ANSWER_S = 5.0
"""A healthy service answers in milliseconds; the counters of 50,000 rules take seconds."""
RULES, RULES_MAX = 1000, 20_000
"""Rows of `show firewall` unless another number is asked for, and at most."""
ENTRIES, ENTRIES_MAX = 50, 2000
"""Rows of `show firewall log` likewise."""
FOLLOW_S = 30.0
"""How long one question waits for new entries."""
FOLLOW_PAUSE_S = 1.0
"""Between two questions: each is kept in the trace of the bus."""
MEMBERS_SHOWN = 200

Row = dict[str, Any]


def _limit(limit: int | None, usual: int, most: int) -> int:
    if limit is not None and not 1 <= limit <= most:
        raise UsageError(f"{limit} rows cannot be shown", hint=f"Ask for 1 to {most}.")
    return usual if limit is None else limit


async def show_firewall(context: CommandContext, *, interface: str | None = None, limit: int | None = None) -> Row:
    """Rules with their hits."""
    answer = await ask(
        context,
        GetFirewall(interface=interface, limit=_limit(limit, RULES, RULES_MAX)),
        table="firewall",
        within_s=ANSWER_S,
    )
    return answer | {"loaded": bool(context.retained(RulesetLoaded))}


async def show_log(
    context: CommandContext, *, words: tuple[str, ...] | None = None, limit: int | None = None, follow: bool = False
) -> AsyncGenerator[Row, None]:
    """Entries of the log, oldest first; then, on request, every new one."""
    words = words or ()
    answer = await ask(
        context,
        GetFirewallLog(words=words, limit=_limit(limit, ENTRIES, ENTRIES_MAX)),
        table="firewall",
        within_s=ANSWER_S,
    )
    if not answer["recording"]:
        raise ApplianceError(answer["error"], hint=answer["remedy"])
    for row in answer["entries"]:
        yield row
    while follow:
        more = GetFirewallLog(words=words, limit=ENTRIES_MAX, after=answer["last_seq"], wait_s=FOLLOW_S)
        answer = await ask(context, more, table="firewall", within_s=FOLLOW_S + ANSWER_S)
        for row in answer["entries"]:
            yield row
        await trio.sleep(FOLLOW_PAUSE_S)


async def show_aliases(context: CommandContext, *, name: str | None = None) -> Row:
    """All aliases, or one with its members."""
    return await ask(context, GetAliases(name=name), table="firewall", within_s=ANSWER_S)


# ------------------------------------------------------------------------------------------ text for people


def render_firewall(data: Row) -> str:
    """A line a rule, in the order in which they are asked."""
    lines = [f"{data['node']}: first match decides" + ("" if data["loaded"] else "; THE RULESET IS NOT LOADED")]
    if not data["counted"]:
        lines.append("the hits are not known: the kernel's counters could not be read")
    rows = [("PACKETS", "BYTES", "KIND", "RULE", "ID")]
    rows += [(_number(r["packets"]), _bytes(r["bytes"]), r["kind"], _rule(r), r["id"]) for r in data["rules"]]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for packets, size, kind, rule, identity in rows:
        cells = f"{packets:>{widths[0]}}  {size:>{widths[1]}}  {kind:<{widths[2]}}  {rule:<{widths[3]}}  {identity}"
        lines.append(cells.rstrip())
    left = data["matching"] - len(data["rules"])
    if left:
        lines.append(f"{left} more rules are not shown (--limit)")
    return "\n".join(lines)


def _rule(row: Row) -> str:
    notes = [row["description"]] if row["description"] else []
    notes += ["disabled"] if row["disabled"] else []
    notes += ["off now by its schedule"] if row["schedule"] and not row["disabled"] and not row["applies"] else []
    return f"{row['text']}  ({', '.join(notes)})" if notes else str(row["text"])


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)


def _bytes(count: int | None) -> str:
    """``1536`` is ``1.5K``."""
    if count is None:
        return "-"
    size = float(count)
    for unit in ("", "K", "M", "G", "T"):
        if size < 1024 or unit == "T":
            break
        size /= 1024
    return f"{size:.0f}{unit}" if unit == "" or size >= 100 else f"{size:.1f}{unit}"


def render_entry(row: Row) -> str:
    """One packet in one line: local time, action, where, what, and the rule."""
    clock = datetime.fromisoformat(row["time"]).astimezone().strftime("%m-%d %H:%M:%S.%f")[:-3]
    where = row["interface"] + (f">{row['out_interface']}" if row["out_interface"] else "")
    ends = f"{_end(row['src'], row['sport'])} -> {_end(row['dst'], row['dport'])}"
    what = [row["proto"] or "?", ends, row["icmp"], row["flags"], f"{row['length']} bytes"]
    what += ["fragment"] if row["fragment"] else []
    what += ["MALFORMED"] if row["malformed"] else []
    text = " ".join(word for word in what if word)
    missing = f"  ({row['suppressed']} before it are not recorded)" if row["suppressed"] else ""
    return f"{clock} {row['action']:<6} {row['direction']:<7} {where:<10} {text}  rule {row['rule']}{missing}"


def _end(address: str | None, port: int | None) -> str:
    if address is None:
        return "?"
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def render_aliases(data: Row) -> str:
    """A line an alias; of a single one also its members."""
    if not data["aliases"]:
        return "no aliases are configured"
    width = max(len(alias["name"]) for alias in data["aliases"])
    lines = []
    for alias in data["aliases"]:
        entries = ", ".join(alias["entries"][:3]) + (", …" if len(alias["entries"]) > 3 else "")
        note = f"  ({alias['description']})" if alias["description"] else ""
        count = "WRONG" if alias["resolved"] is None else alias["resolved"]
        lines.append(f"{alias['name']:<{width}}  {alias['type']:<8}  {count:>6}  {entries}{note}".rstrip())
        members = alias.get("members", [])
        lines += [f"  {member}" for member in members[:MEMBERS_SHOWN]]
        if len(members) > MEMBERS_SHOWN:
            lines.append(f"  … {alias['resolved'] - MEMBERS_SHOWN} more (--json)")
    return "\n".join(lines)


_FILTER_HELP = (
    "a protocol, an address, a network, :PORT, in, forward, out, block, reject, an interface, the id of a rule: "
    "all have to match"
)

COMMANDS: tuple[Command, ...] = (
    Command(
        path=("show", "firewall"),
        help="Rules in the order in which they are asked, with what they have matched.",
        run=show_firewall,
        reads=True,
        arguments=(
            Argument(name="interface", help="only rules that are asked for packets of this interface"),
            Argument(name="--limit", help=f"rows at most ({RULES})", type=int),
        ),
        render=render_firewall,
    ),
    Command(
        path=("show", "firewall", "log"),
        help="The last packets that rules logged; with --follow also new ones as they come.",
        run=show_log,
        reads=True,
        arguments=(
            Argument(name="--follow", help="go on with every new packet until interrupted", flag=True),
            Argument(name="--limit", help=f"past packets at most ({ENTRIES})", type=int),
            Argument(name="words...", help=_FILTER_HELP),
        ),
        render=render_entry,
        empty="no such packet is recorded; recorded are those that no rule passes and those of rules with `log = true`",
    ),
    Command(
        path=("show", "aliases"),
        help="Aliases, or the members of one.",
        run=show_aliases,
        reads=True,
        arguments=(Argument(name="name", help="only this alias, with its members"),),
        render=render_aliases,
    ),
)
