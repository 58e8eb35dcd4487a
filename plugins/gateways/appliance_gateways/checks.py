"""What `appliance doctor` looks at for gateways, each with its remedy."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address, ip_interface
from typing import Any, cast

from appliance.config import Config
from appliance.events import AddressesChanged, Health
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_gateways.config import GatewaysConfig
from appliance_gateways.events import GetGateways
from appliance_gateways.routing import LOCAL_FIRST


def checks(config: Config) -> list[Check]:
    """The checks for this configuration."""
    table = config[GatewaysConfig]
    versions = sorted({each.version for gateway in table.gateway.values() for each in gateway.addresses})
    return [
        Check(name="gateways-status", help="Every gateway is up.", run=status),
        Check(name="gateways-groups", help="Every group has a usable member.", run=groups),
        Check(name="gateways-network", help="Every gateway is in a network that its interface has.", run=network),
        Check(
            name="gateways-default",
            help="This node has a default route, also as BACKUP.",
            run=_default_route(versions),
        ),
        Check(name="gateways-local", help="Local networks go before every policy.", run=_local_first(versions)),
    ]


async def _answer(probe: Probe) -> dict[str, Any] | Finding:
    answer = await ask_if_running(probe, GetGateways(), within_s=1)
    if answer is None:
        return Finding(
            health=Health.FAIL,
            what="the gateways service does not answer",
            why="dead gateways are not noticed, and connections keep being sent to them",
            fix="See 'appliance show services' for the error and restart the node.",
        )
    return answer


async def status(probe: Probe) -> Finding:
    """Gateways that are down, or on their way there."""
    answer = await _answer(probe)
    if isinstance(answer, Finding):
        return answer
    if answer["problems"]:
        first = answer["problems"][0]
        return Finding(health=Health.FAIL, what=first["what"], fix=first["fix"])
    by_status: dict[str, list[str]] = {}
    for each in answer["gateways"]:
        by_status.setdefault(each["status"], []).append(each["name"])
    if down := by_status.get("down"):
        names = ", ".join(down)
        reasons = "; ".join(
            each["reason"] for each in answer["gateways"] if each["status"] == "down" and each["reason"]
        )
        return Finding(
            health=Health.FAIL,
            what=f"down: {names}",
            why=reasons or "probes to the monitor address are lost or too slow",
            fix="Compare 'appliance show gateways' on the other node: if it is down there, too, ask the provider; "
            "if not, check this node's cable and the switch port.",
        )
    if poor := [*by_status.get("loss", []), *by_status.get("latency", [])]:
        fix = "'appliance show gateways' says how bad it is; the line may be full: look at its traffic."
        return Finding(health=Health.WARN, what=f"lossy or slow: {', '.join(poor)}", fix=fix)
    unknown = by_status.get("unknown", [])
    rest = f"; not probed from here: {', '.join(unknown)}" if unknown else ""
    return Finding(health=Health.OK, what=f"{len(by_status.get('online', []))} gateways are online{rest}")


async def groups(probe: Probe) -> Finding:
    """Groups whose traffic follows the default route because nobody is left."""
    answer = await _answer(probe)
    if isinstance(answer, Finding):
        return answer
    empty = [each["name"] for each in answer["groups"] if each["tier"] is None]
    if empty:
        return Finding(
            health=Health.FAIL,
            what=f"no usable gateway in {', '.join(empty)}",
            why="its connections now take the default route",
            fix="Bring one of its gateways up, or give it one of another provider.",
        )
    return Finding(health=Health.OK, what=f"{len(answer['groups'])} groups, each with a usable gateway")


async def network(probe: Probe) -> Finding:
    """A gateway outside the networks in the kernel answers no ARP: an address is missing or has another prefix."""
    answer = await _answer(probe)
    if isinstance(answer, Finding):
        return answer
    facts = [cast(AddressesChanged, event) for event in probe.retained(AddressesChanged)]
    addresses = {fact.interface: [ip_interface(text) for text in fact.addresses] for fact in facts}
    outside = []
    for gateway in answer["gateways"]:
        for address in map(ip_address, gateway["addresses"]):
            own = [each for each in addresses.get(gateway["interface"], ()) if each.version == address.version]
            if own and not address.is_link_local and not any(address in each.network for each in own):
                outside.append(f"{address} of {gateway['name']} is in no network of {gateway['interface']}")
    if outside:
        return Finding(
            health=Health.FAIL,
            what="; ".join(outside),
            why="the kernel asks for the router with an address that the router does not expect",
            fix="Correct the gateway, or the addresses of the interface: 'appliance show interfaces'.",
        )
    return Finding(health=Health.OK, what="every gateway is in a network of its interface")


def _default_route(versions: Sequence[int]) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(probe: Probe) -> Finding:
        missing = [
            v for v in versions if not json.loads(await probe.output(*_ip(v), "route", "show", "default") or "[]")
        ]
        if missing:
            families = " and ".join(f"IPv{version}" for version in missing)
            return Finding(
                health=Health.FAIL,
                what=f"this node has no {families} default route",
                why="it cannot reach the Internet itself: names, time and updates, also as BACKUP",
                fix="Set [gateways] default4 or default6, or a default route in [interfaces].",
            )
        return Finding(health=Health.OK, what="this node has a default route")

    return run


def _local_first(versions: Sequence[int]) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(probe: Probe) -> Finding:
        for version in versions:
            listed = json.loads(await probe.output(*_ip(version), "rule", "show") or "[]")
            if not any(rule.get("priority") == LOCAL_FIRST and rule.get("table") == "main" for rule in listed):
                return Finding(
                    health=Health.FAIL,
                    what=f"the IPv{version} rule that lets local networks go first is missing",
                    why="connections to local networks leave by a WAN",
                    fix="It is added again within a second; if it does not stay, another program removes it: "
                    "watch `ip monitor rule`.",
                )
        return Finding(health=Health.OK, what="local networks go before every policy")

    return run


def _ip(version: int) -> tuple[str, ...]:
    return ("ip", "-j", f"-{version}")
