"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

import inspect
import pickle

from appliance.plugin import CrashPolicy
from appliance.testing import check_plugin
from appliance_dhcp_failover import events
from appliance_dhcp_failover.plugin import DhcpFailover
from tests.unit.plugins.dhcp_failover.samples import EXAMPLE, Network, config_of, lan


def test_it_is_a_good_citizen() -> None:
    check_plugin(DhcpFailover, config=EXAMPLE, tables={"interfaces": Network()}, start=False)  # it needs Kea


def test_it_starts_after_interfaces_and_keys_and_a_crash_makes_the_node_worse() -> None:
    (made,) = DhcpFailover().appliance_services(config_of())
    assert (set(made.needs), set(made.after)) == ({"interfaces"}, {"keys", "ruleset"})
    assert made.on_crash is CrashPolicy.DEMOTE
    assert made.isolation is not None
    assert pickle.loads(pickle.dumps(made.config)) == made.config


def test_an_unchanged_configuration_makes_an_equal_service() -> None:
    (first,), (second,) = (DhcpFailover().appliance_services(config_of()) for _ in range(2))
    assert first == second
    (other,) = DhcpFailover().appliance_services(config_of(lan(lease_time=600)))
    assert first != other


def test_every_event_and_request_of_its_own_is_declared() -> None:
    own = {kind for _, kind in inspect.getmembers(events, inspect.isclass) if kind.__module__ == events.__name__}
    assert own == set(DhcpFailover().appliance_events())


def test_an_image_contains_kea() -> None:
    assert "kea-dhcp4-server" in DhcpFailover().appliance_image().packages
