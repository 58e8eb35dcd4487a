"""What `appliance doctor` looks at: devices, links, addresses and the switches of a router."""

from __future__ import annotations

import json
from typing import Any

from appliance.events import Health
from appliance.plugin import Check, Finding, NoProvider, Probe
from appliance_interfaces import sysctls
from appliance_interfaces.events import GetInterfaces


async def _interfaces(probe: Probe) -> list[dict[str, Any]] | Finding:
    try:
        answer = await probe.call(GetInterfaces())
    except NoProvider:
        return Finding(
            health=Health.FAIL,
            what="the interfaces service does not run",
            fix="See `appliance show services` for the reason.",
        )
    found: list[dict[str, Any]] = answer["interfaces"]
    return found


async def devices(probe: Probe) -> Finding:
    """Every configured device exists and is as configured."""
    found = await _interfaces(probe)
    if isinstance(found, Finding):
        return found
    problems = [problem for interface in found for problem in interface["problems"]]
    if not problems:
        return Finding(health=Health.OK, what=f"all {len(found)} interfaces are as configured")
    what = "; ".join(problem["what"] for problem in problems)
    return Finding(health=Health.FAIL, what=what, fix=" ".join(problem["fix"] for problem in problems))


async def links(probe: Probe) -> Finding:
    """Every interface has a link."""
    found = await _interfaces(probe)
    if isinstance(found, Finding):
        return found
    down = [interface for interface in found if interface["present"] and not interface["up"]]
    if down:
        names = ", ".join(interface["device"] for interface in down)
        fix = " ".join(f"`ip link set {interface['device']} up`." for interface in down)
        return Finding(health=Health.FAIL, what=f"set down: {names}", fix=fix)
    quiet = [interface for interface in found if interface["present"] and not interface["carrier"]]
    if quiet:
        names = ", ".join(f"{interface['name']} ({interface['device']})" for interface in quiet)
        return Finding(health=Health.FAIL, what=f"no link: {names}", fix="Check the cable and the other end's port.")
    return Finding(health=Health.OK, what="every interface has a link")


async def addresses(probe: Probe) -> Finding:
    """Every configured address and route is in the kernel."""
    found = await _interfaces(probe)
    if isinstance(found, Finding):
        return found
    missing = [
        f"{interface['name']} lacks {address['address']}"
        for interface in found
        for address in interface["addresses"]
        if address["configured"] and not address["present"]
    ]
    missing += [
        f"{interface['name']} lacks the route to {route['to']}"
        for interface in found
        for route in interface["routes"]
        if not route["present"]
    ]
    if missing:
        fix = "It is repaired by itself when the device is there and up; see the log for what the kernel refuses."
        return Finding(health=Health.FAIL, what="; ".join(missing), fix=fix)
    return Finding(health=Health.OK, what="all configured addresses and routes are in the kernel")


async def forwarding(probe: Probe) -> Finding:
    """The kernel forwards packets."""
    off = [path for path, value in sysctls.NODE.items() if probe.read(f"/proc/sys/{path}").strip() not in ("", value)]
    if off:
        names = ", ".join(path.replace("/", ".") for path in off)
        fix = (
            "It is switched on again by itself, after half a minute at most; if it does not stay, another program "
            "switches it off: look in /etc/sysctl.d, and for who else manages networks here (NetworkManager, "
            "systemd-networkd)."
        )
        return Finding(health=Health.FAIL, what=f"the kernel does not forward: {names} is 0", fix=fix)
    return Finding(health=Health.OK, what="the kernel forwards IPv4 and IPv6")


async def bridges(probe: Probe) -> Finding:
    """Bridges between two networks of a cluster make a layer 2 loop through both nodes."""
    found = await _interfaces(probe)
    if isinstance(found, Finding):
        return found
    links = json.loads(await probe.output("ip", "-j", "-d", "link", "show") or "[]")
    used = {interface["device"]: interface["name"] for interface in found}
    inside = [
        (f"{used[link['ifname']]} ({link['ifname']}) is a port of {link['master']}", link["ifname"])
        for link in links
        if link["ifname"] in used and link.get("linkinfo", {}).get("info_slave_kind") == "bridge"
    ]
    if inside:
        return Finding(
            health=Health.FAIL,
            what=f"bridged: {', '.join(each for each, _ in inside)}",
            why="a port of a bridge has no addresses of its own: heartbeats and VIPs on it do not work",
            fix=f"Name the bridge as the device in [interfaces], or take the port out: `ip link set {inside[0][1]} "
            "nomaster`.",
        )
    loops = [name for device, name in used.items() if _may_loop(device, links)]
    if loops:
        return Finding(
            health=Health.WARN,
            what=f"a bridge of several ports without spanning tree: {', '.join(loops)}",
            why="with the same bridge on the other node frames go round in a loop",
            fix="Turn spanning tree on (`ip link set DEVICE type bridge stp_state 1`) here and in the switches, or "
            "leave one port in the bridge.",
        )
    return Finding(health=Health.OK, what="no interface is bridged in a way that could loop")


def _may_loop(device: str, links: list[dict[str, Any]]) -> bool:
    own: dict[str, Any] = next((link.get("linkinfo", {}) for link in links if link["ifname"] == device), {})
    ports = [link for link in links if link.get("master") == device]
    return own.get("info_kind") == "bridge" and len(ports) > 1 and not own.get("info_data", {}).get("stp_state")


CHECKS = (
    Check(name="interfaces-devices", help="Every configured device exists and is as configured.", run=devices),
    Check(name="interfaces-links", help="Every interface has a link.", run=links),
    Check(name="interfaces-addresses", help="Every configured address and route is in the kernel.", run=addresses),
    Check(name="interfaces-bridges", help="No interface is bridged into a loop.", run=bridges),
    Check(name="interfaces-forwarding", help="The kernel forwards packets.", run=forwarding),
)
