"""What gets through between the nodes, network by network: measured when the doctor asks, at no cost otherwise.

Four things travel differently, and switches, real and virtual ones, lose them one by one:

    ARP                        broadcast there, unicast back, from and to the cards' own MACs
    hellos                     multicast, from the card's own MAC
    adverts                    multicast to the same group, from the virtual MAC
    ARP to the virtual MAC     unicast to a MAC that is not the card's own

Which of them arrive says who loses the rest; `wiring` draws the conclusions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from typing import Any

import trio

from appliance.events import Request
from appliance_carp.host import VirtualHost
from appliance_carp.peers import SILENT_S
from appliance_carp.port import Port
from appliance_carp.station import Station
from appliance_carp.vocabulary import State

ROUNDS = 5
ROUND_S = 0.04
"""A neighbour answers in well under a millisecond; a machine that is busy gets a fifth of a second in all."""
MISSED = 3
"""Adverts that fail to come before they count as lost."""


@dataclass(slots=True)
class _Row:
    """One peer on one network."""

    peer: str
    port: Port
    addresses: tuple[str, ...]
    asked: IPv4Address | None
    """Its own address that is asked for by ARP; ``None``: it or we have none of IPv4 there."""
    virtual: dict[str, VirtualHost] = field(default_factory=dict)
    """IPv4 addresses that it holds as MASTER, and so answers for."""


class Reach:
    """Answers `GetReach` for one station."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._turn = trio.Lock()

    async def answer(self, _: Request[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Ask, wait a moment for the answers, and tell."""
        async with self._turn:
            rows = list(_rows(self._station))
            book, start = self._station.answered, trio.current_time()
            wanted = {str(address) for row in rows for address in (row.asked, *row.virtual) if address is not None}
            book.update(dict.fromkeys(wanted, -1.0))
            for _round in range(ROUNDS):
                for row in rows:
                    _ask(row)
                await trio.sleep(ROUND_S)
                if all(book.get(address, -1.0) >= start for address in wanted):
                    break
            # The prober has begun a book of its own meanwhile: nothing is known of our questions.
            heard = {a: book.get(a, -1.0) >= start for a in wanted} if book is self._station.answered else {}
            now = trio.current_time()
            return [_told(self._station, row, heard, now) for row in rows]


def _rows(station: Station) -> Iterator[_Row]:
    for name in station.herald.peers.names():
        states = station.herald.peers.states_of(name)
        for interface, addresses in station.herald.peers.addresses_of(name).items():
            port = next((each for each in station.all_ports() if each.name == interface), None)
            hosts = [host for host in station.hosts.values() if host.settings.interface == interface]
            is_routed = bool(hosts) and all(host.settings.peers for host in hosts)
            if port is None or not port.up or is_routed or not addresses:
                continue
            if any(states.get(host.vhid_key) is State.INIT for host in hosts):
                continue  # it has no link there, and says so itself
            theirs = [each for each in map(ip_address, addresses) if isinstance(each, IPv4Address)]
            asked = theirs[0] if theirs and 4 in port.own else None
            row = _Row(name, port, tuple(addresses), asked)
            for host in hosts:
                if asked and states.get(host.vhid_key) is State.MASTER and not _is_master(station, host):
                    v4 = (str(each.ip) for each in host.settings.addresses if each.version == 4)
                    row.virtual |= dict.fromkeys(v4, host)
            yield row


def _ask(row: _Row) -> None:
    if row.asked is not None:
        row.port.probe(row.asked)
    for address, host in row.virtual.items():
        row.port.probe(IPv4Address(address), to=host.settings.mac)


def _told(station: Station, row: _Row, heard: dict[str, bool], now: float) -> dict[str, Any]:
    greeted = [station.herald.greetings.get((row.port.name, source), -1.0) for source in row.addresses]
    last = max(greeted)
    is_sync = station.sync is not None and row.port.name == station.sync.name
    is_alive = row.peer not in station.herald.peers.silent()
    states = station.herald.peers.states_of(row.peer) if is_alive else {}
    masters = [
        host
        for host in station.hosts.values()
        if host.settings.interface == row.port.name and states.get(host.vhid_key) is State.MASTER
    ]
    lost = [host for host in masters if not _is_heard(station, host, row.addresses, now)]
    return {
        "peer": row.peer,
        "alive": is_alive,
        "interface": row.port.name,
        "device": row.port.settings.device,
        "address": str(row.asked or row.addresses[0]),
        "arp": None if row.asked is None else heard.get(str(row.asked)),
        "hello": now - last <= SILENT_S if is_sync or station.settings.hello == "all" else None,
        "master": [host.settings.vhid for host in masters],
        "unheard": [host.settings.vhid for host in lost if not _is_refused(station, host, row.addresses)],
        "refused": [host.settings.vhid for host in lost if _is_refused(station, host, row.addresses)],
        "deaf": sorted({host.settings.vhid for address, host in row.virtual.items() if heard.get(address) is False}),
        "both": [host.settings.vhid for host in masters if _is_master(station, host)],
    }


def _is_master(station: Station, host: VirtualHost) -> bool:
    return station.machine.report(host.vhid_key).state is State.MASTER


def _is_heard(station: Station, host: VirtualHost, sources: tuple[str, ...], now: float) -> bool:
    patience_s = MISSED * (station.machine.report(host.vhid_key).advbase + 1)
    return any(source in host.seen and now - host.seen[source].at <= patience_s for source in sources)


def _is_refused(station: Station, host: VirtualHost, sources: tuple[str, ...]) -> bool:
    return any(station.herald.alarms.is_about(host.settings.interface, host.settings.vhid, each) for each in sources)
