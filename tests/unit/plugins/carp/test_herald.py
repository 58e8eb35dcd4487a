"""What a node tells the bus and the other nodes, what it withdraws, and that nobody can make it shout."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.events import Alarm, Demotion, Health, PeerChanged, Status
from appliance.net import frames
from appliance_carp import hello
from appliance_carp import herald as module
from appliance_carp.alarms import Trouble
from appliance_carp.herald import ANNOUNCE_AGAIN_S, CLAIM_FORGOTTEN_S, CLAIMANTS_MAX, REANNOUNCE_MAX, is_own_reason
from appliance_carp.peers import SILENT_S
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import DUAL, LAN, SUBNETS, VIPS, Peer, Rig, adverts_in, hellos_in

MakeRig = Callable[..., Rig]
STRANGER = "02:66:66:66:66:66"


def demotions(rig: Rig) -> list[tuple[str, int]]:
    said = [(event.reason, event.weight) for event in rig.ctx.events(Demotion)]
    rig.ctx.published.clear()
    return said


def announcements(rig: Rig, interface: str = "lan") -> int:
    return len(rig.sockets(interface)[2].sent)


# --- demotion ----------------------------------------------------------------------------------------------


def test_own_reasons_are_published_once_and_withdrawn(rig: Rig) -> None:
    rig.station.perform(rig.machine.set_link("wan", False, rig.now))
    rig.station.herald.publish_demotion()
    assert demotions(rig) == [("link:wan", 240)]
    rig.station.herald.publish_demotion()
    assert demotions(rig) == []
    rig.station.perform(rig.machine.set_link("wan", True, rig.now))
    rig.station.herald.publish_demotion()
    assert demotions(rig) == [("link:wan", 0)]


def test_reasons_of_other_services_are_theirs_to_publish(rig: Rig) -> None:
    rig.station.perform(rig.machine.set_reasons({"gateway": 100, "send:lan": 240}, rig.now))
    rig.station.perform(rig.machine.set_maintenance(True, rig.now))
    rig.station.herald.publish_demotion()
    assert sorted(demotions(rig)) == [("maintenance", 240), ("send:lan", 240)]
    assert set(rig.station.herald.since) == {"gateway", "send:lan", "maintenance"}, "shown are all"


def test_a_reason_keeps_the_time_since_when_it_stands(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    walls = iter([1000.0, 2000.0, 3000.0])
    monkeypatch.setattr(module.time, "time", lambda: next(walls))
    herald = rig.station.herald
    rig.station.perform(rig.machine.set_reasons({"gateway": 100}, rig.now))
    herald.publish_demotion()
    rig.station.perform(rig.machine.set_reasons({"gateway": 50, "disk": 1}, rig.now))
    herald.publish_demotion()
    assert herald.since == {"gateway": 1000.0, "disk": 2000.0}
    rig.station.perform(rig.machine.set_reasons({}, rig.now))
    herald.publish_demotion()
    assert herald.since == {}


def test_a_changed_demotion_is_told_to_the_peers_at_once(rig: Rig) -> None:
    rig.station.herald.send_hellos()
    assert not rig.station.herald.hello_due
    rig.station.perform(rig.machine.set_maintenance(True, rig.now))
    rig.station.herald.publish_demotion()
    assert rig.station.herald.hello_due


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("link:lan", True),
        ("send:wan", True),
        ("maintenance", True),
        ("gateway", False),
        ("linked", False),
    ],
)
def test_which_reasons_are_our_own(name: str, own: bool) -> None:
    assert is_own_reason(name) is own


# --- the status line ---------------------------------------------------------------------------------------


def status(rig: Rig) -> Status:
    rig.ctx.published.clear()
    rig.station.herald.publish_status()
    (said,) = rig.ctx.events(Status)
    return said


def test_the_status_line_is_published_when_it_changes(rig: Rig) -> None:
    assert status(rig) == Status(summary="MASTER of 0 of 2 virtual hosts")
    rig.station.herald.publish_status()
    assert len(rig.ctx.events(Status)) == 1
    rig.master()
    assert rig.station.herald.status_due
    assert status(rig) == Status(summary="MASTER of 2 of 2 virtual hosts")
    assert not rig.station.herald.status_due


def test_the_status_line_says_what_keeps_it_from_serving_and_how_to_end_it(rig: Rig) -> None:
    rig.master()
    rig.station.perform(rig.machine.set_link("wan", False, rig.now))
    assert status(rig) == Status(health=Health.WARN, summary="MASTER of 1 of 2 virtual hosts; 1 without link")
    rig.station.perform(rig.machine.resign(rig.now, reason="asked"))
    assert status(rig).summary.endswith("handed over on request ('ha enable' lets it come back)")
    assert status_after(rig, maintenance=True) == (Health.WARN, "in maintenance ('ha maintenance off' ends it)")
    assert status_after(rig, enabled=False) == (Health.WARN, "disabled by command ('ha enable' ends it)")


def status_after(rig: Rig, **flags: bool) -> tuple[Health, str]:
    for name, value in flags.items():
        setattr(rig.station, name, value)
    said = status(rig)
    return said.health, said.summary.partition("; ")[2]


# --- hellos ------------------------------------------------------------------------------------------------


def test_a_hello_tells_roles_flags_demotion_and_addresses(rig: Rig) -> None:
    rig.master()
    rig.station.maintenance = True
    rig.station.perform(rig.machine.set_reasons({"gateway": 100}, rig.now))
    rig.station.herald.send_hellos()
    (said,) = hellos_in(rig.sockets("lan")[0].sent)
    assert (said.node, said.incarnation, said.demotion, said.enabled, said.maintenance) == ("fw1", 1, 100, True, True)
    assert {each.key: each.state for each in said.vhids} == dict.fromkeys(rig.station.hosts, State.MASTER)
    assert said.sources == {name: (f"{net}2",) for name, net in SUBNETS.items()}


def test_every_hello_is_newer_than_the_one_before(rig: Rig) -> None:
    for _ in range(3):
        rig.station.herald.send_hellos()
    sequences = [said.sequence for said in hellos_in(rig.sockets("lan")[0].sent)]
    assert sequences == sorted(set(sequences))
    assert len(sequences) == 3


def test_a_hello_after_a_change_tells_the_new_roles(rig: Rig) -> None:
    rig.station.herald.send_hellos()
    rig.master()
    rig.station.herald.send_hellos()
    before, after = hellos_in(rig.sockets("sync")[0].sent)
    assert ({each.state for each in before.vhids}, {each.state for each in after.vhids}) == (
        {State.BACKUP},
        {State.MASTER},
    )


def test_hellos_go_everywhere_or_over_the_sync_link_alone(make_rig: MakeRig) -> None:
    rig = make_rig(hello="sync").plugged()
    rig.station.herald.send_hellos()
    assert [len(hellos_in(rig.sockets(name)[0].sent)) for name in ("lan", "wan", "sync")] == [0, 0, 1]


def test_no_hello_leaves_an_interface_without_link_or_address(rig: Rig) -> None:
    rig.station.ports["lan"].up = False
    rig.station.ports["wan"].learn_addresses([])
    rig.station.herald.send_hellos()
    assert [len(hellos_in(rig.sockets(name)[0].sent)) for name in ("lan", "wan", "sync")] == [0, 0, 1]


def test_hellos_carry_the_cards_own_mac_never_a_virtual_one(rig: Rig) -> None:
    rig.station.herald.send_hellos()
    (frame,) = rig.sockets("lan")[0].sent
    assert frames.mac_text(frame[6:12]) == rig.station.ports["lan"].mac


def test_another_password_is_another_voice_when_nobody_was_there(rig: Rig) -> None:
    rig.station.herald.take_secrets("other", ())
    rig.take("lan", Peer().hello())
    assert rig.ctx.events(PeerChanged) == []
    rig.take("lan", Peer(password="other").hello())
    assert len(rig.ctx.events(PeerChanged)) == 1
    rig.station.herald.send_hellos()
    assert len(hellos_in(rig.sockets("lan")[0].sent, "other")) == 1


def test_another_password_is_spoken_beside_the_former_one_until_every_peer_has_it(rig: Rig) -> None:
    herald, sent = rig.station.herald, rig.sockets("lan")[0].sent
    rig.take("lan", Peer().hello())
    herald.take_secrets("other", ())
    sent.clear()
    herald.send_hellos()
    assert len([hellos_in(sent[:1], "other"), hellos_in(sent[1:])]) == len(sent) == 2
    rig.take("lan", Peer().hello(incarnation=2))
    assert not herald.forget_keys()
    rig.take("lan", Peer(password="other").hello(incarnation=3))
    assert herald.forget_keys()
    assert herald.keys.accepted == (hello.HelloKey("other"),)
    assert len(rig.ctx.events(PeerChanged)) == 1, "it was never lost"


def test_the_key_of_the_pairing_takes_the_place_of_that_of_the_password(rig: Rig) -> None:
    rig.station.herald.take_secrets("password", (b"n" * 32, b"o" * 32))
    assert rig.station.herald.keys.accepted == (hello.HelloKey(b"n" * 32), hello.HelloKey(b"o" * 32))
    assert rig.station.herald.keys.spoken == (hello.HelloKey(b"n" * 32),)


def test_copies_are_known_and_the_memory_of_them_is_bounded(rig: Rig) -> None:
    herald = rig.station.herald
    assert [herald.is_copy(b"a"), herald.is_copy(b"a")] == [False, True]
    for number in range(10 * module.RECENT_MAX):
        herald.is_copy(number.to_bytes(4, "big"))
    assert len(herald._recent) <= module.RECENT_MAX


# --- peers -------------------------------------------------------------------------------------------------


def test_a_lost_peer_is_an_alarm_that_ends_when_it_speaks_again(rig: Rig) -> None:
    peer, herald = Peer(), rig.station.herald
    rig.take("lan", peer.hello())
    rig.now += SILENT_S + 0.1
    assert herald.peers.expire(rig.now)
    herald.peers_changed(rig.now)
    for _ in range(3):
        for name in herald.peers.silent():
            herald.raise_alarm(Trouble.PEER_LOST, rig.now, source=name)
    rig.take("lan", peer.hello())
    assert [(fact.alive, fact.healthy) for fact in rig.ctx.events(PeerChanged)] == [
        (True, True),
        (False, False),
        (True, True),
    ]
    assert [(alarm.key, alarm.active) for alarm in rig.ctx.events(Alarm)] == [
        ("carp/peer-lost/fw2", True),
        ("carp/peer-lost/fw2", False),
    ]


def test_the_election_hears_of_a_peer(rig: Rig) -> None:
    assert rig.machine.best_peer() is None
    rig.take("lan", Peer().hello())
    best = rig.machine.best_peer()
    assert best is not None
    assert best.name == "fw2"


# --- claims ------------------------------------------------------------------------------------------------


def claim(rig: Rig, mac: str = STRANGER) -> None:
    rig.station.herald.claimed_by_stranger(rig.station.hosts[LAN], "192.168.1.1", mac, rig.now)


def test_a_backup_does_not_answer_claims(rig: Rig) -> None:
    claim(rig)
    assert (announcements(rig), rig.ctx.events(Alarm)) == (0, [])


def test_a_master_answers_a_claim_at_once_for_all_its_addresses(make_rig: MakeRig) -> None:
    rig = make_rig(DUAL, VIPS[1]).plugged().master()
    arp, ipv6 = rig.sockets("lan")[2], rig.sockets("lan")[1]
    before = (len(arp.sent), len(ipv6.sent))
    claim(rig)
    assert (len(arp.sent) - before[0], len(ipv6.sent) - before[1]) == (1, 1)
    parsed = frames.parse_arp(arp.sent[-1])
    assert parsed is not None
    assert (frames.mac_text(parsed.sender_mac), str(parsed.sender_ip)) == ("00:00:5e:00:01:01", "192.168.1.1")


def test_answers_to_one_claimant_are_bounded_and_begin_anew_after_a_pause(rig: Rig) -> None:
    rig.master()
    before = announcements(rig)
    for _ in range(5 * REANNOUNCE_MAX):
        rig.now += 0.001
        claim(rig)
    assert announcements(rig) - before == REANNOUNCE_MAX
    assert len(rig.ctx.events(Alarm)) == 1
    rig.now += CLAIM_FORGOTTEN_S
    claim(rig)
    assert announcements(rig) - before == REANNOUNCE_MAX + 1


def test_a_flood_of_claimants_does_not_fill_the_memory(rig: Rig) -> None:
    rig.master()
    for number in range(10 * CLAIMANTS_MAX):
        claim(rig, f"02:66:66:66:{number >> 8:02x}:{number & 255:02x}")
    assert len(rig.station.herald._claims) == CLAIMANTS_MAX


def test_an_answer_is_repeated_for_those_that_believed_the_claim(rig: Rig) -> None:
    rig.master()
    claim(rig)
    before = announcements(rig)
    rig.station.herald.announce_again(rig.now + ANNOUNCE_AGAIN_S - 0.1)
    assert announcements(rig) == before
    rig.station.herald.announce_again(rig.now + ANNOUNCE_AGAIN_S)
    assert announcements(rig) == before + 1
    rig.station.herald.announce_again(rig.now + 10 * ANNOUNCE_AGAIN_S)
    assert announcements(rig) == before + 1, "once"


def test_whoever_believed_a_later_claim_gets_an_answer_of_its_own(rig: Rig) -> None:
    rig.master()
    claim(rig)
    rig.now += ANNOUNCE_AGAIN_S - 0.2
    claim(rig)
    before = announcements(rig)
    rig.station.herald.announce_again(rig.now + 0.2)
    assert announcements(rig) == before + 1
    rig.station.herald.announce_again(rig.now + ANNOUNCE_AGAIN_S - 0.1)
    assert announcements(rig) == before + 1
    rig.station.herald.announce_again(rig.now + ANNOUNCE_AGAIN_S)
    assert announcements(rig) == before + 2


def test_as_long_as_claims_go_on_the_answers_go_on_slowly(rig: Rig) -> None:
    rig.master()
    start = rig.now
    for _ in range(REANNOUNCE_MAX):
        claim(rig)
    before = announcements(rig)
    while rig.now < start + 60:
        rig.now += 0.5
        claim(rig)
        rig.station.herald.announce_again(rig.now)
    said = announcements(rig) - before
    assert 60 / (2 * ANNOUNCE_AGAIN_S) <= said <= 60 / ANNOUNCE_AGAIN_S, "neither silent nor a shout for each claim"


def test_who_has_handed_over_in_the_meantime_stays_silent(rig: Rig) -> None:
    rig.master()
    claim(rig)
    rig.station.perform(rig.machine.resign(rig.now, reason="asked"))
    rig.pass_time(0.1)
    before = announcements(rig)
    rig.station.herald.announce_again(rig.now + ANNOUNCE_AGAIN_S)
    assert announcements(rig) == before


def test_hellos_are_no_adverts_to_anybody(rig: Rig) -> None:
    rig.station.herald.send_hellos()
    assert adverts_in(rig.sockets("lan")[0].sent) == []
