"""Hand-packed messages, read back with pyroute2's codec: an independent decoder."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from appliance.net import rtfacts
from appliance.net import rtmessages as m


def link(message: bytes) -> ifinfmsg:
    decoded = ifinfmsg(message)
    decoded.decode()
    return decoded


def info(message: bytes) -> tuple[str, dict[str, object]]:
    linkinfo = link(message).get_attr("IFLA_LINKINFO")
    data = linkinfo.get_attr("IFLA_INFO_DATA")
    return linkinfo.get_attr("IFLA_INFO_KIND"), dict(data["attrs"]) if data else {}


def test_a_vlan_message_says_its_id_and_parent() -> None:
    message = m.new_vlan("lan0.20", 7, 20)
    assert info(message) == ("vlan", {"IFLA_VLAN_ID": 20})
    decoded = link(message)
    assert (decoded.get_attr("IFLA_IFNAME"), decoded.get_attr("IFLA_LINK")) == ("lan0.20", 7)
    assert decoded["header"]["flags"] == m.NLM_F_REQUEST | m.NLM_F_ACK | m.NLM_F_CREATE | m.NLM_F_EXCL


def test_a_macvlan_message_is_in_bridge_mode() -> None:
    message = m.new_macvlan("vm1", 7, "00:00:5e:00:01:01", 77)
    assert info(message) == ("macvlan", {"IFLA_MACVLAN_MODE": "bridge"})
    decoded = link(message)
    assert (decoded.get_attr("IFLA_ADDRESS"), decoded.get_attr("IFLA_GROUP")) == ("00:00:5e:00:01:01", 77)


def test_an_address_message_keeps_every_option() -> None:
    message = m.add_address(3, ip_address("fd00::1"), 128, noprefixroute=True, replace=True)
    decoded = ifaddrmsg(message)
    decoded.decode()
    assert (decoded["index"], decoded["prefixlen"]) == (3, 128)
    assert decoded.get_attr("IFA_FLAGS") == m.IFA_F_NODAD | m.IFA_F_NOPREFIXROUTE
    assert decoded["header"]["flags"] == m.NLM_F_REQUEST | m.NLM_F_ACK | m.NLM_F_CREATE | m.NLM_F_REPLACE
    ipv4 = m.add_address(3, ip_address("192.0.2.1"), 24)
    decoded = ifaddrmsg(ipv4)
    decoded.decode()
    assert (decoded.get_attr("IFA_LOCAL"), decoded.get_attr("IFA_FLAGS")) == ("192.0.2.1", None)


def test_up_down_and_unchanged_are_three_different_things() -> None:
    for message, flags, change in ((m.link_up(5), 1, 1), (m.link_down(5), 0, 1), (m.set_link(5, mtu=1400), 0, 0)):
        decoded = link(message)
        assert (decoded["flags"] & 1, decoded["change"] & 1) == (flags, change)


@given(st.binary(max_size=200), st.integers(0, 100))
def test_no_bytes_upset_the_walk_over_attributes(data: bytes, kind: int) -> None:
    for _kind, start, end in m.attributes(data, 0, len(data)):
        assert 4 <= start <= end <= len(data)
    # The kernel's fixed part is always there; only what follows is arbitrary.
    rtfacts.parse_link(memoryview(b"\0" * 16 + data), 0, 16 + len(data))


def test_a_malformed_attribute_ends_the_walk() -> None:
    good = m.attribute(3, b"lan0\0")
    bad = struct.pack("=HH", 2, 3)
    found = list(m.attributes(good + bad + good, 0, len(good) * 2 + 4))
    assert found == [(3, 4, 9)]
