"""What the kernel says about churn, and how operations read in the log."""

from __future__ import annotations

import socket

from appliance.net.bonding import BondOptions
from appliance_lagg import plan as p
from appliance_lagg.kernel import Churn, describe, parse_churn, speed

TEXT = """Ethernet Channel Bonding Driver: v6.1.0

Bonding Mode: IEEE 802.3ad Dynamic link aggregation

Slave Interface: eth0
MII Status: up
Actor Churn State: none
Partner Churn State: monitoring
Actor Churned Count: 1
Partner Churned Count: 2

Slave Interface: eth1
MII Status: down
Actor Churn State: churned
Partner Churn State: churned
Actor Churned Count: 0
Partner Churned Count: 1
"""


def test_churn_is_read_by_member() -> None:
    assert parse_churn(TEXT) == {"eth0": Churn("none", "monitoring", 3), "eth1": Churn("churned", "churned", 1)}
    assert parse_churn("Bonding Mode: fault-tolerance\n\nSlave Interface: eth0\nMII Status: up\n") == {}


def test_the_speed_of_a_virtual_device_is_not_known() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert speed(sock, "lo") == (None, "")
        assert speed(sock, "no-such-device") == (None, "")


def test_operations_read_well() -> None:
    options = BondOptions()
    found = [
        p.CreateBond(lagg="l", options=options, mtu=None),
        p.DeleteBond(lagg="l", index=9),
        p.MarkBond(lagg="l", index=9),
        p.SetOptions(lagg="l", index=9, options=options),
        p.Rebuild(lagg="l", index=9, options=options, mac="", was_up=True, members=()),
        p.AddMember(lagg="l", index=9, member="eth1", member_index=3),
        p.RemoveMember(lagg="l", member="eth1", member_index=3),
        p.SetMtu(lagg="l", device="l.7", index=9, mtu=9000),
        p.SetUp(lagg="l", index=9),
    ]
    assert [describe(each) for each in found] == [
        "create",
        "delete",
        "mark as ours",
        "set options",
        "take down, change, take up",
        "add eth1",
        "remove eth1",
        "set MTU 9000 of l.7",
        "set up",
    ]
