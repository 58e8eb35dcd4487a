"""What a lab looks like at the moment: nodes, processes, links, faults in force, sockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from appliance.lab import netns, waiting

if TYPE_CHECKING:
    from appliance.lab.lab import Lab

JsonObject = dict[str, object]
FROZEN = "T"


def collect(lab: Lab) -> JsonObject:
    """Everything as plain data; what is broken is shown as broken."""
    seen = waiting.view(lab)
    return {
        "name": lab.name,
        "software": str(lab.software),
        "directory": str(lab.directory),
        "nodes": [_node(lab, node, seen.get(node)) for node in lab.topology.node_names],
        "hosts": [{"name": host, "links": links(lab, host)} for host in lab.topology.hosts],
        "switches": [{"name": switch, "links": links(lab, switch)} for switch in lab.topology.switches],
        "faults": [{"name": fault.name, "effect": fault.effect} for fault in lab.faults_in_force()],
    }


def _node(lab: Lab, node: str, answer: JsonObject | None) -> JsonObject:
    running = netns.pids(lab.topology.namespace(node))
    processes = [
        {
            "pid": pid,
            "state": netns.process_state(pid),
            "name": netns.title(pid),
            "command": netns.command_line(pid),
        }
        for pid in running
    ]
    return {
        "name": node,
        "power": lab.has_power(node),
        "software": lab.init_facts(node) if lab.has_power(node) else {},
        "frozen": bool(running) and all(process["state"] == FROZEN for process in processes),
        "processes": processes,
        "links": links(lab, node),
        "socket": str(lab.socket(node)),
        "answers": answer is not None,
        "roles": waiting.states(answer),
    }


def links(lab: Lab, role: str) -> list[JsonObject]:
    """Devices of a namespace, virtual ones of the node's software left out."""
    if not lab.has_power(role):
        return []
    listed = netns.run(["ip", "-n", lab.topology.namespace(role), "-json", "link", "show"])
    rows = cast(list[dict[str, Any]], json.loads(listed or "[]"))
    known = {cable.device for cable in lab.topology.cables_of(role)}
    known |= {cable.port for cable in lab.topology.cables if cable.switch == role} | {"trunk"}
    return [
        {
            "device": row["ifname"],
            "up": "UP" in row["flags"],
            "carrier": "UP" in row["flags"] and "LOWER_UP" in row["flags"],
        }
        for row in rows
        if row["ifname"] in known
    ]


def text(status: JsonObject) -> str:
    """For people."""
    lines = [f"lab {status['name']} ({status['software']}), everything in {status['directory']}", ""]
    for node in cast(list[dict[str, Any]], status["nodes"]):
        lines.append(f"{node['name']:<11}{_power(node)}")
        if node["power"]:
            roles = ", ".join(f"{name} {state}" for name, state in node["roles"].items())
            lines.append(f"{'':<11}roles: {roles or ('none' if node['answers'] else 'does not answer')}")
            lines.append(f"{'':<11}links: {_links(node['links'])}")
            lines.append(f"{'':<11}socket: {node['socket']}")
    for machine in cast(list[dict[str, Any]], [*status["hosts"], *status["switches"]]):  # type: ignore[misc]
        lines.append(f"{machine['name']:<11}links: {_links(machine['links'])}")
    lines.append("")
    faults = cast(list[dict[str, Any]], status["faults"])
    lines.append("faults in force:" if faults else "faults in force: none")
    lines += [f"  {fault['name']}: {fault['effect']}" for fault in faults]
    return "\n".join(lines)


def _power(node: dict[str, Any]) -> str:
    if not node["power"]:
        return "no power"
    if node["frozen"]:
        return f"frozen ({len(node['processes'])} processes stopped)"
    facts = node["software"]
    if not facts:
        return "power on, no software"
    running = ", ".join(f"{process['pid']} {process['name']}" for process in node["processes"])
    return f"{facts['state']} (started {facts['starts']} times, last end: {facts['last']}); processes: {running}"


def _links(rows: list[dict[str, Any]]) -> str:
    words = (f"{row['device']} {'up' if row['carrier'] else 'no carrier' if row['up'] else 'down'}" for row in rows)
    return ", ".join(words) or "none"
