"""What may be written into ``[lagg]``, and what the kernel gets to hear of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from appliance.net.bonding import BondMode, HashPolicy
from appliance_lagg.config import LaggConfig, settings_of
from tests.unit.plugins.lagg.configured import BOTH, configured, wanted


@pytest.mark.parametrize(
    ("protocol", "mode", "policy", "fast"),
    [
        ("lacp", BondMode.LACP, HashPolicy.LAYER34, False),
        ("loadbalance", BondMode.XOR, HashPolicy.LAYER34, None),
        ("roundrobin", BondMode.ROUND_ROBIN, None, None),
        ("failover", BondMode.ACTIVE_BACKUP, None, None),
        ("none", BondMode.ACTIVE_BACKUP, None, None),
    ],
)
def test_protocols_are_modes_of_the_kernel(
    protocol: str, mode: BondMode, policy: HashPolicy | None, fast: bool | None
) -> None:
    options = wanted(protocol).options
    assert (options.mode, options.hash_policy, options.lacp_fast) == (mode, policy, fast)
    assert options.all_active is False


@pytest.mark.parametrize(
    ("hashed", "policy"), [("l2", HashPolicy.LAYER2), ("l3", HashPolicy.LAYER23), ("l4", HashPolicy.LAYER34)]
)
def test_hashes_are_policies_of_the_kernel(hashed: str, policy: HashPolicy) -> None:
    assert wanted("lacp", hash=hashed).options.hash_policy is policy


def test_failover_prefers_its_first_member_unless_told_otherwise() -> None:
    assert (wanted().primary, wanted(primary="eth1").primary, wanted("lacp").primary) == ("eth0", "eth1", "")
    assert wanted(failover_rx="all").options.all_active is True


def test_without_a_protocol_nobody_carries_anything() -> None:
    assert (wanted("none").carriers, wanted().carriers) == ((), ("eth0", "eth1"))


def test_a_delay_is_a_multiple_of_the_interval_of_link_checks() -> None:
    assert [wanted(up_delay=seconds).options.up_delay_ms for seconds in (0.0, 0.06, 30.0)] == [0, 50, 30000]
    assert wanted().options.up_delay_ms == 1000


def test_an_mtu_may_be_said_here_or_at_the_interface() -> None:
    table = {"members": BOTH, "protocol": "failover"}
    on_it = settings_of(configured({"lagg0": table}, lan={"device": "lagg0", "mtu": 9000})).laggs[0]
    here = settings_of(configured({"lagg0": {**table, "mtu": 9000}}, lan={"device": "lagg0"})).laggs[0]
    assert (on_it.mtu, here.mtu, wanted().mtu) == (9000, 9000, None)
    vlans = {
        "dmz": {"vlan": {"parent": "lagg0", "id": 7}, "mtu": 1400},
        "guest": {"vlan": {"parent": "lagg0", "id": 8}},
    }
    assert settings_of(configured({"lagg0": table}, **vlans)).laggs[0].own_mtu == {"lagg0.7"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"protocol": "failover", "rate": "fast"}, 'rate is for protocol "lacp"; this one is "failover"'),
        ({"protocol": "roundrobin", "hash": "l2"}, 'hash is for protocol "lacp" and "loadbalance"'),
        ({"protocol": "lacp", "primary": "eth0"}, 'primary is for protocol "failover"'),
        ({"protocol": "none", "failover_rx": "all"}, 'failover_rx is for protocol "failover"'),
        ({"protocol": "etherchannel"}, "'lacp', 'failover'"),
        ({"protocol": "lacp", "up_delay": -1.0}, "greater than or equal to 0"),
    ],
)
def test_what_does_not_fit_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LaggConfig.model_validate({"lagg0": {"members": BOTH, **table}})
    assert message in str(caught.value)


def test_there_are_limits() -> None:
    table = {"members": BOTH, "protocol": "lacp"}
    for wrong in (
        {f"lagg{number}": table for number in range(33)},
        {"lagg0": {**table, "members": [f"eth{number}" for number in range(17)]}},
        {"lagg/0": table},
    ):
        with pytest.raises(ValidationError):
            LaggConfig.model_validate(wrong)
