"""Leases in everybody's words, and which of two is the right one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_dhcp_failover import leases
from appliance_dhcp_failover.leases import DECLINED, NO_MAC, RECLAIMED, BadLease, Lease
from tests.unit.plugins.dhcp_failover.samples import NOW, lease

HOOKED: dict[str, Any] = {  # as Kea 2.2's high-availability hook sends it
    "client-id": "01:1e:f3:f0:05:5d:de", "expire": 1795929470, "force-create": True, "fqdn-fwd": False,
    "fqdn-rev": False, "hostname": "pc1.", "hw-address": "1e:f3:f0:05:5d:de", "ip-address": "192.168.1.100",
    "state": 0, "subnet-id": 1, "valid-lft": 60,
}  # fmt: skip


def test_kea_words_are_understood_both_as_the_hook_and_as_a_page_has_them() -> None:
    expected = Lease(
        address="192.168.1.100", mac="1e:f3:f0:05:5d:de", client_id="01:1e:f3:f0:05:5d:de", hostname="pc1.",
        valid_s=60, begun=1795929410.0,
    )  # fmt: skip
    assert leases.from_kea(HOOKED) == expected
    page = {key: value for key, value in HOOKED.items() if key != "expire"} | {"cltt": 1795929410}
    assert leases.from_kea(page) == expected
    assert leases.to_kea(expected) == HOOKED


def test_the_granting_node_is_kept_in_kea() -> None:
    told = leases.to_kea(lease(node="fw2"))
    assert told["user-context"] == {"granted-by": "fw2"}
    assert leases.from_kea(told).node == "fw2"
    assert "client-id" not in told


def test_a_declined_address_is_nobodys() -> None:
    told = {**HOOKED, "hw-address": "", "client-id": "", "state": DECLINED}
    assert leases.from_kea(told).mac == NO_MAC


@pytest.mark.parametrize(
    "change",
    [
        {"valid-lft": "x"},
        {"ip-address": "x"},
        {"ip-address": None},
        {"hw-address": "x"},
        {"state": 7},
        {"expire": 1e99},
    ],
)
def test_what_is_no_lease_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadLease):
        leases.from_kea({**HOOKED, **change})


TOLD = leases.to_peer(lease(), NOW, "fw1")


@pytest.mark.parametrize(
    "told",
    [
        None, {}, {**TOLD, "mac": 1}, {**TOLD, "mac": "02:0"}, {**TOLD, "hostname": "x" * 300},
        {**TOLD, "hostname": "a\nb"}, {**TOLD, "node": "x" * 64}, {**TOLD, "valid_s": True}, {**TOLD, "valid_s": -1},
        {**TOLD, "age_s": "1"}, {**TOLD, "state": 3}, {**TOLD, "address": "::1"}, {**TOLD, "client_id": "0" * 2000},
    ],
)  # fmt: skip
def test_what_a_node_tells_is_checked(told: object) -> None:
    with pytest.raises(BadLease):
        leases.from_peer(told, NOW)


def test_clocks_that_disagree_do_not_lengthen_a_lease() -> None:
    mine = lease(age=100, valid_s=3600)
    theirs = leases.from_peer(leases.to_peer(mine, NOW, "fw1"), NOW + 86_400)
    assert theirs.expires - (NOW + 86_400) == mine.expires - NOW


def test_the_younger_lease_wins_whoever_has_it() -> None:
    old, young = lease(age=100, client=1), lease(age=10, client=2)
    for they_serve in (True, False):
        assert leases.is_better(young, old, now=NOW, they_serve=they_serve)
        assert not leases.is_better(old, young, now=NOW, they_serve=they_serve)


def test_of_equals_that_of_the_serving_node_wins() -> None:
    assert leases.is_better(lease(hostname="a"), lease(hostname="b"), now=NOW, they_serve=True)
    assert not leases.is_better(lease(hostname="a"), lease(hostname="b"), now=NOW, they_serve=False)
    assert not leases.is_better(lease(age=10), lease(age=10.9), now=NOW, they_serve=True), "the same but for rounding"


def test_what_is_over_is_nothing() -> None:
    over, reclaimed = lease(age=4000), lease(state=RECLAIMED)
    assert not leases.is_better(over, None, now=NOW, they_serve=True)
    for gone in (None, over, reclaimed):
        assert leases.is_better(lease(age=100), gone, now=NOW, they_serve=False)


def test_an_address_of_another_client_is_a_conflict_only_for_who_serves() -> None:
    mine, theirs = lease(client=1), lease(client=2)
    assert leases.is_conflict(theirs, mine, now=NOW, we_serve=True)
    assert not leases.is_conflict(theirs, mine, now=NOW, we_serve=False)
    assert not leases.is_conflict(lease(client=1, age=0), mine, now=NOW, we_serve=True)
    assert not leases.is_conflict(theirs, lease(client=1, age=4000), now=NOW, we_serve=True)
    assert not leases.is_conflict(theirs, None, now=NOW, we_serve=True)


def test_a_client_is_its_identifier_or_else_its_mac() -> None:
    assert lease(client=1, client_id="01:02").is_of(lease(client=2, client_id="01:02"))
    assert not lease(client=1, client_id="01:02").is_of(lease(client=1, client_id="01:03"))
    assert lease(client=1, client_id="01:02").is_of(lease(client=1))


ADDRESS = st.integers(1, 254)
LEASE = st.builds(lambda last, client, age: lease(last, client=client, age=age), ADDRESS, st.integers(1, 9), ADDRESS)


@given(LEASE, LEASE)
def test_two_nodes_that_exchange_leases_end_with_the_same(one: Lease, other: Lease) -> None:
    first = {one.address: one}
    second = {other.address: other}
    for theirs, mine, serve in ((second, first, False), (first, second, True)):
        for each in list(theirs.values()):
            if leases.is_better(each, mine.get(each.address), now=NOW, they_serve=serve):
                mine[each.address] = each
    assert leases.digest(first.values(), NOW) == leases.digest(second.values(), NOW)


def test_a_digest_is_of_active_leases_in_any_order() -> None:
    one, two = lease(5, client=1), lease(6, client=2)
    assert leases.digest([one, two], NOW) == leases.digest([two, one, lease(7, age=4000)], NOW)
    assert leases.digest([one], NOW) != leases.digest([two], NOW)
