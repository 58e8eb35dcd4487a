"""Changes of virtual hosts on a live, paired cluster: no role moves, and no advert on the wire is one that is rejected.

The example's LAN is changed on fw1 alone and arrives at fw2 by synchronization, while traffic crosses the cluster.
Every advert of the VHIDs concerned is captured at the switch and checked against the old and the new digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from appliance.lab import Lab
from appliance.lab.config import PASSWORD, Vip, node_toml, standard_vips
from appliance.lab.waiting import wait_until
from tests.netns.carp.scenes import refused, said
from tests.netns.carp.wires import digest, tapped
from tests.netns.carp.words import carp, standing
from tests.netns.sync.clusters import SETTLE_S, cluster, in_sync, settings

pytestmark = [pytest.mark.netns, pytest.mark.slow]

NODES = ("fw1", "fw2")
ALIAS = "192.168.9.1/24"
CHANGE_S = 15.0
"""A change takes about a second; a busy machine may need more."""


@dataclass(frozen=True)
class Lan:
    """What the virtual host on the LAN has."""

    vip: Vip
    password: str = PASSWORD

    def digest(self, counter: bytes) -> bytes:
        """By the test's own encoder."""
        return digest(self.password, self.vip.vhid, (*self.vip.addresses, *self.vip.aliases), counter)


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    with cluster() as lab:
        yield lab


def original(lab: Lab) -> Lan:
    return Lan(standard_vips(lab.topology)[0])


def commit(lab: Lab, lan: Lan, *, sync: str = "") -> None:
    """On fw1; the rest is the business of the nodes."""
    _, *others = standard_vips(lab.topology)
    vips = (replace(lan.vip, password=lan.password), *others)
    text = node_toml(lab.topology, "fw1", replace(settings(lab.topology, sync=sync)["fw1"], vips=vips))
    lab.config_path("fw1").write_text(text)
    lab.request("fw1", "config", "reload")


def shown(lab: Lab, node: str) -> dict[str, Any]:
    """The virtual host on the LAN in ``show carp``."""
    return next(each for each in carp(lab, node)["vips"] if each["name"] == "lan")


def has(lab: Lab, lan: Lan, nodes: tuple[str, ...] = NODES) -> bool:
    """Whether it is in force on these nodes, and nothing is staged."""
    rows = [shown(lab, node) for node in nodes]
    wanted = (lan.vip.vhid, list(lan.vip.aliases), None)
    return all((row["vhid"], row["aliases"], row["staged"]) == wanted for row in rows)


@contextmanager
def watched(lab: Lab, old: Lan, new: Lan) -> Iterator[None]:
    """No role moves, no advert is rejected, and traffic flows; in the end both nodes speak the new digest."""
    before = standing(lab)
    counters = {node: shown(lab, node)["counters"] for node in NODES}
    with tapped(lab, "lansw", "fw1") as wire, lab.probe("udp", seconds=90) as probe:
        probe.wait_flowing()
        wire.forget()
        yield
        wait_until(lambda: has(lab, new), "the change is in force on both nodes", CHANGE_S)
        wait_until(lambda: spoken(wire, old, new)[-2:] == [new, new], "two adverts with the new digest", CHANGE_S)
        result = probe.stop()
        heard = spoken(wire, old, new)
    assert standing(lab) == before
    assert {frame.source for frame in wire.heard if frame.is_advert and frame.family == 4} == {"192.168.1.2"}
    assert heard == sorted(heard, key=lambda lan: lan is new), "first only the old digest, then only the new one"
    for node in NODES:
        now = shown(lab, node)["counters"]
        assert {name: now[name] for name in ("bad_auth", "replayed", "looped")} == {
            name: counters[node][name] for name in ("bad_auth", "replayed", "looped")
        }
    assert result.survived
    assert result.longest_gap_ms < 200, result.sentence()


def spoken(wire: Any, old: Lan, new: Lan) -> list[Lan]:
    """Which digest each advert on the wire has; it has one of the two."""
    found = []
    for frame in wire.listen():
        if frame.is_advert:
            advert = frame.advert
            fitting = [lan for lan in (old, new) if lan.digest(advert.counter) == advert.digest]
            assert len(fitting) == 1, f"neither digest: {advert}"
            assert fitting[0].vip.vhid == advert.vhid
            assert frame.source_mac == f"00:00:5e:00:01:{advert.vhid:02x}"
            found += fitting
    return found


def test_aliases_passwords_and_vhids_change_without_a_role_or_an_advert_lost(pair: Lab) -> None:
    first = original(pair)
    alias = Lan(replace(first.vip, aliases=(ALIAS,)))
    password = Lan(alias.vip, "another-secret")
    vhid = Lan(replace(first.vip, aliases=(ALIAS,), vhid=77), "another-secret")
    steps = [first, alias, password, vhid, Lan(replace(vhid.vip, aliases=()), "another-secret"), first]
    for old, new in pairwise(steps):
        with watched(pair, old, new):
            commit(pair, new)
        in_sync(pair)


def test_a_change_waits_for_a_node_that_is_away_and_is_made_when_it_is_back(pair: Lab) -> None:
    first = original(pair)
    alias = Lan(replace(first.vip, aliases=(ALIAS,)))
    pair.stop("fw2")
    wait_until(lambda: not any(row["alive"] for row in pair.request("fw1", "show", "ha")["peers"]), "fw2 is away", 20)
    commit(pair, alias)
    assert carp(pair, "fw1")["waiting_for"] == [{"node": "fw2", "why": "is away"}]
    assert shown(pair, "fw1")["staged"]["aliases"] == [ALIAS]
    what, fix = refused(pair, "fw1", "ha", "commit")
    assert (what, fix) == (
        "the change of lan waits for fw2, which is away",
        "Bring it back or synchronize it; or repeat with --force.",
    )
    assert shown(pair, "fw1")["aliases"] == []
    pair.start("fw2")
    pair.wait_settled("fw1", deadline_s=SETTLE_S)
    wait_until(lambda: has(pair, alias), "the change is in force on both nodes", SETTLE_S)
    assert [shown(pair, node)["counters"]["bad_auth"] for node in NODES] == [0, 0]
    # Forced: in force here at once; the other node speaks its former edition until it has this one.
    pair.stop("fw2")
    wait_until(lambda: not any(row["alive"] for row in pair.request("fw1", "show", "ha")["peers"]), "fw2 is away", 20)
    commit(pair, first)
    assert said(pair, "fw1", "ha", "commit", "--force") == "in force on this node: lan"
    assert has(pair, first, ("fw1",))
    pair.start("fw2")
    pair.wait_settled("fw1", deadline_s=SETTLE_S)
    wait_until(lambda: has(pair, first), "the change is in force on both nodes", SETTLE_S)
    assert [shown(pair, node)["counters"]["bad_auth"] for node in NODES] == [0, 0]
    assert said(pair, "fw1", "ha", "commit") == "nothing is staged: every virtual host is as configured"


def bad_auth(lab: Lab) -> int:
    """Adverts that any virtual host of any node has rejected."""
    return sum(each["counters"]["bad_auth"] for node in NODES for each in carp(lab, node)["vips"])


def test_passwords_and_keys_from_the_pairing_are_put_in_and_rotated_without_a_word_lost(pair: Lab) -> None:
    lan, *others = standard_vips(pair.topology)
    before, rejected = standing(pair), bad_auth(pair)
    with tapped(pair, "lansw", "fw1") as wire:
        vips = (lan, *(replace(each, password="given") for each in others))
        text = node_toml(
            pair.topology, "fw1", replace(settings(pair.topology)["fw1"], vips=vips, carp={"password": None})
        )
        pair.config_path("fw1").write_text(text)
        pair.request("fw1", "config", "reload")
        in_sync(pair)
        wait_until(lambda: settled(pair), "the passwords are in force", CHANGE_S)
        first = passwords(pair)
        assert (len(first["lan"]), first["wan"]) == (19, "given")
        said(pair, "fw1", "pair", "rotate")
        wait_until(lambda: passwords(pair)["lan"] not in ("", first["lan"]), "other passwords are in force", CHANGE_S)
        second = passwords(pair)
        wire.forget()
        wire.wait(lambda frame: frame.is_advert, "adverts", count=4)
        for frame in wire.heard:
            if frame.is_advert:
                assert Lan(lan, second["lan"]).digest(frame.advert.counter) == frame.advert.digest
    assert second["wan"] == "given"
    assert (standing(pair), bad_auth(pair)) == (before, rejected)
    # A restart of either node changes nothing, whichever of its services is there first.
    pair.stop("fw2")
    pair.start("fw2")
    pair.wait_settled("fw1", deadline_s=SETTLE_S)
    wait_until(lambda: settled(pair), "the same passwords are in force", CHANGE_S)
    assert (passwords(pair)["lan"], bad_auth(pair)) == (second["lan"], rejected)


def settled(lab: Lab) -> bool:
    """Whether nothing is staged, and both nodes have the same passwords."""
    staged = [each["staged"] for node in NODES for each in carp(lab, node)["vips"]]
    return not any(staged) and editions(lab, "fw1") == editions(lab, "fw2")


def editions(lab: Lab, node: str) -> dict[str, str]:
    """The password in force of each virtual host, from the node's own notes."""
    (path,) = lab.state_dir(node).glob("carp*/**/editions.json")
    return {row["name"]: row["editions"][0]["password"] for row in json.loads(path.read_text())["vips"]}


def passwords(lab: Lab) -> dict[str, str]:
    """Those that both nodes have in force; empty ones while they differ or something is staged."""
    return editions(lab, "fw1") if settled(lab) else dict.fromkeys(editions(lab, "fw1"), "")


def test_three_nodes_whose_synchronization_is_manual_wait_for_it_and_a_revert_leaves_nothing() -> None:
    manual = 'policy = "manual"'
    with cluster(3, sync=manual) as lab:
        first, nodes = original(lab), lab.topology.node_names
        alias = Lan(replace(first.vip, aliases=(ALIAS,)))
        before = standing(lab)
        commit(lab, alias, sync=manual)
        waiting = [{"node": node, "why": "has not got it yet"} for node in nodes[1:]]
        assert carp(lab, "fw1")["waiting_for"] == waiting
        commit(lab, first, sync=manual)
        assert (carp(lab, "fw1")["waiting_for"], shown(lab, "fw1")["staged"]) == ([], None)
        commit(lab, alias, sync=manual)
        # In force here by force, the others still understand what is sent.
        said(lab, "fw1", "ha", "commit", "--force")
        assert shown(lab, "fw1")["aliases"] == [ALIAS]
        received = shown(lab, "fw3")["counters"]["received"]
        wait_until(lambda: shown(lab, "fw3")["counters"]["received"] > received + 2, "fw3 hears fw1", CHANGE_S)
        said(lab, "fw1", "sync", "now")
        wait_until(lambda: has(lab, alias, nodes), "the change is in force on all nodes", CHANGE_S)
        wait_until(lambda: shown(lab, "fw3")["counters"]["received"] > received + 6, "fw3 hears fw1", CHANGE_S)
        assert standing(lab) == before
        assert [shown(lab, node)["counters"]["bad_auth"] for node in nodes] == [0, 0, 0]
