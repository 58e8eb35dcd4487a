"""What is committed on the primary is on every other node, whole, whatever happens on the way."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.lab import Lab
from appliance.lab.waiting import wait_until
from tests.netns.sync.clusters import (
    ARRIVE_S,
    SETTLE_S,
    address,
    arrival,
    cluster,
    commit,
    in_sync,
    on_disk,
    roles_since,
    rules,
    sync,
)

pytestmark = [pytest.mark.netns, pytest.mark.slow]

POINTS = 6
"""Moments of a push at which a node is killed; many more are in `tests/unit/plugins/xmlrpc_sync/test_kills.py`."""
DEBOUNCE_S = 0.6
"""A little more than the sender leaves between two pushes."""
PUSH_S = 0.4
"""About how long a push of this size takes, from the commit on."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    """Two nodes that are paired and in sync."""
    with cluster() as lab:
        yield lab


def test_a_commit_is_in_force_on_the_other_node_within_seconds(pair: Lab) -> None:
    times = []
    for number in range(3):
        time.sleep(DEBOUNCE_S)  # else it would wait for the one before
        commit(pair, f"rule {number}")
        times.append(arrival(pair, "fw2", f"rule {number}"))
        in_sync(pair)
    told = ", ".join(f"{each * 1000:.0f} ms" for each in times)
    print(f"from the end of `config reload` to confirmed on the other node: {told}")
    assert max(times) < ARRIVE_S
    assert f"rule {number}" in pair.exec("fw2", "appliance", "show", "firewall", "--json").stdout


def test_what_is_mirrored_and_what_is_local_is_the_nodes_own(pair: Lab) -> None:
    in_sync(pair)
    one, two = on_disk(pair, "fw1"), on_disk(pair, "fw2")
    assert [vip["advskew"] for vip in two["carp"]["vip"]] == [100] * len(two["carp"]["vip"])
    assert two["node"] == {"name": "fw2", "role": "secondary"}
    assert two["interfaces"] != one["interfaces"]
    assert "peers" not in two["xmlrpc_sync"]


def test_no_role_moves_because_of_a_push(pair: Lab) -> None:
    in_sync(pair)
    before = roles_since(pair)
    commit(pair, "quiet")
    arrival(pair, "fw2", "quiet")
    in_sync(pair)
    after = roles_since(pair)
    assert after == before


def test_a_commit_does_not_wait_for_a_peer_that_is_away_and_travels_when_it_returns(pair: Lab) -> None:
    in_sync(pair)
    pair.pull("fw2", "sync")
    begun = time.monotonic()
    commit(pair, "while away")
    assert time.monotonic() - begun < 3.0
    wait_until(lambda: sync(pair)["state"] == "failing", "it is noticed", SETTLE_S)
    assert sync(pair)["peers"][0]["cause"] in ("unreachable", "silent", "lost")
    pair.plug("fw2", "sync")
    arrival(pair, "fw2", "while away")
    in_sync(pair)


@pytest.mark.parametrize("victim", ["fw1", "fw2"])
def test_killed_at_any_moment_of_a_push_the_other_node_has_the_old_or_the_new_whole(pair: Lab, victim: str) -> None:
    in_sync(pair)
    dice = random.Random(f"push {victim}")
    old = tuple(f"old {n}" for n in range(20))
    for point in range(POINTS // 2):
        commit(pair, *old)
        arrival(pair, "fw2", *old)
        in_sync(pair)
        new = tuple(f"new {point} {n}" for n in range(40))
        moment = dice.uniform(0.0, PUSH_S)
        commit(pair, *new)
        time.sleep(moment)
        pair.kill(victim)
        seen = rules(on_disk(pair, "fw2"))
        assert seen in (old, new), f"{moment:.3f} s after the commit"
        arrival(pair, "fw2", *new, deadline_s=2 * SETTLE_S)
        in_sync(pair, 2 * SETTLE_S)


def test_a_change_on_the_secondary_is_drift_and_gone_after_the_next_look(pair: Lab) -> None:
    commit(pair, "mine")
    in_sync(pair)
    path = pair.config_path("fw2")
    path.write_text(path.read_text().replace('"mine"', '"theirs"'))
    pair.request("fw2", "config", "reload")
    received = sync(pair, "fw2")
    assert (received["role"], received["state"]) == ("secondary", "behind")
    assert "firewall rules" in str(received["error"])
    answer: dict[str, Any] = pair.request("fw1", "sync", "now")
    (row,) = answer["peers"]
    assert row["kept"]
    assert rules(on_disk(pair, "fw2")) == ("mine",)
    wait_until(lambda: sync(pair, "fw2")["state"] == "in-sync", "it is as received", ARRIVE_S)


def test_a_third_node_has_it_too_and_each_its_own_result() -> None:
    with cluster(3) as lab:
        commit(lab, "for all")
        for node in ("fw2", "fw3"):
            arrival(lab, node, "for all")
        in_sync(lab)
        assert {vip["advskew"] for vip in on_disk(lab, "fw3")["carp"]["vip"]} == {200}
        lab.power_off("fw3")
        commit(lab, "without fw3")
        arrival(lab, "fw2", "without fw3")
        wait_until(lambda: sync(lab)["state"] == "failing", "fw3 is missed", SETTLE_S)
        states = {row["name"]: row["state"] for row in sync(lab)["peers"]}
        assert states == {"fw2": "in-sync", "fw3": "failing"}
        assert sync(lab)["peers"][1]["address"] == address(3)
        lab.power_on("fw3")
        arrival(lab, "fw3", "without fw3")


def test_a_configuration_that_would_cut_the_nodes_off_is_taken_back_by_the_node_itself(pair: Lab) -> None:
    in_sync(pair)
    before = on_disk(pair, "fw2")
    # The rule that lets the nodes in is left out, and none takes its place.
    with pytest.raises(ApplianceError, match="no rule would pass sync at sync any more") as refused:
        commit(pair, *rules(before), firewall='replace = ["sync"]')
    assert "'appliance config reload --confirm 120'" in refused.value.hint
    commit(pair, *rules(before), firewall='replace = ["sync"]', confirm_s=60)
    wait_until(lambda: sync(pair)["peers"][0]["cause"] == "cut", "it is noticed", SETTLE_S)
    (row,) = sync(pair)["peers"]
    assert "cannot be reached when it has the new configuration, and takes it back by itself" in row["error"]
    assert row["next_retry_s"] > 30, "every attempt disturbs the other node"
    assert on_disk(pair, "fw2") == before
    commit(pair, "harmless")
    arrival(pair, "fw2", "harmless", deadline_s=SETTLE_S)
    in_sync(pair)
