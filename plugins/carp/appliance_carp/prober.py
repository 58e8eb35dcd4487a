"""Telling a dead peer from a dead cable, in some twenty milliseconds.

When the direct link between the nodes loses its carrier, either the cable was pulled or the other node
lost its power. The kernel of a living node answers ARP for its own addresses, so three rounds of requests
on every network decide. The loss of the sync link alone never moves a role.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import trio

from appliance_carp.station import Station
from appliance_carp.vocabulary import State

ROUNDS = 3
ROUND_S = 0.005
"""A neighbour on the same network answers in well under a millisecond."""


def suspects(station: Station) -> dict[str, dict[str, set[IPv4Address]]]:
    """Which nodes hold our BACKUP hosts, and at which addresses on which networks they can be asked.

    ``{node name or source address: {logical interface: addresses}}``. Only IPv4: a network on which the
    master has no IPv4 address is not asked.
    """
    found: dict[str, dict[str, set[IPv4Address]]] = {}
    for report in station.machine.reports():
        if report.state is not State.BACKUP or not report.master:
            continue
        name = station.herald.peers.name_of(report.master) or report.master
        places = found.setdefault(name, {})
        known = dict(station.herald.peers.addresses_of(name)) or {report.key[0]: (report.master,)}
        for interface, texts in known.items():
            if interface in station.ports:
                addresses = {ip for ip in map(ip_address, texts) if isinstance(ip, IPv4Address)}
                places.setdefault(interface, set()).update(addresses)
    return found


async def examine(station: Station) -> None:
    """Probe every suspect at once and act on the verdicts."""
    asked = suspects(station)
    start = trio.current_time()
    station.answered = {str(each): -1.0 for places in asked.values() for found in places.values() for each in found}
    for _ in range(ROUNDS):
        for places in asked.values():
            _ask(station, places)
        await trio.sleep(ROUND_S)
    now = trio.current_time()
    for name, places in asked.items():
        _judge(station, name, places, start, now)


def _ask(station: Station, places: dict[str, set[IPv4Address]]) -> None:
    for interface, addresses in places.items():
        port = station.ports.get(interface)  # a reload may have taken it away between two rounds
        if port is None:
            continue
        for address in addresses:
            port.probe(address)


def _judge(station: Station, name: str, places: dict[str, set[IPv4Address]], start: float, now: float) -> None:
    askable = {
        interface: addresses
        for interface, addresses in places.items()
        if addresses and (port := station.ports.get(interface)) is not None and port.up and 4 in port.own
    }
    if not askable:
        station.ctx.log.info("carp_probe_impossible", peer=name)
        return  # nobody could be asked: the heartbeats decide, in their own time
    for interface, addresses in askable.items():
        if any(station.answered.get(str(each), -1.0) >= start for each in addresses):
            station.ctx.log.info("carp_probe_alive", peer=name, interface=interface)
            return
    if any(host.heard_at >= start for host in station.hosts.values()):
        return
    station.ctx.log.warning("carp_probe_dead", peer=name, networks=", ".join(sorted(askable)))
    station.herald.peers.died(name)
    station.herald.peers_changed(now)  # first: the election must not count on it any more
    station.perform(
        station.machine.peer_died(now, reason=f"{name} is dead: sync link lost, no answer on any network", name=name)
    )
