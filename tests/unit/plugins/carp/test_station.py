"""How a station performs what its machine decides: in order, on the right interface, with the right MAC."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from appliance.events import Role, RoleChanged
from appliance.net import frames
from appliance_carp import guard as guarding
from appliance_carp.host import PARDON_S, SEND_ERRORS_MAX
from appliance_carp.settings import VipSettings
from appliance_carp.station import SEND_ERROR_WEIGHT, Station
from appliance_carp.vocabulary import Activate, Count, Deactivate, Note, SendAdvert, State
from tests.unit.plugins.carp.fakes import (
    DUAL,
    LAN,
    VIPS,
    WAN,
    PaperKernel,
    PaperRaw,
    Peer,
    Rig,
    adverts_in,
    carp,
    vip,
)

MakeRig = Callable[..., Rig]


def sent(rig: Rig, interface: str) -> list[tuple[int, int]]:
    """(advbase, advskew) of the adverts on an interface; forgets them."""
    ipv4, ipv6, _ = rig.sockets(interface)
    said = [(advert.advbase, advert.advskew) for advert in adverts_in(ipv4.sent + ipv6.sent)]
    ipv4.sent.clear()
    ipv6.sent.clear()
    return said


# --- building ----------------------------------------------------------------------------------------------


def test_a_sync_interface_that_carries_virtual_hosts_is_one_port(make_rig: MakeRig) -> None:
    station = make_rig().station
    assert station.sync_port(station.settings.ports[0]) is station.ports["lan"]
    station.sync = station.ports["lan"]
    assert [port.name for port in station.all_ports()] == ["lan", "wan"]


def test_without_a_sync_link_there_are_only_the_carp_ports(make_rig: MakeRig) -> None:
    rig = make_rig(sync=False)
    assert (rig.station.sync, [port.name for port in rig.station.all_ports()]) == (None, ["lan", "wan"])


def test_every_virtual_host_has_a_slot_of_its_own_and_a_freed_one_is_used_again(rig: Rig) -> None:
    station = rig.station
    assert [host.slot for host in station.hosts.values()] == [0, 1]
    station.reconfigure(carp(VIPS[1]), rig.now)
    station.reconfigure(carp(VIPS[1], vip("two", 5, "192.168.1.5/24", interface="lan")), rig.now)
    assert {key: host.slot for key, host in station.hosts.items()} == {WAN: 1, ("lan", 5): 0}


def test_as_many_virtual_hosts_as_are_allowed_can_all_be_exchanged_at_once(make_rig: MakeRig) -> None:
    def many(prefix: str) -> list[VipSettings]:
        return [vip(f"{prefix}{n}", n % 255 + 1, "10.0.0.1/8", interface=f"{prefix}{n // 255}") for n in range(1024)]

    rig = make_rig(*many("a"), ports=(), sync=False)
    rig.station.reconfigure(carp(*many("b"), ports=(), sync=False), rig.now)
    slots = {host.slot for host in rig.station.hosts.values()}
    assert len(slots) == 1024
    for host in rig.station.hosts.values():
        host.ledger.record(host.slot, master=True)


def test_who_holds_an_address_depends_on_the_interface(rig: Rig) -> None:
    assert rig.station.holder("lan", "192.168.1.1") is rig.station.hosts[LAN]
    assert rig.station.holder("wan", "192.168.1.1") is None


def test_virtual_macs_are_made_closed_above_their_parent(rig: Rig) -> None:
    links = {link.name: link for link in rig.kernel.route.dump_links()}
    assert {name: (link.mac, link.parent_index, link.alias) for name, link in links.items() if link.kind} == {
        "lan0.v1": ("00:00:5e:00:01:01", 2, "carp lan@1"),
        "wan0.v2": ("00:00:5e:00:01:02", 3, "carp wan@2"),
    }
    assert rig.kernel.filter.closed == {"lan0.v1", "wan0.v2"}


# --- effects -----------------------------------------------------------------------------------------------


def test_becoming_master_opens_first_then_speaks_and_tells(rig: Rig) -> None:
    rig.master()
    assert rig.kernel.filter.closed == set()
    assert {str(each.address) for each in rig.kernel.route.addresses} >= {"192.168.1.1", "198.51.100.1"}
    assert [rig.station.ledger.is_master(host.slot) for host in rig.station.hosts.values()] == [True, True]
    assert [(event.interface, event.role, event.reason) for event in rig.ctx.events(RoleChanged)][-2:] == [
        ("lan", Role.MASTER, "master timed out"),
        ("wan", Role.MASTER, "master timed out"),
    ]


def test_leaving_closes_and_the_ledger_knows(rig: Rig) -> None:
    rig.master()
    rig.station.perform([Deactivate(LAN)])
    assert rig.kernel.filter.closed == {"lan0.v1"}
    assert not rig.station.ledger.is_master(rig.station.hosts[LAN].slot)
    assert rig.station.ledger.is_master(rig.station.hosts[WAN].slot)


def test_releasing_is_told_as_backup_and_only_once(rig: Rig) -> None:
    rig.master()
    rig.ctx.published.clear()
    rig.station.perform(rig.machine.resign(rig.now, reason="asked"))
    rig.pass_time(0.1)
    assert [(event.vhid, event.role) for event in rig.ctx.events(RoleChanged)] == [(1, Role.BACKUP), (2, Role.BACKUP)]
    assert rig.states() == {State.BACKUP}


def test_adverts_carry_the_virtual_mac_and_parting_ones_the_cards(rig: Rig) -> None:
    ipv4 = rig.sockets("lan")[0]
    rig.station.perform([SendAdvert(LAN, 4, 1, 0, 0), SendAdvert(LAN, 4, 1, 0, 0, parting=True)])
    assert [frames.mac_text(frame[6:12]) for frame in ipv4.sent] == ["00:00:5e:00:01:01", rig.station.ports["lan"].mac]


def test_copies_go_over_the_sync_link_too_or_only_there(rig: Rig) -> None:
    rig.station.perform([SendAdvert(LAN, 4, 255, 255, 0, copy_to_sync=True)])
    assert (sent(rig, "lan"), sent(rig, "sync")) == ([(255, 255)], [(255, 255)])
    rig.station.perform([SendAdvert(LAN, 4, 255, 254, 0, only_sync=True)])
    assert (sent(rig, "lan"), sent(rig, "sync")) == ([], [(255, 254)])
    rig.station.perform([SendAdvert(LAN, 4, 1, 0, 0)])
    assert (sent(rig, "lan"), sent(rig, "sync")) == ([(1, 0)], [])


def test_a_copy_is_understood_by_the_peer_as_it_is(rig: Rig) -> None:
    rig.station.perform([SendAdvert(LAN, 4, 255, 255, 0, copy_to_sync=True)])
    host = Peer().hosts[LAN]
    assert [host.authenticates(advert) for advert in adverts_in(rig.sockets("sync")[0].sent)] == [host.voice]


def test_every_unicast_peer_is_sent_to_whatever_became_of_the_one_before(make_rig: MakeRig) -> None:
    peers = (ip_address("10.0.0.1"), ip_address("10.0.0.2"), ip_address("2001:db8::3"))
    rig = make_rig(replace(DUAL, peers=peers), VIPS[1]).plugged()
    sockets = rig.station.ports["lan"].sockets
    assert sockets is not None
    raw: PaperRaw = sockets.unicast[4]  # type: ignore[assignment]
    rig.station.perform([SendAdvert(LAN, 4, 1, 0, 0)])
    assert [to for _, to in raw.sent] == ["10.0.0.1", "10.0.0.2"]
    assert sent(rig, "lan") == [], "nothing is multicast"
    raw.error = errno.ENETUNREACH
    rig.station.perform([SendAdvert(LAN, 4, 1, 0, 0)])
    assert rig.counters(LAN)["send_errors"] == 1


def test_a_sender_that_fails_demotes_the_node_and_one_that_works_again_ends_it(rig: Rig) -> None:
    ipv4 = rig.sockets("lan")[0]
    ipv4.error = errno.ENOBUFS
    for _ in range(SEND_ERRORS_MAX):
        assert rig.station.reasons == {}
        rig.station.perform([SendAdvert(LAN, 4, 1, 0, 0)])
    assert rig.station.reasons == {"send:lan": SEND_ERROR_WEIGHT}
    ipv4.error = 0
    for _ in range(SEND_ERRORS_MAX):
        rig.station.perform([SendAdvert(LAN, 4, 1, 0, 0)])
    assert rig.station.reasons == {}


def fails(rig: Rig) -> None:
    """A MASTER whose adverts on the LAN the kernel does not take."""
    rig.master()
    rig.sockets("lan")[0].error = errno.ENOBUFS
    for _ in range(SEND_ERRORS_MAX):
        rig.station.perform([SendAdvert(LAN, 4, 1, 0, 0)])


def test_a_backup_that_once_failed_to_send_is_not_demoted_for_ever(rig: Rig) -> None:
    fails(rig)
    assert rig.station.reasons == {"send:lan": SEND_ERROR_WEIGHT}
    rig.station.pardon_senders(rig.now)
    rig.station.pardon_senders(rig.now + 2 * PARDON_S)
    assert rig.station.reasons == {"send:lan": SEND_ERROR_WEIGHT}, "a MASTER shows by itself when it can send again"
    rig.station.perform(rig.machine.resign(rig.now, reason="demoted"))
    rig.pass_time(1)
    rig.station.pardon_senders(rig.now)
    rig.station.pardon_senders(rig.now + PARDON_S)
    assert rig.station.reasons == {}


def test_a_virtual_host_that_is_removed_takes_its_demotion_along(rig: Rig) -> None:
    fails(rig)
    rig.station.reconfigure(carp(VIPS[1]), rig.now)
    assert rig.station.reasons == {}


def test_an_effect_for_what_is_gone_is_no_error(rig: Rig) -> None:
    rig.station.detach_hosts(rig.station.ports["lan"])
    rig.station.perform([Activate(LAN), Deactivate(LAN), SendAdvert(("lan", 9), 4, 1, 0, 0)])
    assert not rig.station.ledger.is_master(rig.station.hosts[LAN].slot)
    assert "lan0.v1" not in [line.split()[-1] for line in rig.kernel.journal if line.startswith("lift")]


def test_counts_and_notes_are_kept(rig: Rig) -> None:
    rig.station.perform([Count(LAN, "reasserted"), Count(LAN, "reasserted"), Note("late_timer", {"by": 3})])
    assert rig.counters(LAN)["reasserted"] == 2
    assert rig.ctx.log.named("late_timer") == [{"by": 3}]


# --- last words --------------------------------------------------------------------------------------------


def test_a_goodbye_speaks_for_each_family_and_over_the_sync_link_with_newer_stamps(make_rig: MakeRig) -> None:
    rig = make_rig(DUAL, VIPS[1]).plugged().master()
    before = rig.station.hosts[LAN].stamper.sequence
    sent(rig, "lan")
    sent(rig, "sync")
    for send in rig.station.say_goodbye(LAN, before + 1000):
        send()
    ipv4, ipv6, _ = rig.sockets("lan")
    said = adverts_in([*ipv4.sent, *ipv6.sent])
    assert min(advert.counter >> 24 for advert in said) > before + 1000
    assert (sent(rig, "lan"), sent(rig, "sync")) == ([(255, 255)] * 2, [(255, 255)] * 2)


def test_a_port_without_its_device_has_no_goodbye(rig: Rig) -> None:
    rig.station.ports["lan"].detach()
    assert rig.station.say_goodbye(LAN, 1) == []


def test_a_new_guard_is_there_before_the_old_one_goes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    wards: list[guarding.Ward] = []

    class Recorded:
        def __init__(self, name: str) -> None:
            self.name = name

        def dismiss(self) -> None:
            order.append(f"{self.name} dismissed")

    def start(ledger: object, made: list[guarding.Ward], devices: list[str], keep: list[int]) -> Any:
        order.append(f"started for {sorted(devices)}")
        wards[:] = made
        assert set(keep) >= {socket.fileno() for name in ("lan", "wan", "sync") for socket in rig.sockets(name)}
        return Recorded(f"guard {len(order)}")

    monkeypatch.setattr(guarding, "start", start)
    rig.station.renew_guard()
    rig.station.renew_guard()
    devices = "['lan0', 'sync0', 'wan0']"
    assert order == [f"started for {devices}", f"started for {devices}", "guard 1 dismissed"]
    assert [(ward.slot, ward.vmac.device) for ward in wards] == [(0, "lan0.v1"), (1, "wan0.v2")]
    assert rig.station.ledger.last_beat > 0, "a new guard does not find an old beat"


# --- changing ----------------------------------------------------------------------------------------------


def test_the_same_settings_again_change_nothing(rig: Rig) -> None:
    rig.master()
    before = (list(rig.kernel.journal), len(rig.ctx.published), rig.station.hosts[LAN].voice.key)
    rig.station.reconfigure(carp(), rig.now)
    assert (rig.kernel.journal, len(rig.ctx.published), rig.station.hosts[LAN].voice.key) == before


def test_an_added_address_is_announced_alone_and_keeps_the_role(rig: Rig) -> None:
    rig.master()
    more = replace(VIPS[0], aliases=(ip_interface("192.168.1.9/24"),))
    rig.kernel.journal.clear()
    arp = rig.sockets("lan")[2]
    arp.sent.clear()
    rig.station.reconfigure(carp(more, VIPS[1]), rig.now)
    (line,) = rig.kernel.journal
    assert line.startswith("address + 192.168.1.9/")
    assert [str(parsed.sender_ip) for frame in arp.sent if (parsed := frames.parse_arp(frame))] == ["192.168.1.9"]
    assert rig.states() == {State.MASTER}
    assert rig.station.holder("lan", "192.168.1.9") is rig.station.hosts[LAN]


def test_a_removed_host_says_goodbye_closes_and_is_forgotten(rig: Rig) -> None:
    rig.master()
    sent(rig, "wan")
    rig.station.reconfigure(carp(VIPS[0]), rig.now)
    assert sent(rig, "wan") == [(255, 254)]
    assert rig.kernel.journal[-2:] == ["link - wan0.v2", "lift wan0.v2"], "its name is not left in the set"
    assert (list(rig.station.hosts), list(rig.station.vmacs)) == ([LAN], [LAN])
    assert rig.ctx.events(RoleChanged)[-1].role is Role.REMOVED
    assert rig.state(LAN) is State.MASTER


def test_another_password_is_taken_over_everywhere(rig: Rig) -> None:
    changed = [replace(each, password="other") for each in VIPS]
    rig.station.reconfigure(carp(*changed, password="other"), rig.now)
    rig.take("lan", Peer(*changed, password="other").hello(), Peer(*changed).advert())
    assert [view.name for view in rig.station.herald.peers.views()] == ["fw2"]
    assert rig.counters(LAN)["received"] == 1


def test_a_station_needs_no_device_to_be_built(kernel: PaperKernel, make_rig: MakeRig) -> None:
    station: Station = make_rig().station
    station.perform(station.machine.start(100.0))
    assert [report.state for report in station.machine.reports()] == [State.INIT, State.INIT]
    assert kernel.journal == []
