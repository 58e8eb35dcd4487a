"""Several election machines on simulated networks: single stories, and properties over random ones.

What must hold: a healed cluster has exactly one master per VHID, the whole group on one node, the best one
when preemption is on; it then stands still; demotion is gone; gates are open exactly where the master is. In
a connected network two masters never last longer than it takes one advert to arrive.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance_carp.machine import GroupSettings, VhidSettings

# Test folders are no packages here; the simulator lies next to this file.
_spec = importlib.util.spec_from_file_location("carp_sim_network", Path(__file__).with_name("network.py"))
assert _spec is not None
assert _spec.loader is not None
network_module = importlib.util.module_from_spec(_spec)
sys.modules["carp_sim_network"] = network_module
_spec.loader.exec_module(network_module)
Network, Node = network_module.Network, network_module.Node

LAN, LAN2, WAN = ("lan", 1), ("lan", 2), ("wan", 3)
KEYS = (LAN, LAN2, WAN)
NAMES = "abcd"
FLIGHTS = 4
"""Both masters' first adverts cross, and each may have to answer once."""
SETTLED_S = 12.0


def runs(count: int) -> settings:
    """So many random stories; a simulated minute may take a second on a busy machine, so without deadline."""
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


def group(
    advskew: int, keys: tuple[Any, ...] = KEYS, *, fast: bool = False, both: bool = False, **how: Any
) -> GroupSettings:
    families = frozenset({4, 6}) if both else frozenset({4})
    return GroupSettings(
        vhids=tuple(VhidSettings(key=key, advskew=advskew, fast=fast, families=families) for key in keys), **how
    )


def pair(*, seed: int = 1, skews: tuple[int, ...] = (0, 100), keys: tuple[Any, ...] = KEYS, **how: Any) -> Any:
    """A cluster that has settled on node a."""
    network = Network(["lan", "wan", "sync"], seed=seed)
    for name, skew in zip(NAMES, skews, strict=False):
        network.add(name, group(skew, keys, **how))
    network.run(10)
    assert holders(network) == ["a"]
    network.forget_the_past()
    return network


def holders(network: Any) -> list[str]:
    """Return the node of the whole group, or whoever has what."""
    found = [network.masters(key) for key in network._watched]
    return (
        found[0]
        if all(each == found[0] for each in found)
        else sorted({name for each in found for name in each} | {"?"})
    )


def moves(network: Any, since: float) -> int:
    return sum(at > since for node in network.nodes for at, _ in node.changes)


def check_gates(network: Any) -> None:
    for node in network.nodes:
        assert node.open == node.masters(), node.name


# --- stories ---------------------------------------------------------------------------------------------------


def test_a_power_cut_costs_the_protocol_s_time_and_not_more() -> None:
    network = pair()
    cut = network.now
    network.nodes[0].power_off()
    network.run(5)
    assert holders(network) == ["b"]
    at = [moment for moment, change in network.nodes[1].changes if change.new.name == "MASTER"]
    assert 2.39 - 0.001 <= at[0] - cut <= 3 + 100 / 256 + 0.001
    assert at[-1] - at[0] < 1.0


def test_a_cable_pull_moves_everything_within_milliseconds_and_back_on_repair() -> None:
    network = pair(preempt=True)
    a = network.nodes[0]
    a.link("wan", False)
    network.run(0.01)
    assert [network.masters(key) for key in KEYS] == [["b"]] * 3
    assert max(network.longest_orphan.values()) < 0.002
    a.link("wan", True)
    network.run(2)
    assert holders(network) == ["a"]
    assert max(network.longest_double.values()) < 0.002


def test_the_only_vhid_of_a_dead_interface_is_taken_over_by_the_copy_on_the_sync_link() -> None:
    network = pair(keys=(LAN,))
    network.nodes[0].link("lan", False)
    network.run(0.01)
    assert holders(network) == ["b"]


def test_losing_only_the_sync_link_moves_nothing() -> None:
    network = pair()
    before = network.now
    network.nodes[0].link("sync", False)
    network.run(20)
    assert moves(network, before) == 0


def test_both_nodes_sick_in_different_ways_keep_what_works_and_reunite_later() -> None:
    network = pair()
    a, b = network.nodes
    b.link("lan", False)
    network.run(2)
    a.link("wan", False)
    network.run(5)
    assert [network.masters(key) for key in KEYS] == [["a"], ["a"], ["b"]]
    a.link("wan", True)
    b.link("lan", True)
    network.run(5)
    assert holders(network) == ["a"]
    standing = network.now
    network.run(20)
    assert moves(network, standing) == 0


def test_a_split_brain_heals_to_the_better_node_which_announces_every_address_again() -> None:
    for seed in range(10):
        network = pair(seed=seed, skews=(0, 100))
        for interface in network.interfaces:
            network.cut(interface, "a", "b")
        network.run(20 + seed / 10)
        assert [network.masters(key) for key in KEYS] == [["a", "b"]] * 3
        healed = network.now
        network.heal()
        network.run(1.5)
        assert holders(network) == ["a"]
        announced = {key for at, key in network.nodes[0].announced if at > healed}
        assert announced == set(KEYS)
        last_word = max(at for at, advert in network.nodes[1].sent if at > healed)
        assert max(at for at, _ in network.nodes[0].announced) > last_word


def test_a_frozen_master_does_not_come_back_as_a_second_one() -> None:
    network = pair()
    a = network.nodes[0]
    a.freeze()
    network.run(6)
    network.forget_the_past()
    a.thaw()
    network.run(0.01)
    assert holders(network) == ["b"]
    network.run(20)
    assert holders(network) == ["b"]
    assert not network.longest_double or max(network.longest_double.values()) < 0.001


def test_a_paused_machine_that_lost_its_packets_settles_within_one_advert() -> None:
    network = pair()
    a = network.nodes[0]
    a.freeze(deaf=True)
    network.run(6)
    a.thaw()
    network.run(0.01)
    assert holders(network) == ["a"]
    standing = network.now
    network.run(20)
    assert moves(network, standing) == 0


def test_a_frozen_backup_does_not_take_over_when_it_wakes() -> None:
    for deaf in (False, True):
        network = pair()
        before = network.now
        network.nodes[1].freeze(deaf=deaf)
        network.run(7.3)
        network.nodes[1].thaw()
        network.run(10)
        assert moves(network, before) == 0


def test_one_broken_network_does_not_drag_the_others_along() -> None:
    network = pair()
    network.cut("lan", "a", "b", both=False)
    network.run(20)
    assert [network.masters(key) for key in KEYS] == [["a", "b"], ["a", "b"], ["a"]]
    quiet = network.now
    network.run(20)
    assert moves(network, quiet) == 0, "no ping-pong while it lasts"
    network.heal()
    network.run(2)
    assert holders(network) == ["a"]


def test_one_broken_family_moves_nothing() -> None:
    network = pair(both=True)
    before = network.now
    carry = network.carry

    def without_v6(sender: Any, interface: str, deliver: Any) -> None:
        last = sender.sent[-1][1] if sender.sent else None
        if last is None or last.family == 4 or last.key[0] != interface:
            carry(sender, interface, deliver)

    network.carry = without_v6
    network.run(60)
    assert moves(network, before) == 0
    assert network.nodes[1].counts["family_silent"] > 10


def test_a_third_node_takes_over_only_when_both_better_ones_are_gone() -> None:
    network = pair(skews=(0, 100, 200))
    a, b, _ = network.nodes
    a.power_off()
    network.run(5)
    assert holders(network) == ["b"]
    b.do(b.machine.stop(network.now))
    network.run(0.1)
    assert holders(network) == ["c"]


def test_a_bow_out_with_two_heirs_ends_with_the_better_one() -> None:
    network = pair(skews=(0, 100, 200))
    a = network.nodes[0]
    a.do(a.machine.stop(network.now))
    network.run(0.05)
    assert holders(network) == ["b"]
    assert max(network.longest_double.values(), default=0) < 0.005


def test_a_planned_handover_leaves_no_moment_without_master_beyond_the_flight_of_the_bow_out() -> None:
    network = pair()
    a = network.nodes[0]
    a.do(a.machine.resign(network.now, reason="asked"))
    network.run(0.5)
    assert holders(network) == ["b"]
    assert max(network.longest_orphan.values()) <= network.latency_s + 1e-9
    check_gates(network)


def test_replayed_adverts_of_the_dead_master_do_not_keep_the_backup_quiet() -> None:
    network = pair()
    a, b = network.nodes
    recorded = []
    hear = b.hear

    def record(*packet: Any) -> None:
        recorded.append(packet)
        hear(*packet)

    b.hear = record
    network.run(3)
    b.hear = hear
    a.power_off()
    for _ in range(6):
        for advert, source, counter, via_sync in recorded:
            b.hear(advert, source, counter, via_sync)
            b.hear(advert, "10.0.0.77", counter, via_sync)
        network.run(1)
    assert holders(network) == ["b"]
    assert b.counts["replay"] > 10


def test_an_echo_of_our_own_adverts_changes_nothing() -> None:
    network = pair()
    a = network.nodes[0]
    before = network.now
    carry = network.carry

    def with_echo(sender: Any, interface: str, deliver: Any) -> None:
        carry(sender, interface, deliver)
        network.at(network.now + 0.001, lambda: deliver(sender))

    network.carry = with_echo
    a.hear_hello = lambda view: None
    network.run(20)
    assert moves(network, before) == 0
    assert a.counts["loop"] > 40


def test_a_fast_cluster_speaks_fast_and_fails_over_fast() -> None:
    network = pair(fast=True, skews=(0, 80))
    a, b = network.nodes
    assert a.machine.report(LAN).fast
    cut = network.now
    a.power_off()
    network.run(1)
    at = [moment for moment, change in b.changes if change.new.name == "MASTER"]
    assert 0.19 < at[0] - cut < 0.36


def test_255_vhids_flap_and_end_with_no_demotion_and_one_master() -> None:
    keys = tuple(("lan", vhid) for vhid in range(1, 256))
    network = pair(keys=keys, preempt=True)
    a = network.nodes[0]
    for _ in range(3):
        a.link("lan", False)
        network.run(0.05)
        a.link("lan", True)
        network.run(0.05)
    network.run(3)
    assert holders(network) == ["a"]
    assert a.machine.demotion == 0
    assert a.machine.reconfigure(a.settings, network.now) == []


@pytest.mark.slow
def test_a_simulated_day_passes_in_seconds_without_a_single_move() -> None:
    network = Network(["lan"], stamped=False)
    network.keep_sent = False
    network.hello_s = 60.0
    for name, skew in (("a", 0), ("b", 100)):
        network.add(name, group(skew, (LAN,)))
    network.run(10)
    before, started = network.now, time.perf_counter()
    network.run(86_400)
    assert moves(network, before) == 0
    assert network.carried > 86_390
    assert time.perf_counter() - started < 30


# --- properties ------------------------------------------------------------------------------------------------

GENTLE = ("unlink", "link", "off", "boot", "disable", "enable", "sick", "well", "maintain", "work", "resign")
ROUGH = (*GENTLE, "cut", "cut-one-way", "freeze", "pause", "thaw", "lose")


def disturb(network: Any, what: str, chance: random.Random) -> None:
    node = chance.choice(network.nodes)
    interface = chance.choice(network.interfaces)
    other = chance.choice([each for each in network.nodes if each is not node])
    awake = node.alive and not node.frozen
    now = network.now
    match what:
        case "link" | "unlink":
            node.link(interface, what == "link")
        case "cut" | "cut-one-way":
            network.cut(interface, node.name, other.name, both=what == "cut")
        case "freeze" | "pause" if awake:
            node.freeze(deaf=what == "pause")
        case "thaw":
            node.thaw()
        case "lose":
            network.loss = chance.choice([0.0, 0.1, 0.3])
        case "off" if awake:
            node.power_off()
        case "boot" if not node.alive:
            node.boot()
        case "disable" | "enable" if awake:
            node.set_enabled(what == "enable")
        case "sick" | "well" if awake:
            node.do(node.machine.set_reasons({"monitor": chance.choice([32, 240])} if what == "sick" else {}, now))
        case "maintain" | "work" if awake:
            node.do(node.machine.set_maintenance(what == "maintain", now))
        case "resign" if awake:
            node.do(node.machine.resign(now, reason="asked"))


def heal(network: Any) -> None:
    network.heal()
    network.loss = 0.0
    for node in network.nodes:
        node.thaw()
        for interface in network.interfaces:
            node.link(interface, True)
        if not node.alive:
            node.boot()
        node.set_enabled(True)
        node.do(node.machine.set_maintenance(False, network.now))
        node.do(node.machine.set_reasons({}, network.now))
        node.do(node.machine.reclaim(network.now))


stories = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        # Steps of 20: the sub-second profile resolves skews only in steps of 16.
        "skews": st.lists(st.integers(0, 10).map(lambda step: 20 * step), min_size=2, max_size=4),
        "preempt": st.booleans(),
        "fast": st.booleans(),
        "both": st.booleans(),
        "pauses": st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.3, 1.0, 4.0]), min_size=1, max_size=8),
    }
)


def build(story: dict[str, Any]) -> Any:
    network = Network(["lan", "wan", "sync"], seed=story["seed"])
    for name, skew in zip(NAMES, story["skews"], strict=False):
        network.add(
            name, group(skew, fast=story["fast"], both=story["both"] and not story["fast"], preempt=story["preempt"])
        )
    return network


def best(story: dict[str, Any]) -> str:
    """Lowest skew; on equality the higher address, which is the later node."""
    skews = story["skews"]
    return NAMES[max(index for index, skew in enumerate(skews) if skew == min(skews))]


@runs(25)
@given(stories, st.data())
def test_whatever_happened_a_healed_cluster_has_one_master_and_stands_still(story: dict[str, Any], data: Any) -> None:
    network = build(story)
    network.run(5)
    for pause in story["pauses"]:
        disturb(network, data.draw(st.sampled_from(ROUGH)), network.random)
        network.run(pause)
        check_gates_are_closed_without_state(network)
    heal(network)
    network.run(SETTLED_S)
    [holder] = holders(network)
    if story["preempt"]:
        assert holder == best(story)
    check_gates(network)
    assert [node.machine.demotion for node in network.nodes] == [0] * len(network.nodes)
    standing = network.now
    network.run(SETTLED_S)
    assert moves(network, standing) == 0


def check_gates_are_closed_without_state(network: Any) -> None:
    for node in network.nodes:
        for key in node.open:
            assert node.states[key].name in ("MASTER", "RELEASING")


@runs(20)
@given(stories, st.data())
def test_in_a_connected_network_two_masters_last_no_longer_than_an_advert_s_flight(
    story: dict[str, Any], data: Any
) -> None:
    """Nodes die, return, get sick and well, but every advert sent over a living link arrives."""
    network = build(story)
    network.run(5)
    network.forget_the_past()
    for pause in story["pauses"]:
        disturb(network, data.draw(st.sampled_from(GENTLE)), network.random)
        network.run(pause)
    network.run(1)
    assert max(network.longest_double.values(), default=0.0) <= FLIGHTS * network.latency_s
    assert all(len(network.masters(key)) <= 1 for key in KEYS)


@runs(25)
@given(
    st.lists(st.tuples(st.sampled_from(["lan", "wan"]), st.booleans(), st.sampled_from([0.0, 0.01, 0.5])), max_size=30)
)
def test_any_sequence_of_link_flaps_ends_without_demotion(flaps: list[tuple[str, bool, float]]) -> None:
    network = pair()
    a = network.nodes[0]
    for interface, up, pause in flaps:
        a.link(interface, up)
        down = {each for each, is_up in a.links.items() if not is_up}
        assert a.machine.demotion == 240 * len(down & {"lan", "wan"})
        network.run(pause)
    for interface in ("lan", "wan"):
        a.link(interface, True)
    assert a.machine.demotion == 0
    assert not a.machine.reasons
    network.run(8)
    assert len(holders(network)) == 1


@runs(25)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_replayed_readdressed_and_altered_recordings_change_nothing(seed: int, noise: list[int]) -> None:
    """The attacker has no password: it can repeat what it recorded, from any address, with any skew."""
    network = pair(seed=seed % 1000)
    a, b = network.nodes
    chance = random.Random(seed)
    tape: list[Any] = []
    hear = b.hear
    b.hear = lambda *packet: (tape.append(packet), hear(*packet))
    network.run(3)
    b.hear = hear
    before = network.now
    for value in noise:
        advert, source, counter, via_sync = chance.choice(tape)
        forged = network_module.SendAdvert(advert.key, 4, value % 256, value // 256 % 256, value // 65536 % 256)
        for victim, address in ((a, source), (b, source), (b, "10.0.0.99"), (b, b.source("lan"))):
            victim.hear(forged, address, counter, via_sync)
        network.run(0.05)
    network.run(4)
    assert moves(network, before) == 0
