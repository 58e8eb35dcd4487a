"""From a frame on a port to something the election hears: parsing, TTL, authentication, judgement.

The order of the checks is FreeBSD's (ip_carp.c, carp_input_c): length, version, checksum, VHID, TTL, digest.
Whatever fails is counted on the virtual host it claims to be about, and named in an alarm when an operator
has to know.
"""

from __future__ import annotations

from ipaddress import ip_address

from appliance_carp import wire
from appliance_carp.alarms import Trouble
from appliance_carp.hello import same_addresses
from appliance_carp.host import VirtualHost, Voice
from appliance_carp.port import Port
from appliance_carp.stamp import Verdict
from appliance_carp.station import Station
from appliance_carp.vocabulary import Heard
from appliance_carp.wire import Advert, Malformed, Packet

_ETHERNET_HEADER = 14
_COUNTER_OF = {"badsum": "bad_sum", "badver": "bad_version", "badlen": "bad_length", "hdrops": "bad_length"}


def take_frame(station: Station, port: Port, frame: bytes, family: int, now: float) -> None:
    """Take in one frame of IP protocol 112."""
    body = frame[_ETHERNET_HEADER:]
    try:
        packet = wire.parse_ipv4(body) if family == 4 else wire.parse_ipv6(body)
    except Malformed:
        return  # not even an IP packet: nothing to attribute it to
    if packet.payload[:1] == bytes([wire.HELLO_TYPE]):
        _take_hello(station, port, packet, now)
    else:
        _take_advert(station, port, packet, family, now)


def _take_hello(station: Station, port: Port, packet: Packet, now: float) -> None:
    if packet.ttl != wire.TTL or packet.source in port.every_own:
        return
    # A copy is not authenticated again, so its source may be forged; only the doctor's measurement relies on it.
    if packet.source in station.herald.known_sources:
        station.herald.greetings[port.name, packet.source] = now
    if station.herald.is_copy(packet.payload):
        return
    try:
        received = station.herald.assembler.feed(packet.payload)
    except Malformed:
        return
    if received.hello is None or received.node == station.settings.node:
        return
    if station.herald.peers.heard(received.hello, now):
        station.herald.peers_changed(now)


def _take_advert(station: Station, port: Port, packet: Packet, family: int, now: float) -> None:
    vhid = packet.payload[1] if len(packet.payload) > 1 else 0
    hosts = _candidates(station, port, vhid)
    if not hosts:
        return
    foreign = wire.describe_foreign(packet)
    if foreign is not None:
        for host in hosts:
            _alarm_about(station, Trouble.FOREIGN, host, packet, now, detail=foreign.partition(" from ")[0])
            host.counters["foreign"] += 1
        return
    try:
        advert = wire.parse(packet.payload)
    except Malformed as error:
        for host in hosts:
            host.counters[_COUNTER_OF.get(error.counter, "bad_length")] += 1
        return
    _authenticate(station, port, packet, advert, family, hosts, now)


def _candidates(station: Station, port: Port, vhid: int) -> list[VirtualHost]:
    """Hosts an advert may be about: on the sync interface the digest decides between equal VHIDs."""
    own = station.listeners.get((port.name, vhid))
    if own is not None:
        return own
    if port is station.sync:
        return [host for host in station.hosts.values() if host.settings.vhid == vhid]
    return []


def _authenticate(
    station: Station, port: Port, packet: Packet, advert: Advert, family: int, hosts: list[VirtualHost], now: float
) -> None:
    via_sync = hosts[0].settings.interface != port.name
    host, voice = next(((each, voice) for each in hosts if (voice := each.authenticates(advert))), (None, None))
    if packet.ttl != wire.TTL and not (hosts[0].settings.peers and port.is_unicast_to_us(packet.destination)):
        hosts[0].counters["bad_ttl"] += 1
        if host is not None:
            _alarm_about(station, Trouble.BAD_TTL, host, packet, now)
        return
    if host is None or voice is None:
        if not via_sync:
            _not_ours(station, hosts[0], packet, now)
        return
    _hear(station, port, host, voice, packet, advert, family, via_sync, now)


def _not_ours(station: Station, host: VirtualHost, packet: Packet, now: float) -> None:
    """An advert for our VHID with a digest that is not ours: the cause is named when a hello tells it."""
    host.counters["bad_auth"] += 1
    theirs = station.herald.peers.fingerprint_at(packet.source, host.vhid_key)
    if theirs is None:
        trouble = Trouble.BAD_AUTH
    else:
        same = same_addresses(theirs, host.fingerprint)
        trouble = Trouble.PASSWORD_DIFFERS if same else Trouble.ADDRESSES_DIFFER
    _alarm_about(station, trouble, host, packet, now)


def _hear(
    station: Station,
    port: Port,
    host: VirtualHost,
    voice: Voice,
    packet: Packet,
    advert: Advert,
    family: int,
    via_sync: bool,
    now: float,
) -> None:
    voice.witness.expect(station.herald.known_sources)
    verdict = host.judge(voice, advert, packet.source, port.every_own)
    if verdict is Verdict.LOOP:
        _alarm_about(station, Trouble.LOOP, host, packet, now)
        return
    if verdict is Verdict.REPLAY:
        _alarm_about(station, Trouble.REPLAY, host, packet, now)
        return
    if verdict is Verdict.STALE:
        return
    host.counters["received"] += 1
    heard = Heard(
        key=host.vhid_key,
        family=family if not via_sync else min(host.settings.families),
        source=packet.source,
        advbase=advert.advbase,
        advskew=advert.advskew,
        demote=advert.demote,
        own_kind=verdict is Verdict.OWN_KIND,
        via_sync=via_sync,
        own_source=port.source(family),
    )
    if heard.is_bow_out and heard.own_kind:
        station.herald.peers.left(station.herald.peers.name_of(packet.source))
    if not heard.is_farewell:
        host.note_peer(packet.source, advert.advskew, now)
    station.perform(station.machine.receive(heard, now))
    station.wake_waiters()


def _alarm_about(
    station: Station, trouble: Trouble, host: VirtualHost, packet: Packet, now: float, detail: str = ""
) -> None:
    interface, vhid = host.vhid_key
    station.herald.raise_alarm(trouble, now, interface=interface, vhid=vhid, source=packet.source, detail=detail)


def take_arp(station: Station, port: Port, frame: bytes, now: float) -> None:
    """An ARP reply or announcement: an answer to a probe, or somebody else who claims a virtual address."""
    claim = parse_claim(frame)
    if claim is None:
        return
    mac, address = claim
    if address in station.answered:
        station.answered[address] = now
    host = station.holder(port.name, address)
    if host is not None and mac != host.settings.mac:
        station.herald.claimed_by_stranger(host, address, mac, now)


def parse_claim(frame: bytes) -> tuple[str, str] | None:
    """Sender MAC and IPv4 address of an ARP frame (RFC 826: offsets 22 and 28 with the Ethernet header)."""
    if len(frame) < _ETHERNET_HEADER + 28:
        return None
    mac = ":".join(f"{byte:02x}" for byte in frame[22:28])
    address = str(ip_address(frame[28:32]))
    return None if address == "0.0.0.0" else (mac, address)
