"""What `appliance doctor` looks at: members, partners, switches and speeds of aggregations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from appliance.events import Health
from appliance.plugin import Check, Finding, NoProvider, Probe
from appliance_lagg.events import GetLaggs

Laggs = list[dict[str, Any]]


def _on(judge: Callable[[Laggs], Finding]) -> Callable[[Probe], Awaitable[Finding]]:
    """A check that judges what the service answers."""

    async def run(probe: Probe) -> Finding:
        try:
            answer = await probe.call(GetLaggs())
        except NoProvider:
            return Finding(
                health=Health.FAIL,
                what="the lagg service does not run",
                fix="See `appliance show services` for the reason.",
            )
        return judge(answer["laggs"])

    return run


def members(laggs: Laggs) -> Finding:
    """Every aggregation is as configured and has all of its members."""
    problems = [problem for lagg in laggs for problem in lagg["problems"]]
    if not problems:
        return Finding(health=Health.OK, what=f"all members of {len(laggs)} aggregations have a link")
    what = "; ".join(problem["what"] for problem in problems)
    return Finding(health=Health.FAIL, what=what, fix=" ".join(problem["fix"] for problem in problems))


def partner(laggs: Laggs) -> Finding:
    """Switches speak LACP where this node does, and take all ports into one aggregation."""
    wrong = [text for lagg in laggs if lagg["protocol"] == "lacp" for text in _out_of_step(lagg)]
    if wrong:
        fix = (
            "Configure the ports of the switch as one LACP group, active; two switches need to be a stack or a "
            'multi-chassis group, or else use protocol = "failover".'
        )
        return Finding(health=Health.FAIL, what="; ".join(wrong), fix=fix)
    return Finding(health=Health.OK, what="every partner answers, and no port is out of step")


def _out_of_step(lagg: dict[str, Any]) -> Iterator[str]:
    name = lagg["name"]
    up = [each for each in lagg["members"] if each["lacp"] is not None and each["state"] in ("active", "standby")]
    if up and lagg["partner"] is None:
        yield f"nobody answers LACP at {name}"
        return
    for member in up:
        churn = member["lacp"]["churn"] or {}
        if not member["lacp"]["selected"]:
            yield f"{member['name']} of {name} leads to another partner than the ports in use"
        elif "churned" in (churn.get("actor"), churn.get("partner")):
            yield f"{member['name']} of {name} does not get in step with its partner"


def switches(laggs: Laggs) -> Finding:
    """No single switch carries all members of an aggregation."""
    shared, unknown = [], []
    for lagg in laggs:
        heard = [each["neighbour"] for each in lagg["members"]]
        if len(heard) < 2:
            continue
        if None in heard:
            unknown.append(lagg["name"])
        elif len({each["chassis"] for each in heard}) == 1:
            switch = heard[0]["name"] or heard[0]["chassis"]
            shared.append(f"all members of {lagg['name']} go to one switch, {switch}")
    if shared:
        fix = "Plug one of the members into another switch: this one is a single point of failure."
        return Finding(health=Health.WARN, what="; ".join(shared), fix=fix)
    if unknown:
        what = f"not known for {', '.join(unknown)}: no LLDP has been heard from all of its switches"
        return Finding(health=Health.OK, what=what, why="Switches that send LLDP say which one a cable leads to.")
    return Finding(health=Health.OK, what="members lead to different switches")


def speed(laggs: Laggs) -> Finding:
    """Members of an aggregation are equally fast."""
    wrong = []
    for lagg in laggs:
        found = {each["name"]: (each["speed"], each["duplex"]) for each in lagg["members"] if each["speed"]}
        slow = [name for name, (_, duplex) in found.items() if duplex == "half"]
        if len(set(found.values())) > 1:
            each = ", ".join(f"{name} {mbit} Mbit/s" for name, (mbit, _) in found.items())
            wrong.append(f"members of {lagg['name']} differ: {each}")
        elif slow:
            wrong.append(f"half duplex at {', '.join(slow)} of {lagg['name']}")
    if wrong:
        fix = "Use equal ports and let both ends negotiate; LACP uses only ports of one speed, in full duplex."
        return Finding(health=Health.WARN, what="; ".join(wrong), fix=fix)
    return Finding(health=Health.OK, what="the members of each aggregation are equally fast")


CHECKS = (
    Check(name="lagg-members", help="Every aggregation has all of its members.", run=_on(members)),
    Check(name="lagg-partner", help="Every partner speaks LACP and is in step.", run=_on(partner)),
    Check(name="lagg-switches", help="No single switch carries all members.", run=_on(switches)),
    Check(name="lagg-speed", help="Members of an aggregation are equally fast.", run=_on(speed)),
)
