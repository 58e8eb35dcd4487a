"""Writes `docs/troubleshooting.md` from the checks: python -m tests.meta.troubleshooting_page > docs/troubleshooting.md

What a check can find is read from the source: every `Finding` that it, or what it calls in its plugin, can return.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance_carp.alarms import TEXTS

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Troubleshooting

`appliance doctor` examines a node, `appliance doctor --peers` all paired nodes from one; `--json` for programs, exit
status 1 when something is serious or a node does not answer. On a healthy cluster every line begins with `ok`.
This page is made from the checks by `python -m tests.meta.troubleshooting_page > docs/troubleshooting.md`: all that
they look at, what they find, why it matters, and the remedy. `…` stands for names and numbers of your cluster.
"""
SYMPTOMS = (
    ("A VHID is used twice on a network, by another cluster or by VRRP", ("alarm foreign",)),
    ("Clocks or time zones of the nodes differ", ("sync-clocks", "clock")),
    ("A VIP has another mask than its interface", ("appliance check", "sync-interfaces")),
    ("The interface of a VIP has no address of that network", ("appliance check", "interfaces-addresses")),
    ("Adverts with an incorrect hash", ("alarm password-differs", "alarm addresses-differ", "alarm bad-auth")),
    ("Both nodes are MASTER", ("carp-master", "carp-reach", "carp-roles")),
    ("A switch filters multicast (IGMP snooping, storm control)", ("carp-reach",)),
    ("A virtual switch rejects the virtual MAC (forged transmits, promiscuous mode)", ("carp-reach",)),
    ("A virtual switch has lost its uplink and does not show it", ("carp-reach",)),
    ("The primary is stuck as BACKUP", ("carp-demotion", "carp-preferred")),
    ("The node hears its own heartbeats (layer 2 loop)", ("alarm loop", "carp-preferred")),
    ("A VHID stays in INIT", ("interfaces-links", "interfaces-devices")),
    ("CARP is disabled, or a node is in maintenance", ("carp-demotion", "carp-peer")),
    ("Another machine uses a virtual address", ("alarm duplicate",)),
    ("The configuration is not synchronized (user, password, port, rule, version, two primaries)", ("sync-peers",)),
    ("Interfaces are swapped or named otherwise on one node", ("sync-interfaces", "sync-peers")),
    ("pfsync does not run on both nodes", ("pfsync-peer", "pfsync-service")),
    ("The sync interface is shared with clients", ("carp-sync-link", "pfsync-link")),
    ("Connections end at a takeover: outbound NAT is not on the VIP", ("nat-vip",)),
    ("A network has no Internet: manual outbound NAT lacks it", ("nat-networks",)),
    ("Port forwards end at a takeover", ("nat-forwards",)),
    ("With several WANs, local networks and VIPs are not reached", ("gateways-local",)),
    ("The BACKUP has no Internet", ("gateways-default", "gateways-status")),
    ("DHCP hands out a node's address instead of the VIP", ("dhcp-gateway",)),
    ("DHCP failover does not work", ("dhcp-peer", "dhcp-clocks", "dhcp-service")),
    ("A host is reached over some ports of an aggregation only", ("lagg-partner", "lagg-switches")),
    ("An interface is bridged", ("interfaces-bridges",)),
    ("A rule blocks what the nodes need", ("firewall-automatic", "firewall-nodes")),
)
"""Entries of a handbook's troubleshooting, and the checks and alarms that name them."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Source:
    """The functions of a plugin, or of the core's doctor, by name."""

    plugin: str
    path: Path
    functions: dict[str, Function] = field(default_factory=dict)
    tables: dict[str, ast.expr] = field(default_factory=dict)
    """Values of names of the modules and of `checks`, through which functions are called, too."""


def sources() -> Iterator[Source]:
    """All that have checks, the core first."""
    yield _read("core", ROOT / "core" / "appliance" / "doctor.py", [])
    for path in sorted(ROOT.glob("plugins/*/appliance_*/checks.py")):
        text = path.read_text()
        package = path.parent.name
        others = re.findall(rf"^from {package}\.(\w+) import", text, re.M)
        yield _read(path.parents[1].name, path, [path.with_name(f"{name}.py") for name in others])


def _read(plugin: str, path: Path, others: list[Path]) -> Source:
    source = Source(plugin, path)
    for each in (*others, path):
        tree = ast.parse(each.read_text())
        declares = [node for node in tree.body if isinstance(node, Function) and node.name.endswith("checks")]
        body = [*tree.body, *(inner for node in declares for inner in node.body)]
        source.functions |= {node.name: node for node in body if isinstance(node, Function)}
        source.tables |= _assigned(body)
    return source


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## By symptom\n", "| symptom | found by |", "|---|---|"]
    for symptom, places in SYMPTOMS:
        parts.append(f"| {symptom} | {', '.join(_link(place) for place in places)} |")
    parts.append("")
    for source in sources():
        parts.append(f"## {source.plugin}\n")
        parts += [_section(source, check) for check in checks_of(source)]
    parts.append("## Alarms of carp\n")
    parts.append(
        "Raised while it is seen and for ten seconds more; `show ha`, `show alarms` and the check `alarms` tell.\n"
    )
    for trouble, (health, what, fix) in TEXTS.items():
        parts.append(f"### alarm {trouble}\n\n- **{_blank(what)}** ({health})\n  Remedy: {_blank(fix)}\n")
    return "\n".join(parts)


def _link(place: str) -> str:
    if place == "appliance check":
        return "`appliance check` (refused)"
    return f"[{place}](#{place.replace(' ', '-')})"


def checks_of(source: Source) -> list[ast.Call]:
    """The `Check(…)` expressions of a source, in their order."""
    tree = ast.parse(source.path.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) == "Check"]
    return sorted(found, key=lambda node: node.lineno)


def name_of(check: ast.Call) -> str:
    """The literal name of a check."""
    return str(ast.literal_eval(_keyword(check, "name")))


def _section(source: Source, check: ast.Call) -> str:
    said = str(ast.literal_eval(_keyword(check, "help")))
    lines = [f"### {name_of(check)}\n", f"{said}\n"]
    findings = list(_findings(source, _keyword(check, "run"), seen=set()))
    if not findings:
        findings = ["It only tells; there is nothing to remedy."]
    return "\n".join([*lines, *dict.fromkeys(findings), ""])


def _findings(source: Source, where: ast.AST, seen: set[str]) -> Iterator[str]:
    nodes = list(ast.walk(where))
    own = _assigned(nodes) if isinstance(where, Function) else {}
    local = {node.arg for node in nodes if isinstance(node, ast.arg)} | set(own)
    for node in nodes:
        if isinstance(node, ast.Call) and _called(node) in ("Finding", "_list"):
            if (text := _finding(node, own)) is not None:
                yield text
        elif isinstance(node, ast.Name) and node.id not in seen | local and node.id != "_list":
            seen.add(node.id)
            next_place = source.functions.get(node.id) or source.tables.get(node.id)
            if isinstance(next_place, ast.Dict):
                yield from _by_case(next_place)
            if next_place is not None:
                yield from _findings(source, next_place, seen)


def _by_case(table: ast.Dict) -> Iterator[str]:
    """A table of remedies."""
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield f"- for `{key.value}`\n  Remedy: {value.value}"


def _finding(call: ast.Call, own: Mapping[str, ast.expr]) -> str | None:
    texts = {each.arg: _text(each.value, own) for each in call.keywords}
    if "fix" not in texts:
        return None
    what, why = texts.get("what") or texts.get("bad", "…"), texts.get("why", "")
    named = f"**{what}**" if what.strip("… ") else "what is wrong, by name"
    reason = f"\n  Because {why}." if why.strip("… ") else ""
    remedy = texts["fix"] if texts["fix"].strip("… ") else "told with it."
    return f"- {named}{reason}\n  Remedy: {remedy}"


def _text(value: ast.expr, own: Mapping[str, ast.expr]) -> str:
    """A text as the source has it, with an ellipsis for what is only known at run time."""
    match value:
        case ast.Constant():
            return str(value.value)
        case ast.JoinedStr():
            return _blank("".join(_text(each, {}) for each in value.values))
        case ast.BoolOp():
            return next((text for text in (_text(each, own) for each in value.values) if text != "…"), "…")
        case ast.IfExp():
            return f"{_text(value.body, own)} / {_text(value.orelse, own)}"
        case ast.Name() if value.id in own:
            return _text(own[value.id], {})
    return "…"


def _blank(text: str) -> str:
    return re.sub(r"(…[, ]*)+…", "…", re.sub(r"\{[^}]*\}", "…", text))


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _keyword(call: ast.Call, name: str) -> ast.expr:
    return next(each.value for each in call.keywords if each.arg == name)


if __name__ == "__main__":
    print(page(), end="")
