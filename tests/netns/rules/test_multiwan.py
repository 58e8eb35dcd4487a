"""Multi-WAN with a DMZ and a mail server: every connection has its WAN, and keeps it, whatever happens to a node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from appliance.lab import Lab
from appliance.lab.waiting import is_settled, wait_until
from tests.netns.rules.conftest import Scene
from tests.netns.rules.multiwan import (
    ANYWHERE,
    BALANCED,
    DEMOTING,
    DOWN_S,
    GATEWAYS,
    INTERNET,
    MAIL,
    PLAIN,
    SMTP,
    VIA_WAN2,
    WAN2_MAIL,
    WAN2_VIP,
    WAN_MAIL,
    WAN_VIP,
    cut_off,
    file,
    file_with_default_group,
    is_local_only,
    multiwan,
    status,
)
from tests.netns.rules.takeovers import NODES, TAKEOVERS, Planned, Takeover, change, fw2_serves, replicated, settled
from tests.netns.rules.talk import BLOCKED_S, Call, call, held, is_reached, seen_as

pytestmark = [pytest.mark.netns, pytest.mark.slow]

STILL_S = 2.0
"""Many heartbeats: what would move has moved."""
OWN = {"wan": ("198.51.100.201", "198.51.100.202"), "wan2": ("203.0.113.12", "203.0.113.13")}
"""The nodes' own addresses."""
FLOWS = 24
"""That none of these is balanced to one of two WANs happens once in 2**23 runs, for given ports never or always."""


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Lab]:
    """The cluster, with replication."""
    with multiwan(pfsync=True) as lab:
        yield lab


@pytest.fixture
def cluster(firewalls: Lab, scene: Scene) -> Iterator[Lab]:
    """It, settled, all gateways online."""
    with scene(firewalls) as lab:
        all_online(lab)
        yield lab


def all_online(lab: Lab) -> None:
    for node in NODES:
        for gateway in ("wan_gw", "wan2_gw"):
            wait_status(lab, node, gateway, "online")


def wait_status(lab: Lab, node: str, gateway: str, wanted: str) -> None:
    wait_until(lambda: status(lab, node, gateway) == wanted, f"{gateway} is {wanted} for {node}", DOWN_S)


def balanced(lab: Lab) -> Iterator[tuple[str, Call]]:
    for number in range(FLOWS):
        made = call(lab, "client", INTERNET, target="server", port=BALANCED, sport=20_000 + 7 * number)
        yield f"balanced {number} by {made.seen.address}", made


def everything(lab: Lab) -> Iterator[tuple[str, Call]]:
    yield from balanced(lab)
    yield "by rule", call(lab, "client", INTERNET, target="server", port=VIA_WAN2)
    yield "by default", call(lab, "client", INTERNET, target="server", port=PLAIN)
    yield "to the DMZ by a rule with a gateway", call(lab, "client", MAIL, target="dmzhost", port=ANYWHERE)
    yield "mail out", call(lab, "dmzhost", INTERNET, target="server", port=SMTP)
    for external in (WAN_MAIL, WAN2_MAIL):
        yield f"mail in to {external}", call(lab, "server", external, target="dmzhost", port=SMTP, bind=INTERNET)


# ------------------------------------------------------------------------------------------------- ways out


def test_a_rule_sends_its_connections_to_the_second_wan(cluster: Lab) -> None:
    assert seen_as(cluster, "client", INTERNET, target="server", port=VIA_WAN2) == WAN2_VIP
    assert seen_as(cluster, "client", INTERNET, target="server", port=PLAIN) == WAN_VIP


def test_a_balanced_group_spreads_connections_over_both_wans(cluster: Lab) -> None:
    with held(balanced(cluster)) as calls:
        seen = [each.seen.address for each in calls.made.values()]
    assert set(seen) == {WAN_VIP, WAN2_VIP}
    assert 4 <= seen.count(WAN_VIP) <= FLOWS - 4, seen


def test_the_mail_server_is_seen_by_its_own_address_on_the_second_wan(cluster: Lab) -> None:
    assert seen_as(cluster, "dmzhost", INTERNET, target="server") == WAN2_MAIL


@pytest.mark.parametrize("external", [WAN_MAIL, WAN2_MAIL])
def test_the_mail_server_is_reached_by_either_wan_and_answers_by_the_same(cluster: Lab, external: str) -> None:
    """The sender is beyond both providers: only the connection itself knows by which of them it came."""
    made = call(cluster, "server", external, target="dmzhost", port=SMTP, bind=INTERNET)
    with held([("mail", made)]):
        assert made.seen.address == INTERNET
        assert made.reached.address == MAIL


@pytest.mark.parametrize("external", [WAN_MAIL, WAN2_MAIL])
def test_a_client_inside_reaches_the_mail_server_by_its_addresses_outside(cluster: Lab, external: str) -> None:
    made = call(cluster, "client", external, target="dmzhost", port=SMTP)
    made.close()
    assert made.seen.address == "192.168.2.1", "so that its answers come back through the firewall"


def test_one_to_one_opens_nothing_but_what_rules_pass(cluster: Lab) -> None:
    assert not is_reached(cluster, "server", WAN2_MAIL, target="dmzhost", port=SMTP + 1)


def test_local_networks_are_never_sent_to_a_gateway(cluster: Lab) -> None:
    """The rule says any destination by WAN2; what is local stays, so nothing is swallowed."""
    assert seen_as(cluster, "client", INTERNET, target="server", port=ANYWHERE) == WAN2_VIP
    assert seen_as(cluster, "client", MAIL, target="dmzhost", port=ANYWHERE) == "192.168.1.100"
    assert is_local_only(cluster)


# ------------------------------------------------------------------------------------------------- takeovers


@pytest.mark.parametrize("takeover", TAKEOVERS)
def test_every_connection_keeps_its_wan_over_a_takeover(cluster: Lab, takeover: Takeover) -> None:
    with held(everything(cluster)) as calls:
        assert len({each.seen.address for name, each in calls.made.items() if name.startswith("balanced")}) == 2
        replicated(cluster, calls)
        takeover.there(cluster)
        assert calls.dead == [], "on fw2"
        takeover.back(cluster)
        assert calls.dead == [], "back on fw1"


def test_a_new_connection_gets_the_same_wan_on_either_node(cluster: Lab) -> None:
    with held(balanced(cluster)) as calls:
        on_fw1 = [each.seen.address for each in calls.made.values()]
    Planned.there(cluster)
    with held(balanced(cluster)) as calls:
        on_fw2 = [each.seen.address for each in calls.made.values()]
    Planned.back(cluster)
    assert on_fw2 == on_fw1


# ------------------------------------------------------------------------------------------------- dead providers


@pytest.mark.parametrize(("dead", "left"), [("wan2", WAN_VIP), ("wan", WAN2_VIP)])
def test_a_dead_provider_is_left_and_used_again_when_it_is_back(cluster: Lab, dead: str, left: str) -> None:
    """Its router is silent; the links of the firewalls stay up."""
    cluster.pull("server", dead, "blocked")
    began = time.monotonic()
    for node in NODES:
        wait_status(cluster, node, f"{dead}_gw", "down")
    assert time.monotonic() - began < DOWN_S
    wait_until(lambda: set(tries(lambda: sources(cluster))) == {left}, f"all new connections go by {left}", DOWN_S)
    cluster.undo_all()
    all_online(cluster)
    wait_until(lambda: set(tries(lambda: sources(cluster))) == {WAN_VIP, WAN2_VIP}, "both are used again", DOWN_S)


def tries(ways: Callable[[], list[str]]) -> list[str]:
    """Nothing while somebody is still sent to a router that is dead."""
    try:
        return ways()
    except OSError:
        return []


def sources(lab: Lab) -> list[str]:
    call_one = partial(seen_as, lab, "client", INTERNET, target="server", port=BALANCED, wait_s=BLOCKED_S)
    return [call_one() for _ in range(FLOWS // 2)]


@pytest.fixture
def defaulting(cluster: Lab) -> Iterator[Lab]:
    """The default is a group: the first WAN, and the second when the first is dead."""
    change(cluster, {node: file_with_default_group(cluster, node) for node in NODES})
    yield cluster
    cluster.undo_all()
    change(cluster, {node: file(cluster, node, GATEWAYS) for node in NODES})


def test_a_default_group_moves_clients_and_both_nodes_to_the_living_wan(defaulting: Lab) -> None:
    """The BACKUP reaches the Internet too, whichever provider is dead."""

    def ways() -> list[str]:
        client = seen_as(defaulting, "client", INTERNET, target="server", port=PLAIN)
        return [client, *(seen_as(defaulting, node, INTERNET, target="server") for node in NODES)]

    first, second = [WAN_VIP, *OWN["wan"]], [WAN2_VIP, *OWN["wan2"]]
    assert ways() == first
    with held([("by the second WAN", call(defaulting, "client", INTERNET, target="server", port=VIA_WAN2))]) as calls:
        defaulting.pull("server", "wan", "blocked")
        for node in NODES:
            wait_status(defaulting, node, "wan_gw", "down")
        wait_until(lambda: tries(ways) == second, "everybody leaves by the second WAN", DOWN_S)
        defaulting.undo_all()
        wait_until(lambda: tries(ways) == first, "everybody leaves by the first WAN", DOWN_S)
        assert calls.dead == []


@pytest.fixture
def demoting(cluster: Lab) -> Iterator[Lab]:
    """The first WAN is important: a node that has lost it demotes itself."""
    change(cluster, {node: file(cluster, node, DEMOTING) for node in NODES})
    yield cluster
    change(cluster, {node: file(cluster, node, GATEWAYS) for node in NODES})


def test_a_node_whose_provider_is_dead_hands_over_only_to_one_that_has_it(demoting: Lab) -> None:
    with held(everything(demoting)) as calls:
        replicated(demoting, calls)
        with cut_off(demoting, OWN["wan"][0]):
            fw2_serves(demoting)
            assert calls.dead == []
            with cut_off(demoting, OWN["wan"][1]):
                wait_status(demoting, "fw2", "wan_gw", "down")
                time.sleep(STILL_S)
                assert is_settled(demoting.view(), "fw2", ["fw1"]), "both are as bad: nothing moves"
            wait_status(demoting, "fw2", "wan_gw", "online")
        settled(demoting)
        assert calls.dead == []


# ------------------------------------------------------------------------------------------------- no replication


def test_without_replication_balanced_connections_stay_on_their_wan_by_the_same_hash() -> None:
    with multiwan(pfsync=False) as lab:
        lab.wait_settled("fw1")
        all_online(lab)
        with held(balanced(lab)) as calls:
            assert len({each.seen.address for each in calls.made.values()}) == 2
            lab.power_off("fw1")
            lab.wait_settled("fw2")
            assert calls.dead == []
