"""The screen of `appliance show ha`, for people. The facts are `appliance.status.ha_status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appliance.console.render import age, table

Fact = dict[str, Any]
MARKS = {"fail": "!!", "warn": "! "}


def render_ha(status: Fact) -> str:
    """One screen: what this node does, why, and what is wrong."""
    config = status["config"]
    revision = "not applied" if config["revision"] is None else f"revision {config['revision']}"
    head = [status["summary"], *_people_failover(status["failover"]), f"configuration: {revision}, {config['role']}"]
    parts = ["\n".join(head)]
    if status["vips"]:
        rows = [
            {
                "vip": f"{vip['interface']}/{vip['vhid']}",
                "state": vip["state"],
                "since": age(vip["age_s"]),
                "why": vip["reason"],
            }
            for vip in status["vips"]
        ]
        parts.append(table(rows))
    parts.append(_people_demotion(status))
    parts.append("\n".join(_people_peers(status["peers"])))
    if status["links"]:
        parts.append("\n".join(_people_links(status["links"])))
    if status["notes"]:
        notes = (f"  *  {note['source']}: {note['what']}\n     -> {note['fix']}" for note in status["notes"])
        parts.append("\n".join(["notes:", *notes]))
    parts.append("\n".join(_people_problems(status["problems"])))
    return "\n\n".join(parts)


def _people_failover(failover: Fact | None) -> Iterator[str]:
    if failover is not None:
        yield f"failover: {failover['what']}"
    if failover is not None and failover["fix"]:
        yield f"  -> {failover['fix']}"


def _people_demotion(status: Fact) -> str:
    lines = [f"demotion: {status['demotion']}" + ("" if status["reasons"] else " (nothing makes this node worse)")]
    lines += [f"  {reason['name']}  {reason['weight']}  for {age(reason['age_s'])}" for reason in status["reasons"]]
    return "\n".join(lines)


def _people_peers(peers: list[Fact]) -> Iterator[str]:
    if not peers:
        yield "peers: none has been heard"
        return
    yield "peers:"
    for peer in peers:
        state = "not answering" if not peer["alive"] else "healthy" if peer["healthy"] else "alive, not healthy"
        yield f"  {peer['peer']}  {state} for {age(peer['age_s'])}, demotion {peer['demotion']}: {peer['summary']}"


def _people_links(links: list[Fact]) -> Iterator[str]:
    yield "links:"
    for link in links:
        state = "up" if link["up"] else "DOWN" if link["present"] else "MISSING"
        yield f"  {link['interface']} ({link['device']})  {state} for {age(link['age_s'])}"


def _people_problems(problems: list[Fact]) -> Iterator[str]:
    if not problems:
        yield "problems: none"
        return
    yield "problems:"
    # What one remedy puts right stands together: several parts of a node wait for the same.
    for fix in dict.fromkeys(problem["fix"] for problem in problems):
        for problem in problems:
            if problem["fix"] == fix:
                what = problem["what"].replace("\n", "\n     ")
                yield f"  {MARKS.get(problem['health'], '  ')} {what}"
        yield f"     -> {fix}"
