"""From a plan to the `appliance.toml` of each node, with comments for whoever reads it. Pure text.

Only tables of installed plugins are written: a file that `appliance check` refuses would help nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from appliance.config.writing import literal
from appliance.console.wizard import ports
from appliance.console.wizard.answers import Address, Interface, Kind
from appliance.console.wizard.plan import ClusterPlan, PlannedNetwork

ADVSKEW = (0, 100)
"""The primary is preferred, by so much that there is room between them."""
NEEDED = ("interfaces", "carp", "pfsync", "xmlrpc-sync")
"""Plugins without which there is no cluster."""


def node_text(plan: ClusterPlan, ordinal: int, installed: Collection[str]) -> str:
    """The whole file of one node.

    Args:
        plan: The cluster.
        ordinal: 0 for the primary, 1 for the secondary.
        installed: Names of installed plugins.
    """
    parts = [_head(plan, ordinal), *_laggs(plan, ordinal)]
    parts += [*(_interface(plan, network, ordinal) for network in plan.networks), _pfsync(plan)]
    parts.append(_sync(plan, ordinal))
    if "firewall" in installed:
        parts.append(_firewall(plan))
    wans = [network for network in plan.of_kind(Kind.WAN) if any(family.gateway for family in network.families)]
    if wans and "outbound-nat" in installed:
        parts.append(
            "# What leaves by a WAN has its virtual address, so that a takeover breaks no connection.\n"
            + _table("outbound_nat", {"mode": "automatic"})
        )
    served = [network for network in plan.networks if network.clients]
    if served and "dhcp-failover" in installed:
        parts.append(_dhcp(plan, served, ordinal))
    if wans and "gateways" in installed:
        parts.append("# Routers are watched: `appliance show gateways`.\n" + "\n".join(map(_gateway, wans)))
    parts.append(_carp(plan, ordinal))
    return "\n".join(parts)


def _head(plan: ClusterPlan, ordinal: int) -> str:
    role = ("primary", "secondary")[ordinal]
    node = _table("node", {"name": plan.nodes[ordinal], "role": role})
    return (
        f"# Made by `appliance wizard` for {plan.nodes[ordinal]}; the other node is {plan.nodes[1 - ordinal]}.\n"
        f"# It is yours to edit: `appliance check -c FILE` says what is wrong with it.\n\n"
        "# The primary owns the shared configuration; which node is active is another matter: `appliance show ha`.\n"
        f"{node}"
    )


def _bundles(plan: ClusterPlan, ordinal: int) -> dict[str, tuple[str, PlannedNetwork]]:
    """The name of each bundle of a node, and the first network on it."""
    found: dict[str, tuple[str, PlannedNetwork]] = {}
    for network in plan.networks:
        port = ports.read(network.devices[ordinal])
        if port.is_bundle and port.base not in found:
            found[port.base] = (f"lagg{len(found)}", network)
    return found


def _laggs(plan: ClusterPlan, ordinal: int) -> Iterator[str]:
    for base, (name, network) in _bundles(plan, ordinal).items():
        protocol = network.bundle or ports.PROTOCOLS[0]
        yield "# Several devices as one: `appliance show lagg`.\n" + _table(
            f"lagg.{name}", {"members": base.split(ports.BUNDLE), "protocol": protocol}
        )


def _carrier(plan: ClusterPlan, network: PlannedNetwork, ordinal: int) -> dict[str, object]:
    port = ports.read(network.devices[ordinal])
    name = _bundles(plan, ordinal)[port.base][0] if port.is_bundle else port.base
    return {"device": name} if port.vlan is None else {"vlan": {"parent": name, "id": port.vlan}}


def _interface(plan: ClusterPlan, network: PlannedNetwork, ordinal: int) -> str:
    values = _carrier(plan, network, ordinal)
    values["addresses"] = [str(family.nodes[ordinal]) for family in network.families]
    if network.kind is Kind.SYNC:
        values["description"] = "direct cable between the two nodes"
    routes = [
        "\n" + _table(f"interfaces.{network.name}.routes", {"to": "default", "via": str(family.gateway)}, many=True)
        for family in network.families
        if family.gateway is not None and family.gateway == _default_router(plan, family.gateway.version)
    ]
    return _table(f"interfaces.{network.name}", values) + "".join(routes)


def _pfsync(plan: ClusterPlan) -> str:
    return "# Connection states of each node are on the other one. The keys come from the pairing.\n" + _table(
        "pfsync", {"interface": plan.sync.name}
    )


def _sync(plan: ClusterPlan, ordinal: int) -> str:
    values: dict[str, object] = {"interface": plan.sync.name}
    if ordinal == 0:
        values["peers"] = [pairing_address(plan)]
    return (
        "# The shared configuration goes from the primary to the secondary. Pair the nodes once:\n"
        f"# `appliance pair --listen` on {plan.nodes[1]} shows a code; on {plan.nodes[0]}\n"
        f"# `appliance pair {pairing_address(plan)} --code CODE` takes it.\n" + _table("xmlrpc_sync", values)
    )


def _firewall(plan: ClusterPlan) -> str:
    values: dict[str, object] = {"nodes": [str(_own(plan.sync, ordinal)) for ordinal in (0, 1)]}
    lans = plan.of_kind(Kind.LAN)
    parts = ["# Whatever no rule passes is dropped; what the cluster itself needs passes by automatic rules.\n"]
    if lans:
        values["anti_lockout"] = lans[0].name
    parts.append(_table("firewall", values))
    for lan in lans[:1]:
        rule = {"interface": lan.name, "action": "pass", "source": f"net:{lan.name}"}
        parts.append("\n" + _table("firewall.rule", rule | {"description": f"from {lan.name} to anywhere"}, many=True))
    for other in lans[1:]:
        parts.append(f"\n# Nothing passes from {other.name} until there is a rule for it.\n")
    return "".join(parts)


def _dhcp(plan: ClusterPlan, served: list[PlannedNetwork], ordinal: int) -> str:
    parts = [
        "# Clients get an address, with the virtual one as gateway and name server. Nothing answers DNS there yet:\n"
        "# name other servers with `dns`. `appliance show dhcp`.\n"
        + _table("dhcp_failover", {"sync_interface": plan.sync.name})
    ]
    for network in served:
        peer = next(str(family.nodes[1 - ordinal].ip) for family in network.families if family.nodes[0].version == 4)
        values = {"range": [network.clients], "failover_peer": peer}
        parts.append(_table(f"dhcp_failover.interface.{network.name}", values))
    return "\n".join(parts)


def _gateway(network: PlannedNetwork) -> str:
    values: dict[str, object] = {"interface": network.name}
    for family in network.families:
        if family.gateway is not None:
            values["address" if family.gateway.version == 4 else "address6"] = str(family.gateway)
    return _table(f"gateways.gateway.{network.name}_gw", values)


def _carp(plan: ClusterPlan, ordinal: int) -> str:
    parts = ["# Virtual addresses: what clients and routers use, held by whichever node is MASTER.\n"]
    values: dict[str, object] = {}
    if plan.password:
        values["password"] = plan.password
    else:
        parts.append("# Without a password the nodes use one of their pairing; until then nobody is MASTER.\n")
    parts.append(_table("carp", values | {"preempt": True, "sync_interface": plan.sync.name}))
    for network in plan.networks:
        if network.vhid is not None:
            vip = {
                "name": network.name,
                "interface": network.name,
                "vhid": network.vhid,
                "addresses": [str(family.vip) for family in network.families],
                "advskew": ADVSKEW[ordinal],
            }
            parts.append("\n" + _table("carp.vip", vip, many=True))
    return "".join(parts)


def _default_router(plan: ClusterPlan, version: int) -> Address | None:
    """That of the first WAN: what is to leave by another one needs a rule, or a group of gateways."""
    gateways = (family.gateway for network in plan.of_kind(Kind.WAN) for family in network.families)
    return next((each for each in gateways if each is not None and each.version == version), None)


def _own(network: PlannedNetwork, ordinal: int) -> Address:
    return network.families[0].nodes[ordinal].ip


def _table(header: str, values: Mapping[str, object], *, many: bool = False) -> str:
    lines = [f"[[{header}]]" if many else f"[{header}]"]
    lines += [f"{key} = {literal(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def pairing_address(plan: ClusterPlan) -> str:
    """Where the primary reaches the secondary."""
    return str(_own(plan.sync, 1))


def plan_rows(plan: ClusterPlan) -> Iterator[dict[str, object]]:
    """The plan for people, a row for each family of each network."""
    for network in plan.networks:
        for family in network.families:
            yield {
                "network": network.name,
                "device": network.devices[0] if len({*network.devices}) == 1 else " / ".join(network.devices),
                "virtual": _shown(family.vip),
                plan.nodes[0]: _shown(family.nodes[0]),
                plan.nodes[1]: _shown(family.nodes[1]),
                "vhid": network.vhid,
                "router": str(family.gateway) if family.gateway is not None else None,
            }


def _shown(interface: Interface | None) -> str | None:
    return str(interface) if interface is not None else None
