"""Keys from the pairing of the nodes: none before it, new ones under traffic, none any more after its end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.config import NodeSettings
from appliance.lab.lab import unique_name
from appliance.lab.waiting import wait_until
from tests.netns.pfsync import flows, natrules
from tests.netns.pfsync.connections import opened, pfsync, replicated
from tests.netns.sync.clusters import introduce

pytestmark = [pytest.mark.netns, pytest.mark.slow]

NODES = ("fw1", "fw2")
COUNT = 500
SOON_S = 20.0
QUIET_S = 1.5
"""More than a hello."""
STEPS = 3
"""Of a rotation: another key is accepted, it sends, the old one is forgotten."""
REFUSALS = ("badkey", "forged", "replayed", "malformed", "badversion", "badver", "oversized", "refused")
"""Counters of datagrams that were not accepted."""


@contextmanager
def cluster() -> Iterator[Lab]:
    """Two nodes that do not know each other, whose [pfsync] names no key file."""
    settings = NodeSettings(pfsync={"key_file": None}, extra='[xmlrpc_sync]\ninterface = "sync"\n')
    with Lab(Topology(name=unique_name("k")), settings=settings) as lab:
        for node in NODES:
            natrules.load(lab, node)
        lab.wait_settled("fw1")
        flows.sink(lab)
        yield lab


@pytest.fixture(scope="module")
def strangers() -> Iterator[Lab]:
    """Not paired at the beginning; the tests of this module pair and part them, in any order."""
    with cluster() as lab:
        yield lab


def peers(lab: Lab, node: str) -> list[str]:
    return [each["name"] for each in lab.request(node, "pair", "list")["peers"]]  # type: ignore[attr-defined]


def pair(lab: Lab) -> None:
    """Make them a pair that replicates."""
    if not peers(lab, "fw1") or not peers(lab, "fw2"):
        introduce(lab, "fw2")
    for node in NODES:
        wait_until(lambda node=node: pfsync(lab, node)["peer"] is not None, f"{node} hears the other", SOON_S)  # type: ignore[misc]
    lab.wait_settled("fw1")


def part(lab: Lab) -> None:
    """Make both trust nobody."""
    for node, other in (("fw1", "fw2"), ("fw2", "fw1")):
        if peers(lab, node):
            lab.exec(node, "appliance", "pair", "remove", other)


def alarms(lab: Lab, node: str) -> dict[str, dict[str, Any]]:
    shown = json.loads(lab.exec(node, "appliance", "show", "alarms", "--json", check=False).stdout)
    return {each["key"]: each for each in shown if each["key"].startswith("pfsync/")}


def refusals(lab: Lab, node: str) -> dict[str, int]:
    counters = pfsync(lab, node)["counters"]
    return {name: counters.get(name, 0) for name in REFUSALS}


def key_changes(lab: Lab, node: str) -> int:
    return lab.log(node).read_text().count("pfsync_keys_changed")


def sent(lab: Lab, node: str) -> int:
    return int(pfsync(lab, node)["counters"]["opackets"])


def assert_silent(lab: Lab, node: str) -> None:
    """It neither speaks nor listens, and says what to do."""
    shown = pfsync(lab, node)
    assert (shown["peers"], shown["secured"]) == ([], True)
    assert "not paired" in shown["error"]
    assert "appliance pair ADDRESS" in shown["remedy"]
    before = sent(lab, node)
    time.sleep(QUIET_S)
    assert sent(lab, node) == before


def test_nothing_is_replicated_before_the_nodes_are_paired_and_everything_after(strangers: Lab) -> None:
    part(strangers)
    for node in NODES:
        strangers.exec(node, "appliance", "states", "flush")
        wait_until(lambda node=node: "pfsync/key" in alarms(strangers, node), f"{node} says why", SOON_S)  # type: ignore[misc]
        assert set(alarms(strangers, node)) == {"pfsync/key"}
        assert_silent(strangers, node)
        wait_until(
            lambda node=node: pfsync(strangers, node)["bulk"] != "running",  # type: ignore[misc]
            f"{node} is not demoted for states that nobody has",
            SOON_S,
        )
    strangers.wait_settled("fw1")  # the one whose bulk update ended first was MASTER for some seconds
    flows.run(strangers, "udp", COUNT, rate=COUNT)  # the way there is looked up meanwhile
    time.sleep(QUIET_S)
    assert replicated(strangers, "fw1") >= COUNT
    assert replicated(strangers, "fw2") == 0

    pair(strangers)
    wait_until(
        lambda: replicated(strangers, "fw2") == replicated(strangers, "fw1") >= COUNT,
        "what was there before has come by a bulk update",
        SOON_S,
    )
    for node in NODES:
        assert alarms(strangers, node) == {}
        shown = pfsync(strangers, node)
        assert shown["secured"]
        assert all(peer["secured"] for peer in shown["peers"])
        assert not shown["error"]


def test_the_secret_is_rotated_under_traffic_without_a_loss(strangers: Lab) -> None:
    pair(strangers)
    strangers.exec("fw1", "appliance", "states", "flush")
    before = {node: refusals(strangers, node) for node in NODES}
    steps = {node: key_changes(strangers, node) for node in NODES}
    over = threading.Event()

    def load() -> None:
        first = 0
        while not over.is_set():
            flows.run(strangers, "udp", COUNT, first=first, rate=COUNT)
            first += COUNT

    with opened(strangers) as connections:
        traffic = threading.Thread(target=load)
        traffic.start()
        try:
            for leader in NODES:
                said = strangers.exec(leader, "appliance", "pair", "rotate").stdout
                assert "use a new pairing secret" in said
        finally:
            over.set()
            traffic.join()
        wait_until(
            lambda: replicated(strangers, "fw1") == replicated(strangers, "fw2") > 2 * COUNT, "both have all", SOON_S
        )
        strangers.exec("fw1", "appliance", "ha", "switchover")
        connections.stop()
    strangers.exec("fw2", "appliance", "ha", "switchover", check=False)
    assert connections.lost == []
    for node in NODES:
        assert key_changes(strangers, node) == steps[node] + 2 * STEPS
        assert refusals(strangers, node) == before[node]
        assert all(peer["losses"] == 0 and peer["alive"] for peer in pfsync(strangers, node)["peers"])
        assert alarms(strangers, node) == {}


def test_a_node_that_trusts_nobody_any_more_stops_and_goes_on_when_it_is_paired_again(strangers: Lab) -> None:
    pair(strangers)
    strangers.exec("fw1", "appliance", "states", "flush")
    strangers.exec("fw1", "appliance", "pair", "remove", "fw2")
    wait_until(lambda: "pfsync/key" in alarms(strangers, "fw1"), "fw1 says why", SOON_S)
    assert_silent(strangers, "fw1")
    wait_until(lambda: "pfsync/down/fw1" in alarms(strangers, "fw2"), "fw2 misses it", SOON_S)
    flows.run(strangers, "udp", COUNT, rate=COUNT)  # the way there is looked up meanwhile
    time.sleep(QUIET_S)
    assert replicated(strangers, "fw2") == 0

    part(strangers)
    wait_until(lambda: set(alarms(strangers, "fw2")) == {"pfsync/key"}, "fw2 misses nobody any more", SOON_S)
    assert_silent(strangers, "fw2")

    pair(strangers)
    wait_until(lambda: replicated(strangers, "fw2") == replicated(strangers, "fw1") >= COUNT, "fw2 has all", SOON_S)
    assert alarms(strangers, "fw1") == alarms(strangers, "fw2") == {}


def test_the_service_that_pairs_may_be_away_while_states_are_replicated(strangers: Lab) -> None:
    pair(strangers)
    strangers.exec("fw1", "appliance", "states", "flush")
    path = strangers.config_path("fw2")
    text = path.read_text()
    path.write_text(text.replace("[xmlrpc_sync]\n", '[xmlrpc_sync]\non_drift = "refuse"\n'))
    losses = pfsync(strangers, "fw2")["counters"].get("losses", 0)
    strangers.request("fw2", "config", "reload")  # restarts it
    flows.run(strangers, "udp", COUNT, rate=COUNT)
    wait_until(lambda: replicated(strangers, "fw2") == COUNT, "fw2 has all", SOON_S)
    assert pfsync(strangers, "fw2")["counters"].get("losses", 0) == losses
    assert alarms(strangers, "fw2") == {}
    path.write_text(text)
    strangers.request("fw2", "config", "reload")
