"""What `show dhcp` says; the shape is relied on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from appliance_dhcp_failover import report
from appliance_dhcp_failover.config import settings_of
from appliance_dhcp_failover.leases import DECLINED
from tests.unit.plugins.dhcp_failover.samples import config_of, lan, lease, pool_of
from tests.unit.plugins.dhcp_failover.scenes import FakePool, FakeReplicator, link


def filled() -> FakePool:
    static = [{"address": "192.168.1.20", "mac": "02:00:00:00:00:03"}]
    made, now = FakePool(settings=pool_of(lan(static=static))), time.time()
    for each in (
        lease(100, hostname="pc1.example.", client_id="01:02"),
        lease(101, client=2, node="fw2", state=DECLINED),
        lease(20, client=3),
        lease(102, valid_s=1),
    ):
        made.table.put(replace(each, begun=now - 10), now)
    return made


def document(pool: FakePool, replicator: FakeReplicator, *, leases: bool = True) -> dict[str, Any]:
    settings = settings_of(config_of())
    return report.document(settings, [pool], replicator, leases=leases)  # type: ignore[list-item,arg-type]


def test_leases_may_be_left_out_and_are_counted_all_the_same() -> None:
    whole, pools = document(filled(), FakeReplicator()), document(filled(), FakeReplicator(), leases=False)
    assert pools["leases"] == []
    assert pools["leases_total"] == whole["leases_total"] == len(whole["leases"]) > 0


def test_a_pool_says_both_states_and_what_is_free() -> None:
    shown = document(filled(), FakeReplicator({"fw2": link()}))
    (pool,) = shown["pools"]
    columns = ("interface", "my_state", "peer_state", "replication", "size", "used", "free")
    assert {key: pool[key] for key in columns} == {
        "interface": "lan", "my_state": "serving", "peer_state": "standby", "replication": "synchronized",
        "size": 100, "used": 2, "free": 98,
    }  # fmt: skip
    assert (pool["subnet"], pool["server"], pool["peer"]) == ("192.168.1.0/24", "192.168.1.1", "192.168.1.3")
    assert pool["since"] == pool["peer_since"] == "2027-01-15T08:00:00.000Z"
    assert shown["peers"] == [{"name": "fw2", "state": "synchronized", "error": "", "clock_ahead_s": 0.0}]


def test_without_another_node_the_peer_state_is_that_of_replication() -> None:
    (pool,) = document(filled(), FakeReplicator())["pools"]
    assert (pool["peer_state"], pool["replication"]) == ("off", "off")


def test_leases_say_who_has_granted_them() -> None:
    rows = {row["address"]: row for row in document(filled(), FakeReplicator())["leases"]}
    assert list(rows) == ["192.168.1.20", "192.168.1.100", "192.168.1.101"]
    first, static, declined = rows["192.168.1.100"], rows["192.168.1.20"], rows["192.168.1.101"]
    assert (first["hostname"], first["client_id"], first["granted_by"], first["static"]) == (
        "pc1.example", "01:02", "fw1", False,
    )  # fmt: skip
    assert static["static"] is True
    assert (declined["state"], declined["granted_by"]) == ("declined", "fw2")


def test_leases_are_found_by_a_part_of_anything() -> None:
    for text, expected in (
        ("PC1", ["192.168.1.100"]),
        (":03", ["192.168.1.20"]),
        ("1.10", ["192.168.1.100", "192.168.1.101"]),
        ("none", []),
    ):
        found = report.found(text, [filled()], "fw1")  # type: ignore[list-item]
        assert [row["address"] for row in found["leases"]] == expected
