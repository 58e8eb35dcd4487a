"""The plugin as the host sees it."""

from __future__ import annotations

from appliance.testing.conformance import check_plugin
from appliance_lagg.plugin import Lagg
from tests.unit.plugins.lagg.configured import BOTH, configured

TABLE = {"lagg0": {"members": BOTH, "protocol": "failover"}}


def test_it_is_a_good_citizen() -> None:
    check_plugin(Lagg, config=TABLE, start=False)  # it needs a kernel with bonding: see tests/guest/lagg


def test_it_needs_bonding_only_when_there_is_an_aggregation() -> None:
    (need,) = Lagg().appliance_kernel(configured(TABLE))
    assert (need.path, need.kind) == (("lagg",), "bond")
    assert Lagg().appliance_kernel(configured({})) == []


def test_a_changed_mtu_of_an_interface_reaches_the_service() -> None:
    before, now = (
        Lagg().appliance_services(configured(TABLE, lan={"device": "lagg0", "mtu": mtu}))[0].config
        for mtu in (1500, 9000)
    )
    assert before != now
