"""Bonds as the kernel reports them, from messages put together by hand."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from appliance.net import rtmessages as m
from appliance.net.bonding import Bond, BondMember, BondMode, BondOptions, HashPolicy, PortState, parse_bonding
from appliance.net.rtnl import _bond_info

INFO_SLAVE_KIND, INFO_SLAVE_DATA, AD_INFO = 4, 5, 23
MAC, PARTNER = bytes.fromhex("020000000001"), bytes.fromhex("020000000099")


def u8(kind: int, value: int) -> bytes:
    return m.attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    return m.attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    return m.attribute(kind, struct.pack("=I", value))


def body(index: int, name: str, info: bytes, master: int = 0) -> memoryview:
    head = struct.pack("=BxHiII", 0, 1, index, m.IFF_UP | m.IFF_LOWER_UP, 0)
    attributes = m.attribute(m.IFLA_IFNAME, name.encode() + b"\0") + m.attribute(m.IFLA_ADDRESS, MAC)
    attributes += u32(m.IFLA_MTU, 1500) + (u32(m.IFLA_MASTER, master) if master else b"")
    return memoryview(head + attributes + m.attribute(m.IFLA_LINKINFO, info))


def bond(data: bytes) -> memoryview:
    return body(9, "lagg0", m.attribute(m.IFLA_INFO_KIND, b"bond\0") + m.attribute(m.IFLA_INFO_DATA, data))


def member(data: bytes) -> memoryview:
    info = m.attribute(INFO_SLAVE_KIND, b"bond\0") + m.attribute(INFO_SLAVE_DATA, data)
    return body(2, "eth0", info, master=9)


LACP = m.attribute(AD_INFO, u16(1, 3) + u16(2, 2) + u16(3, 15) + u16(4, 7) + m.attribute(5, PARTNER))


def parsed_bond(data: bytes) -> Bond:
    return parse_bonding([bond(data)]).bonds["lagg0"]


def parsed_member(data: bytes) -> BondMember:
    return parse_bonding([member(data)]).members["eth0"]


def encoded(options: BondOptions, **others: int) -> memoryview:
    """What `Rtnl` sends, by pyroute2's codec, which knows the numbers of all options by itself."""
    info = _bond_info(options)
    info["attrs"][1][1]["attrs"] += others.items()
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", "lagg0"), ("IFLA_MTU", 1500), ("IFLA_LINKINFO", info)]
    message.encode()
    return memoryview(bytes(message.data))[m.HEADER.size :]


def test_options_are_read_as_they_are_written() -> None:
    options = BondOptions(
        mode=BondMode.ACTIVE_BACKUP,
        link_check_ms=50,
        up_delay_ms=100,
        primary_index=2,
        hash_policy=HashPolicy.LAYER34,
        announcements=3,
        all_active=True,
        lacp_fast=False,
    )
    found = parse_bonding([encoded(options, IFLA_BOND_ACTIVE_SLAVE=2)]).bonds["lagg0"]
    assert found.options == options
    assert (found.active_index, found.partner_mac, found.link.mtu) == (2, "", 1500)


def test_what_lacp_found_out() -> None:
    found = parsed_bond(u8(1, 4) + LACP)
    assert (found.options.mode, found.aggregator, found.ports) == (BondMode.LACP, 3, 2)
    assert (found.actor_key, found.partner_key, found.partner_mac) == (15, 7, "02:00:00:00:00:99")


def test_modes_and_policies_that_are_not_ours_are_not_known() -> None:
    options = parsed_bond(u8(1, 6) + u8(14, 5)).options
    assert (options.mode, options.hash_policy) == (None, None)


def test_a_member() -> None:
    data = u8(1, 1) + u8(2, 2) + u32(3, 4) + m.attribute(4, PARTNER) + u16(6, 3) + u8(7, 0x3D) + u16(8, 0x05)
    found = parsed_member(data)
    assert (found.is_active, found.has_link, found.failures) == (False, False, 4)
    assert (found.permanent_mac, found.aggregator) == ("02:00:00:00:00:99", 3)
    assert PortState.DISTRIBUTING in found.actor
    assert found.partner == PortState.ACTIVITY | PortState.AGGREGATION
    assert parsed_member(u8(1, 0) + u8(2, 0)).is_active


def test_members_are_found_by_their_bond_and_other_devices_are_neither() -> None:
    vlan = body(12, "lagg0.7", m.attribute(m.IFLA_INFO_KIND, b"vlan\0"))
    bridged = body(13, "eth5", m.attribute(INFO_SLAVE_KIND, b"bridge\0") + m.attribute(INFO_SLAVE_DATA, b""), master=14)
    found = parse_bonding([bond(u8(1, 1)), member(u8(1, 0)), vlan, bridged])
    assert [each.link.name for each in found.members_of(found.bonds["lagg0"])] == ["eth0"]
    assert (set(found.links), set(found.bonds)) == ({"lagg0", "eth0", "lagg0.7", "eth5"}, {"lagg0"})
    assert found.links["eth5"].master_index == 14


@given(st.binary(max_size=120))
def test_nothing_that_a_kernel_could_say_raises(data: bytes) -> None:
    parse_bonding([bond(data), member(data)])
