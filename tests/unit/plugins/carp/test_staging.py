"""Staged changes of a station: who is waited for, what is put in force together, what a restart remembers."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_interface

import pytest

from appliance.events import Alarm, RoleChanged
from appliance_carp.hello import HelloKey
from appliance_carp.host import VirtualHost
from appliance_carp.ledger import Ledger
from appliance_carp.settings import VipSettings
from appliance_carp.staging import ALARM_S, FILE, LISTEN_S, remembered_passwords, successors
from appliance_carp.station import LINGER_S
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import LAN, PASSWORD, VIPS, Peer, Rig, adverts_in, carp, hellos_in, vip

MakeRig = Callable[..., Rig]
ALIAS = ip_interface("192.168.1.9/24")
MORE = replace(VIPS[0], aliases=(ALIAS,))
SECRET = replace(VIPS[0], password="other")
VHID = replace(VIPS[0], vhid=7)
NEW_LAN = ("lan", 7)


def take(rig: Rig, *vips: VipSettings) -> None:
    rig.station.reconfigure(carp(*vips, VIPS[1]), rig.now)


def stage(peer: Peer, *vips: VipSettings, now: float) -> None:
    """The other node gets a configuration."""
    for key, settings in successors(peer.hosts, [*vips, VIPS[1]]).items():
        peer.hosts[key].propose(settings, now)


def is_open(rig: Rig) -> bool:
    return bool(rig.station.staging.staged)


@pytest.fixture
def peer(rig: Rig) -> Peer:
    rig.master()
    heard = Peer()
    rig.take("lan", heard.hello())
    return heard


@pytest.mark.parametrize("changed", [MORE, SECRET, VHID])
def test_a_change_is_in_force_when_the_peer_has_staged_it_and_no_role_moves(
    rig: Rig, peer: Peer, changed: VipSettings
) -> None:
    transitions = rig.counters(LAN)["transitions"]
    take(rig, changed)
    assert rig.station.hosts[LAN].settings == VIPS[0]
    assert rig.station.staging.waiting == {"fw2": "has not got it yet"}
    assert rig.station.herald.peers.views()[0].alive
    (said,) = hellos_in(sent_hello(rig))
    assert [(offer.key, offer.edition, offer.staged) for offer in said.offers] == [(LAN, changed.edition, True)]
    stage(peer, changed, now=rig.now)
    rig.take("lan", peer.hello())
    assert not is_open(rig)
    (host,) = (each for each in rig.station.hosts.values() if each.settings.name == "lan")
    assert (host.settings, host.counters["transitions"]) == (changed, transitions)
    assert rig.states() == {State.MASTER}
    rig.pass_time(1.1)
    # The peer has not switched and is understood; what we say now it understands, too.
    rig.take("lan", peer.advert(advskew=200))
    assert (host.counters["received"], host.counters["bad_auth"]) == (1, 0)
    heard = adverts_in(rig.sockets("lan")[0].sent)[-1]
    assert peer.hosts[LAN].authenticates(heard) is peer.hosts[LAN].voices[changed.edition]


def sent_hello(rig: Rig) -> list[bytes]:
    sent = rig.sockets("lan")[0].sent
    sent.clear()
    rig.station.herald.send_hellos()
    return sent


def test_another_vhid_moves_the_addresses_to_its_virtual_mac_which_forwards_a_while(rig: Rig, peer: Peer) -> None:
    take(rig, VHID)
    stage(peer, VHID, now=rig.now)
    rig.kernel.journal.clear()
    rig.take("lan", peer.hello())
    assert (NEW_LAN in rig.station.vmacs, LAN in rig.station.vmacs) == (True, False)
    journal = rig.kernel.journal
    opened = journal.index("lift lan0.v7")
    assert opened < journal.index("address - 192.168.1.1/24 lan0.v1")
    assert "link - lan0.v1" not in journal
    roles = [(event.vhid, event.role) for event in rig.ctx.events(RoleChanged)[-2:]]
    assert roles == [(7, "MASTER"), (1, "REMOVED")]
    rig.station.remove_lingering(rig.now + LINGER_S)
    assert "link - lan0.v1" in journal


def test_a_virtual_mac_that_is_needed_again_does_not_go(rig: Rig, peer: Peer) -> None:
    for settings in (VHID, VIPS[0]):
        take(rig, settings)
        stage(peer, settings, now=rig.now)
        rig.take("lan", peer.hello())
        for host in peer.hosts.values():
            if host.transaction.is_open:
                host.switch(rig.now)
        peer.hosts = {host.vhid_key: host for host in peer.hosts.values()}
        rig.take("lan", peer.hello())
    assert rig.station.vmacs[LAN].is_open
    rig.kernel.journal.clear()
    rig.station.remove_lingering(rig.now + LINGER_S)
    assert [line for line in rig.kernel.journal if line.startswith("link -")] == ["link - lan0.v7"]
    assert rig.states() == {State.MASTER}


def test_another_vhid_of_a_backup_closes_the_former_virtual_mac_at_once(make_rig: MakeRig) -> None:
    rig = make_rig().plugged()
    peer = Peer()
    rig.take("lan", peer.hello(state=State.MASTER), peer.advert())
    take(rig, VHID)
    stage(peer, VHID, now=rig.now)
    rig.take("lan", peer.hello(state=State.MASTER))
    assert rig.state(NEW_LAN) is State.BACKUP
    assert "link - lan0.v1" in rig.kernel.journal
    assert not any(line.startswith(("lift lan0.v7", "address +")) for line in rig.kernel.journal)
    rig.pass_time(2.5)
    rig.take("lan", peer.advert())
    rig.pass_time(2.5)
    assert rig.state(NEW_LAN) is State.BACKUP, "what the master still says under the former VHID counts"


def test_all_changes_go_together(rig: Rig, peer: Peer) -> None:
    moved = [replace(VIPS[1], password="third")]
    rig.station.reconfigure(carp(MORE, *moved), rig.now)
    stage(peer, MORE, now=rig.now)
    rig.take("lan", peer.hello())
    assert len(rig.station.staging.staged) == 2


def test_a_revert_leaves_everything_as_it_was(rig: Rig, peer: Peer) -> None:
    take(rig, MORE)
    rig.kernel.journal.clear()
    take(rig, VIPS[0])
    stage(peer, MORE, now=rig.now)
    rig.take("lan", peer.hello())
    assert (is_open(rig), rig.kernel.journal, rig.station.staging.waiting) == (False, [], {})


def test_a_peer_that_is_away_is_waited_for_with_an_alarm_unless_forced(rig: Rig, peer: Peer) -> None:
    rig.pass_time(LISTEN_S)
    rig.station.herald.peers.died("fw2")
    take(rig, MORE)
    assert rig.station.staging.waiting == {"fw2": "is away"}
    rig.station.staging.beat(rig.now + ALARM_S + 1)
    assert rig.station.herald.alarms.standing
    assert "waits for fw2, which is away" in rig.ctx.events(Alarm)[-1].what
    assert rig.station.staging.consider(rig.now, force=True)
    assert rig.station.hosts[LAN].settings == MORE
    assert not rig.ctx.events(Alarm)[-1].active


def test_a_peer_that_is_away_is_not_waited_for_when_the_configuration_says_so(rig: Rig, peer: Peer) -> None:
    rig.pass_time(LISTEN_S)
    rig.station.herald.peers.died("fw2")
    rig.station.reconfigure(carp(MORE, VIPS[1], on_absent_peer="force"), rig.now)
    assert not is_open(rig)


def test_a_returning_peer_is_spoken_to_in_the_former_edition_until_it_has_the_new_one(rig: Rig, peer: Peer) -> None:
    rig.station.herald.peers.died("fw2")
    take(rig, SECRET)
    rig.station.staging.consider(rig.now, force=True)
    rig.take("lan", peer.hello())
    rig.pass_time(1.1)
    assert peer.hosts[LAN].authenticates(adverts_in(rig.sockets("lan")[0].sent)[-1])
    stage(peer, SECRET, now=rig.now)
    rig.take("lan", peer.hello())
    rig.pass_time(1.1)
    voice = peer.hosts[LAN].authenticates(adverts_in(rig.sockets("lan")[0].sent)[-1])
    assert voice is peer.hosts[LAN].voices[SECRET.edition]


def test_a_restart_goes_on_with_what_was_in_force(make_rig: MakeRig, rig: Rig, peer: Peer) -> None:
    take(rig, SECRET)
    path = rig.ctx.state_dir / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = restarted(make_rig, rig, SECRET)
    assert again.station.hosts[LAN].settings == VIPS[0]
    again.station.staging.consider(again.now)
    assert again.station.staging.waiting == {"fw2": "is away"}
    stage(peer, SECRET, now=rig.now)
    again.take("lan", peer.hello())
    assert again.station.hosts[LAN].settings == SECRET


def test_a_restart_with_another_vhid_keeps_the_former_one(make_rig: MakeRig, rig: Rig, peer: Peer) -> None:
    take(rig, VHID)
    again = restarted(make_rig, rig, VHID)
    assert set(again.station.hosts) == {LAN, ("wan", 2)}
    # Unless somebody else has it by now.
    both = restarted(make_rig, rig, VHID, vip("two", 1, "192.168.1.5/24", interface="lan"))
    assert set(both.station.hosts) == {LAN, NEW_LAN, ("wan", 2)}


def test_a_node_that_never_heard_another_one_starts_with_its_configuration(make_rig: MakeRig, rig: Rig) -> None:
    take(rig, MORE)
    assert not is_open(rig)
    assert restarted(make_rig, rig, SECRET).station.hosts[LAN].settings == SECRET


def test_a_restart_speaks_under_the_former_keys_of_hellos_too(make_rig: MakeRig, rig: Rig, peer: Peer) -> None:
    again = make_rig(*VIPS, password="other", now=rig.now).plugged()
    again.take("lan", peer.hello())
    assert [view.name for view in again.station.herald.peers.views()] == ["fw2"]
    assert again.station.herald.keys.spoken == (HelloKey("other"), HelloKey(PASSWORD))
    again.take("lan", Peer(password="other").hello(incarnation=2))
    again.station.staging.beat(again.now)
    once_more = make_rig(*VIPS, password="other", now=rig.now)
    assert once_more.station.herald.keys.spoken == (HelloKey("other"),)


def test_passwords_in_force_are_remembered_by_name(rig: Rig, peer: Peer) -> None:
    take(rig, SECRET)
    assert remembered_passwords(rig.ctx.state_dir) == {("lan", "lan"): PASSWORD, ("wan", "wan"): PASSWORD}
    assert remembered_passwords(rig.ctx.state_dir / "none") == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99, "mates": ["fw2"]}'])
def test_a_file_that_cannot_be_read_is_no_file(make_rig: MakeRig, rig: Rig, text: str) -> None:
    (rig.ctx.state_dir / FILE).write_text(text)
    assert restarted(make_rig, rig, SECRET).station.hosts[LAN].settings == SECRET


def restarted(make_rig: MakeRig, rig: Rig, *vips: VipSettings) -> Rig:
    """Another process with the same state directory, some time later."""
    again = make_rig(*vips, VIPS[1], now=rig.now).plugged()
    again.now += LISTEN_S + 1
    return again


def test_exchanged_vhids_exchange_the_contents_and_a_free_one_is_a_change_of_vhid() -> None:
    one, two = vip("one", 1, "192.168.1.1/24", interface="lan"), vip("two", 2, "192.168.1.2/24", interface="lan")
    hosts = {each.key: VirtualHost(each, 0, Ledger()) for each in (one, two)}
    exchanged = [replace(one, vhid=2), replace(two, vhid=1)]
    assert successors(hosts, exchanged) == {("lan", 1): exchanged[1], ("lan", 2): exchanged[0]}
    moved = [replace(one, vhid=3), two]
    assert successors(hosts, moved) == {("lan", 1): moved[0], ("lan", 2): two}
    assert successors(hosts, [two, replace(one, vhid=3, name="other")]) == {("lan", 2): two}
