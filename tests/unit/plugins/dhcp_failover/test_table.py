"""All leases of a pool."""

from __future__ import annotations

import pytest

from appliance_dhcp_failover.leases import DECLINED
from appliance_dhcp_failover.table import DIGEST_S, QUIET_S, USED_S, Table
from appliance_dhcp_failover.wire import PAGE_LEASES
from tests.unit.plugins.dhcp_failover.samples import NOW, lan, lease, pool_of


def test_leases_come_and_go() -> None:
    table = Table()
    table.put(lease(100), NOW)
    table.put(lease(20), NOW)
    table.put(lease(5, age=4000), NOW)
    assert [each.address for each in table.active(NOW)] == ["192.168.1.20", "192.168.1.100"]
    assert table.drop("192.168.1.20", NOW)
    assert not table.drop("192.168.1.20", NOW)
    assert (len(table), table.get("192.168.1.20"), table.changed) == (2, None, NOW)


def test_what_kea_changed_by_itself_is_found() -> None:
    table = Table()
    table.put(lease(100, client=1), NOW)
    table.put(lease(101, client=2, node="fw2"), NOW)
    declined = lease(100, client=1, state=DECLINED)
    news = table.replace([declined, lease(101, client=2), lease(102, client=3), lease(103, age=4000)], NOW)
    assert [each.address for each in news] == ["192.168.1.100", "192.168.1.102"]
    known = table.get("192.168.1.101")
    assert known is not None
    assert known.node == "fw2", "who granted it is remembered"


def test_pages_are_all_active_leases_in_order() -> None:
    table = Table()
    for number in range(PAGE_LEASES + 10):
        table.put(lease(address=f"10.0.{number // 250}.{number % 250 + 1}", age=4000 if number == 3 else 1), NOW)
    first, following = table.page("", NOW)
    assert (len(first), following) == (PAGE_LEASES - 1, "10.0.3.250")
    second, end = table.page(following, NOW)
    assert (len(second), end) == (10, "")
    assert Table().page("", NOW) == ([], "")
    with pytest.raises(ValueError, match="x"):
        table.page("x", NOW)


def test_addresses_of_the_ranges_are_counted() -> None:
    table, pool = Table(), pool_of()
    for each in (lease(100), lease(199), lease(20), lease(101, age=4000)):
        table.put(each, NOW)
    assert table.used(pool, NOW) == 2
    table.put(lease(102), NOW)
    assert table.used(pool, NOW) == 3, "at once"
    over = NOW + 3600
    assert (table.used(pool, over - 12), table.used(pool, over - 12 + USED_S)) == (3, 3)
    assert table.used(pool, over) == 0
    assert table.used(pool_of(lan(range=["192.168.1.20"])), NOW) == 1, "other ranges are counted at once"


def test_a_digest_is_told_only_of_a_table_that_is_quiet() -> None:
    table = Table()
    table.put(lease(100), NOW)
    assert table.digest(NOW + QUIET_S - 0.1) == ""
    before = table.digest(NOW + QUIET_S)
    assert before
    table.put(lease(101), NOW + QUIET_S)
    assert table.digest(NOW + QUIET_S) == ""
    assert table.digest(NOW + 2 * QUIET_S) != before
    assert table.digest(NOW + 5000 + DIGEST_S) != before, "leases end, too"
