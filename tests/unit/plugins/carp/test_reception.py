"""What becomes of a frame: the order of the checks, what each failure counts and names, and that nothing else moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_interface

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.events import Alarm, PeerChanged, RoleChanged
from appliance.net import frames
from appliance_carp import reception, wire
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import DUAL, LAN, ME, PEER, VIPS, WAN, Peer, Rig, framed, summed, vip

MakeRig = Callable[..., Rig]
STRANGER_MAC = bytes.fromhex("026666666666")


def alarms(rig: Rig) -> list[str]:
    return [alarm.key for alarm in rig.ctx.events(Alarm) if alarm.active]


def moved(rig: Rig) -> list[RoleChanged]:
    """Everything about roles that was published since the machine began to listen."""
    return [
        event for event in rig.ctx.events(RoleChanged) if event.reason != "started" and "has link" not in event.reason
    ]


def altered(payload: bytes, at: int, value: int, *, sum_again: bool = True) -> bytes:
    changed = payload[:at] + bytes((value,)) + payload[at + 1 :]
    return summed(changed) if sum_again else changed


# --- the good advert ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [4, 6])
def test_an_advert_of_a_peer_is_counted_shown_and_decides(make_rig: MakeRig, family: int) -> None:
    rig, peer = make_rig(DUAL, VIPS[1]).plugged(), Peer(DUAL)
    rig.take("lan", peer.advert(family=family, advskew=7))
    assert rig.counters(LAN) == {"received": 1, "transitions": 1}
    host = rig.station.hosts[LAN]
    assert {source: seen.advskew for source, seen in host.seen.items()} == {peer.source("lan", family): 7}
    assert host.heard_at == rig.now
    assert rig.machine.report(LAN).master == peer.source("lan", family)


def test_a_better_advert_moves_a_master(rig: Rig) -> None:
    rig.master()
    peer = Peer(*(replace(each, advskew=0) for each in VIPS))
    rig.take("lan", peer.advert(advskew=0))
    assert rig.state(LAN) is State.BACKUP
    assert rig.state(WAN) is State.MASTER


def test_a_foreign_or_unknown_vhid_is_nobodys(rig: Rig) -> None:
    peer = Peer(vip("lan", 99, "192.168.1.1/24"))
    rig.take("lan", peer.advert(("lan", 99)))
    rig.take("wan", peer.advert(("lan", 99)))
    assert (rig.counters(LAN), rig.counters(WAN)) == ({"transitions": 1}, {"transitions": 1})
    assert alarms(rig) == []


def test_somebody_who_waits_for_a_handover_is_woken_by_an_advert(rig: Rig) -> None:
    waiting = rig.station.settled
    rig.take("lan", Peer().advert())
    assert waiting.is_set()
    assert not rig.station.settled.is_set()


# --- the order of the checks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload_of", "ttl", "counter"),
    [
        pytest.param(lambda good: altered(good, 0, 0x41)[:30], 254, "bad_length", id="too short before all else"),
        pytest.param(lambda good: altered(good, 0, 0x41, sum_again=False), 254, "bad_version", id="version before sum"),
        pytest.param(
            lambda good: altered(good, 20, good[20] ^ 1, sum_again=False), 254, "bad_sum", id="sum before ttl"
        ),
        pytest.param(lambda good: altered(good, 20, good[20] ^ 1), 254, "bad_ttl", id="ttl before digest"),
        pytest.param(lambda good: altered(good, 20, good[20] ^ 1), 255, "bad_auth", id="digest last"),
    ],
)
def test_the_first_check_that_fails_is_the_one_that_counts(
    rig: Rig, payload_of: Callable[[bytes], bytes], ttl: int, counter: str
) -> None:
    peer = Peer()
    before = rig.machine.next_deadline()
    rig.take("lan", framed(payload_of(peer.payload()), peer.source("lan"), ttl=ttl))
    assert rig.counters(LAN) == {counter: 1, "transitions": 1}
    assert (moved(rig), rig.machine.next_deadline(), rig.station.hosts[LAN].seen) == ([], before, {})


def test_an_advert_that_crossed_a_router_is_named_only_when_it_is_one_of_ours(rig: Rig) -> None:
    rig.take("lan", Peer(*(replace(each, password="other") for each in VIPS)).advert(ttl=254))
    assert alarms(rig) == []
    rig.take("lan", Peer().advert(ttl=254))
    assert alarms(rig) == ["carp/lan/1/bad-ttl/192.168.1.3"]
    assert rig.counters(LAN)["bad_ttl"] == 2


def test_a_unicast_peer_may_be_routed_but_only_when_peers_are_configured(make_rig: MakeRig) -> None:
    unicast = replace(VIPS[0], peers=(ip_address("10.99.0.3"),))
    rig, peer = make_rig(unicast, VIPS[1]).plugged(), Peer(unicast)
    routed = framed(peer.payload(source="10.99.0.3"), "10.99.0.3", ttl=62, to=f"192.168.1.{ME}")
    rig.take("lan", routed)
    assert rig.counters(LAN) == {"received": 1, "transitions": 1}
    rig.take("lan", framed(peer.payload(source="10.99.0.3"), "10.99.0.3", ttl=62))
    assert rig.counters(LAN)["bad_ttl"] == 1, "to the group it must not be"


def test_a_unicast_advert_from_beyond_a_router_is_refused_without_peers(rig: Rig) -> None:
    rig.take("lan", framed(Peer().payload(source="10.99.0.3"), "10.99.0.3", ttl=62, to=f"192.168.1.{ME}"))
    assert rig.counters(LAN) == {"bad_ttl": 1, "transitions": 1}


# --- who does not belong to us -----------------------------------------------------------------------------


def test_without_a_hello_the_cause_of_a_bad_digest_is_not_known(rig: Rig) -> None:
    other = Peer(*(replace(each, password="other") for each in VIPS))
    for _ in range(3):
        rig.take("lan", other.advert())
    assert alarms(rig) == ["carp/lan/1/bad-auth/192.168.1.3"], "one alarm, however often"
    assert rig.counters(LAN)["bad_auth"] == 3


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"password": "other"}, "password-differs"),
        ({"addresses": (ip_interface("192.168.1.9/24"),)}, "addresses-differ"),
    ],
)
def test_a_hello_tells_what_differs(rig: Rig, change: dict[str, object], cause: str) -> None:
    other = Peer(replace(VIPS[0], **change), VIPS[1])
    rig.take("lan", other.hello())
    rig.take("lan", other.advert())
    assert alarms(rig) == [f"carp/lan/1/{cause}/192.168.1.3"]
    assert rig.counters(LAN) == {"bad_auth": 1, "transitions": 1}


def test_a_vrrp_speaker_with_our_vhid_is_named_and_moves_nothing(rig: Rig) -> None:
    body = bytes((0x31, 1, 200, 1)) + (100).to_bytes(2, "big") + b"\0\0" + ip_address("192.168.1.77").packed
    rig.take("lan", framed(summed(body.ljust(12, b"\0")), "192.168.1.9"))
    assert rig.counters(LAN) == {"foreign": 1, "transitions": 1}
    assert alarms(rig) == ["carp/lan/1/foreign/192.168.1.9"]
    assert "VRRP version 3" in rig.ctx.events(Alarm)[0].what
    assert moved(rig) == []


# --- forged and replayed -----------------------------------------------------------------------------------


def test_a_replayed_advert_changes_nothing_and_is_named(rig: Rig) -> None:
    peer = Peer()
    recorded = [peer.advert() for _ in range(3)]
    rig.take("lan", *recorded)
    before = (rig.machine.next_deadline(), rig.station.hosts[LAN].heard_at)
    rig.now += 1
    rig.take("lan", *recorded[1:])
    assert rig.counters(LAN) == {"received": 3, "replayed": 2, "transitions": 1}
    assert alarms(rig) == ["carp/lan/1/replay/192.168.1.3"]
    assert (rig.machine.next_deadline(), rig.station.hosts[LAN].heard_at) == before, "it does not keep us quiet"


def test_a_recorded_advert_under_another_address_or_with_other_fields_is_still_a_replay(rig: Rig) -> None:
    peer = Peer()
    first, second, third = (peer.payload() for _ in range(3))
    rig.take("lan", *(framed(each, peer.source("lan")) for each in (first, second, third)))
    rig.take("lan", framed(third, "192.168.1.66"))
    rig.take("lan", framed(altered(third, 2, 0), peer.source("lan")))
    rig.take("lan", framed(altered(altered(third, 2, 255), 5, 255), peer.source("lan")))
    assert rig.counters(LAN) == {"received": 3, "replayed": 3, "transitions": 1}
    assert moved(rig) == []


def test_our_own_adverts_come_back_and_do_not_demote_a_master(rig: Rig) -> None:
    rig.master()
    ipv4, _, _ = rig.sockets("lan")
    rig.take("lan", *ipv4.sent)
    assert rig.states() == {State.MASTER}
    assert rig.counters(LAN)["looped"] == sum(frames.ETH_P_IP.to_bytes(2, "big") == each[12:14] for each in ipv4.sent)
    assert alarms(rig) == ["carp/lan/1/loop/192.168.1.2"]


def test_an_overtaken_advert_is_only_stale(rig: Rig) -> None:
    peer = Peer()
    first, second, third = (peer.advert() for _ in range(3))
    rig.take("lan", first, third, second)
    assert rig.counters(LAN) == {"received": 2, "stale": 1, "transitions": 1}
    assert alarms(rig) == []


# --- over the sync link ------------------------------------------------------------------------------------

TWINS = (vip("lan", 7, "192.168.1.1/24"), vip("wan", 7, "198.51.100.1/24"))


def test_a_copy_on_the_sync_link_finds_its_virtual_host_by_the_digest(make_rig: MakeRig) -> None:
    rig, peer = make_rig(*TWINS).plugged(), Peer(*TWINS)
    lan, wan = ("lan", 7), ("wan", 7)
    rig.take("lan", peer.hello())
    rig.take("lan", peer.advert(lan))
    rig.take("wan", peer.advert(wan))
    rig.take("sync", peer.bow_out(wan, via="sync"))
    assert (rig.counters(lan)["received"], rig.counters(wan)["received"]) == (1, 2)
    assert rig.states() == {State.MASTER}, "a bow-out is of the whole group"


def test_a_forged_copy_on_the_sync_link_is_nobodys(make_rig: MakeRig) -> None:
    rig, forger = make_rig(*TWINS).plugged(), Peer(*(replace(each, password="other") for each in TWINS))
    rig.take("sync", forger.bow_out(("wan", 7), via="sync"))
    assert [rig.counters(key) for key in rig.station.hosts] == [{"transitions": 1}] * 2
    assert (moved(rig), alarms(rig)) == ([], [])


def test_only_the_sync_link_carries_copies_of_other_interfaces(rig: Rig) -> None:
    rig.take("lan", Peer().bow_out(WAN, via="lan"))
    assert rig.counters(WAN) == {"transitions": 1}


def test_who_has_bowed_out_is_not_handed_anything_until_it_is_heard_again(rig: Rig) -> None:
    peer, book = Peer(), rig.station.herald.peers
    rig.take("lan", peer.hello(), peer.advert(), peer.bow_out())
    assert book.has_left("fw2")
    rig.take("lan", peer.hello())
    assert not book.has_left("fw2")


# --- hellos ------------------------------------------------------------------------------------------------


def test_a_hello_is_taken_in_once_however_many_networks_carry_it(rig: Rig) -> None:
    peer = Peer()
    said = peer.hello()
    rig.take("lan", said)
    rig.take("wan", said)
    rig.take("sync", said)
    assert [fact.peer for fact in rig.ctx.events(PeerChanged)] == ["fw2"]
    assert rig.station.herald.known_sources == {f"{net}{PEER}" for net in ("192.168.1.", "198.51.100.", "172.16.1.")}


def test_copies_of_a_hello_are_not_even_authenticated(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assembler, fed = rig.station.herald.assembler, []
    feed = assembler.feed
    monkeypatch.setattr(assembler, "feed", lambda payload: fed.append(payload) or feed(payload))
    said = Peer().hello()
    for name in ("lan", "wan", "sync"):
        rig.take(name, said)
    assert len(fed) == 1


def test_a_hello_that_says_nothing_new_keeps_the_peer_alive_and_is_no_news(rig: Rig) -> None:
    peer = Peer()
    for _ in range(5):
        rig.take("lan", peer.hello())
        rig.now += 2
        assert not rig.station.herald.peers.expire(rig.now)
    assert len(rig.ctx.events(PeerChanged)) == 1


def test_a_hello_proves_itself(rig: Rig) -> None:
    peer = Peer()
    payload = wire.parse_ipv4(peer.hello()[14:]).payload
    for forged in (
        framed(payload, peer.source("lan"), ttl=254),
        framed(payload, f"192.168.1.{ME}"),
        framed(payload[:-1] + bytes((payload[-1] ^ 1,)), peer.source("lan")),
        framed(payload[:40], peer.source("lan")),
        Peer(password="other").hello(),
        Peer(name="fw1").hello(),
    ):
        rig.take("lan", forged)
    assert rig.ctx.events(PeerChanged) == []
    rig.take("lan", framed(payload, peer.source("lan")))
    assert [fact.peer for fact in rig.ctx.events(PeerChanged)] == ["fw2"], "the same bytes, unforged"


def test_an_old_hello_is_not_news(rig: Rig) -> None:
    peer = Peer()
    sick = peer.hello(demotion=240)
    rig.take("lan", sick, peer.hello())
    rig.station.herald._recent.clear()
    rig.take("lan", sick)
    assert [view.demotion for view in rig.station.herald.peers.views()] == [0]


# --- ARP ---------------------------------------------------------------------------------------------------


def test_an_answer_to_a_probe_is_noted_and_nobody_elses(rig: Rig) -> None:
    station = rig.station
    station.answered = {"192.168.1.3": -1.0}
    for address in ("192.168.1.3", "192.168.1.77"):
        frame = frames.gratuitous_arp(STRANGER_MAC, IPv4Address(address))
        reception.take_arp(station, station.ports["lan"], frame, rig.now)
    assert station.answered == {"192.168.1.3": rig.now}


def test_a_claim_to_a_virtual_address_is_named_by_the_master_only_and_not_for_the_virtual_mac(rig: Rig) -> None:
    station, port = rig.station, rig.station.ports["lan"]
    claim = frames.gratuitous_arp(STRANGER_MAC, IPv4Address("192.168.1.1"))
    reception.take_arp(station, port, claim, rig.now)
    assert alarms(rig) == [], "a BACKUP does not know who is right"
    rig.master()
    reception.take_arp(
        station, port, frames.gratuitous_arp(bytes.fromhex("00005e000101"), IPv4Address("192.168.1.1")), rig.now
    )
    assert alarms(rig) == []
    reception.take_arp(station, port, claim, rig.now)
    assert alarms(rig) == ["carp/lan/1/duplicate/02:66:66:66:66:66"]


def test_a_claim_on_another_interface_is_not_about_us(rig: Rig) -> None:
    rig.master()
    claim = frames.gratuitous_arp(STRANGER_MAC, IPv4Address("192.168.1.1"))
    reception.take_arp(rig.station, rig.station.ports["wan"], claim, rig.now)
    assert alarms(rig) == []


def test_a_claim_is_read_from_its_sender_fields() -> None:
    claim = frames.gratuitous_arp(STRANGER_MAC, IPv4Address("192.168.1.1"))
    assert reception.parse_claim(claim) == ("02:66:66:66:66:66", "192.168.1.1")
    assert reception.parse_claim(claim[:41]) is None
    assert (
        reception.parse_claim(frames.arp_request(STRANGER_MAC, IPv4Address("0.0.0.0"), IPv4Address("192.168.1.1")))
        is None
    )


# --- nonsense ----------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=st.binary(max_size=120), interface=st.sampled_from(["lan", "sync"]), family=st.sampled_from([4, 6]))
def test_random_frames_never_raise_and_never_move_anything(rig: Rig, frame: bytes, interface: str, family: int) -> None:
    port = next(port for port in rig.station.all_ports() if port.name == interface)
    reception.take_frame(rig.station, port, frame, family, rig.now)
    reception.take_arp(rig.station, port, frame, rig.now)
    assert moved(rig) == []
    assert rig.counters(LAN) == {"transitions": 1}


def test_damaged_adverts_and_hellos_never_raise_and_never_move_a_role(rig: Rig) -> None:
    dice, peer = random.Random(112), Peer()
    rig.take("lan", peer.hello(), peer.advert(), peer.advert())
    for _ in range(2000):
        whole = dice.choice([peer.advert, peer.bow_out, peer.hello])()
        payload = bytearray(wire.parse_ipv4(whole[14:]).payload)
        for bit in dice.sample(range(64, 8 * len(payload)), dice.randint(1, 4)):
            payload[bit // 8] ^= 1 << bit % 8
        damaged = summed(bytes(payload[: dice.choice([len(payload), dice.randrange(len(payload))])]).ljust(8, b"\0"))
        rig.take(dice.choice(["lan", "sync"]), framed(damaged, peer.source("lan")))
    assert moved(rig) == []
    assert rig.counters(LAN)["received"] == 2
    assert rig.counters(LAN)["bad_auth"] > 100
