"""Hand-packed netlink against a real kernel, judged by `ip`."""

from __future__ import annotations

import errno
import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from appliance.errors import KernelError
from appliance.net import fastpath as fast
from appliance.net.namespace import current_namespace, in_namespace, new_namespace

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
VMAC = "00:00:5e:00:01:01"


def ip_json(*arguments: str) -> list[dict[str, Any]]:
    """What `ip` sees in the calling thread's namespace."""
    done = subprocess.run(["ip", "-j", "-d", *arguments], capture_output=True, text=True, timeout=10, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def indexes(netlink: fast.Netlink) -> dict[str, int]:
    return {link.name: link.index for link in netlink.dump_links()}


@pytest.fixture
def netlink(inside: Inside) -> Iterator[fast.Netlink]:
    made = inside(fast.Netlink)
    made.request(fast.new_veth("a0", "b0", mac="02:00:00:00:00:0a", peer_mac="02:00:00:00:00:0b"))
    index = indexes(made)
    assert made.batch([fast.link_up(index["a0"]), fast.link_up(index["b0"])]) == [0, 0]
    yield made
    made.close()


def test_importing_it_needs_neither_trio_nor_pyroute2() -> None:
    imports = "import sys, appliance.net.fastpath, appliance.net.packet"
    code = f"{imports}; print({{'trio', 'pyroute2', 'asyncio'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "set()"


def test_a_macvlan_is_made_as_carp_needs_it(inside: Inside, netlink: fast.Netlink) -> None:
    parent = indexes(netlink)["a0"]
    netlink.request(fast.new_macvlan("vm1", parent, VMAC, 77))
    index = indexes(netlink)["vm1"]
    codes = netlink.batch([fast.addrgenmode_none(index), fast.set_link(index, alias="carp lan 1"), fast.link_up(index)])
    assert codes == [0, 0, 0]
    (seen,) = inside(lambda: ip_json("link", "show", "vm1"))
    assert seen["linkinfo"] == {"info_kind": "macvlan", "info_data": seen["linkinfo"]["info_data"]}
    assert seen["linkinfo"]["info_data"]["mode"] == "bridge"
    assert (seen["address"], seen["link"], seen["group"]) == (VMAC, "a0", "77")
    assert seen["inet6_addr_gen_mode"] == "none"
    link = next(link for link in netlink.dump_links() if link.name == "vm1")
    assert (link.kind, link.mac, link.up, link.carrier) == ("macvlan", VMAC, True, True)
    assert (link.parent_index, link.group, link.alias, link.mtu) == (parent, 77, "carp lan 1", 1500)
    assert netlink.dump_addresses(index) == []


def test_addresses_come_and_go_in_one_batch(inside: Inside, netlink: fast.Netlink) -> None:
    index = indexes(netlink)["a0"]
    v4, v6 = ip_address("10.1.0.1"), ip_address("fd00:1::1")
    assert netlink.batch([fast.add_address(index, v4, 32), fast.add_address(index, v6, 128)]) == [0, 0]
    found = {(a.address, a.prefix_length) for a in netlink.dump_addresses(index) if not a.address.is_link_local}
    assert found == {(v4, 32), (v6, 128)}
    nodad, tentative = 0x02, 0x40
    (flags,) = [a.flags for a in netlink.dump_addresses(index) if a.address == v6]
    assert (flags & nodad, flags & tentative) == (nodad, 0)
    seen = inside(lambda: ip_json("address", "show", "dev", "a0", "scope", "global"))
    assert {a["local"] for device in seen for a in device.get("addr_info", ()) if a} == {"10.1.0.1", "fd00:1::1"}
    assert netlink.batch([fast.delete_address(index, v4, 32), fast.delete_address(index, v6, 128)]) == [0, 0]
    assert [a for a in netlink.dump_addresses(index) if not a.address.is_link_local] == []


def test_an_address_without_a_prefix_route_makes_no_route(inside: Inside, netlink: fast.Netlink) -> None:
    index = indexes(netlink)["a0"]
    netlink.request(fast.add_address(index, ip_address("10.1.0.1"), 24, noprefixroute=True))
    assert inside(lambda: ip_json("route", "show", "dev", "a0")) == []


def test_a_batch_tries_everything_and_tells_each_result(netlink: fast.Netlink) -> None:
    index = indexes(netlink)["a0"]
    address = ip_address("10.1.0.1")
    messages = [fast.add_address(index, address, 32), fast.add_address(index, address, 32), fast.link_up(9999)]
    messages += [fast.add_address(index, ip_address(0x0A020000 + i), 32) for i in range(300)]
    assert netlink.batch(messages) == [0, errno.EEXIST, errno.ENODEV] + [0] * 300
    assert len([a for a in netlink.dump_addresses(index) if a.family == socket.AF_INET]) == 301


def test_a_refusal_carries_the_errno_and_the_explanation(netlink: fast.Netlink) -> None:
    index = indexes(netlink)["a0"]
    with pytest.raises(fast.SystemCallError, match="Invalid prefix length") as caught:
        netlink.request(fast.add_address(index, ip_address("10.1.0.1"), 33))
    assert caught.value.code == errno.EINVAL
    assert isinstance(caught.value, KernelError)
    assert caught.value.hint
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.code, copy.message) == (fast.SystemCallError, errno.EINVAL, caught.value.message)


def test_an_answer_that_came_too_late_is_not_taken_for_another(netlink: fast.Netlink) -> None:
    index = indexes(netlink)["a0"]
    # As if an earlier call had given up: its two answers still wait in the socket.
    stale = fast.link_up(9999)
    os.write(netlink.fileno(), stale + stale)
    assert netlink.batch([fast.add_address(index, ip_address("10.1.0.1"), 32)]) == [0]


def test_a_whole_group_is_deleted_at_once(netlink: fast.Netlink) -> None:
    parent = indexes(netlink)["a0"]
    macs = [f"00:00:5e:00:01:{vhid:02x}" for vhid in range(1, 31)]
    assert set(netlink.batch([fast.new_macvlan(f"vm{i}", parent, mac, 7) for i, mac in enumerate(macs)])) == {0}
    netlink.request(fast.delete_group(7))
    assert set(indexes(netlink)) == {"lo", "a0", "b0"}
    with pytest.raises(ValueError, match="group 0"):
        fast.delete_group(0)


def test_bridges_masters_and_renames_work(inside: Inside, netlink: fast.Netlink) -> None:
    netlink.request(fast.new_bridge("br0", mac="02:00:00:00:00:0c"))
    index = indexes(netlink)
    done = [fast.set_master(index["a0"], index["br0"]), fast.set_link(index["a0"], mtu=1400, mac="02:00:00:00:00:0d")]
    assert netlink.batch(done) == [0, 0]
    (port,) = inside(lambda: ip_json("link", "show", "a0"))
    assert (port["master"], port["mtu"], port["address"]) == ("br0", 1400, "02:00:00:00:00:0d")
    (bridge,) = inside(lambda: ip_json("link", "show", "br0"))
    assert bridge["linkinfo"]["info_data"]["forward_delay"] == 0
    assert netlink.batch([fast.set_master(index["a0"], 0), fast.set_link(index["b0"], name="c0")]) == [0, 0]
    assert "c0" in indexes(netlink)


def test_devices_are_made_in_and_moved_to_other_namespaces(netlink: fast.Netlink) -> None:
    other = new_namespace()
    try:
        netlink.request(fast.new_veth("x0", "y0", peer_netns_fd=other))
        netlink.request(fast.set_netns(indexes(netlink)["b0"], other))
        there = in_namespace(other, lambda: [link["ifname"] for link in ip_json("link")])
        assert set(there) == {"lo", "y0", "b0"}
        assert set(indexes(netlink)) == {"lo", "a0", "x0"}
    finally:
        os.close(other)


def test_the_carrier_follows_the_cable(inside: Inside, netlink: fast.Netlink) -> None:
    index = indexes(netlink)
    netlink.request(fast.new_link("i0", "ifb"))
    probe = inside(fast.CarrierProbe)
    try:
        assert probe.carrier("a0") is True
        assert probe.carrier("i0") is False
        netlink.request(fast.link_up(indexes(netlink)["i0"]))
        assert probe.carrier("i0") is True
        assert probe.carrier("nosuch0") is None
        netlink.request(fast.link_down(index["b0"]))
        assert probe.carrier("a0") is False
        assert inside(lambda: fast.carrier("b0")) is False
    finally:
        probe.close()


def test_one_device_is_asked_for_by_name(netlink: fast.Netlink) -> None:
    every = {link.name: link for link in netlink.dump_links()}
    assert netlink.link("a0") == every["a0"]
    assert netlink.link("nosuch0") is None
    with pytest.raises(fast.SystemCallError, match="cannot ask for the device"):
        netlink.link("longer-than-a-name-can-be")
    netlink.request(fast.link_down(every["b0"].index))
    link = netlink.link("a0")
    assert link is not None
    assert (link.up, link.carrier) == (True, False)


def test_the_monitor_reports_links_addresses_and_neighbours(inside: Inside, netlink: fast.Netlink) -> None:
    groups = (fast.Group.LINK, fast.Group.IPV4_IFADDR, fast.Group.IPV6_IFADDR, fast.Group.NEIGH)
    with inside(lambda: fast.Monitor(*groups)) as monitor:
        index = indexes(netlink)["a0"]
        address = ip_address("10.1.0.1")
        netlink.request(fast.add_address(index, address, 24))
        # The kernel may still be telling about the new links.
        (added,) = [event for event in monitor.drain() if isinstance(event, fast.AddressEvent)]
        assert (added.address.address, added.address.prefix_length, added.deleted) == (address, 24, False)
        inside(lambda: subprocess.run(["ip", "neigh", "add", "10.1.0.9", "lladdr", VMAC, "dev", "a0"], check=True))
        (neighbour,) = [event for event in monitor.drain() if isinstance(event, fast.NeighbourEvent)]
        assert (neighbour.index, str(neighbour.address), neighbour.mac) == (index, "10.1.0.9", VMAC)
        netlink.request(fast.delete_link(index))
        gone = {event.link.name for event in monitor.drain() if isinstance(event, fast.LinkEvent) and event.deleted}
        assert gone == {"a0", "b0"}


def test_the_monitor_sees_somebody_else_open_the_gate(inside: Inside, netlink: fast.Netlink) -> None:
    groups = (fast.Group.IPV4_NETCONF, fast.Group.IPV6_NETCONF, fast.Group.IPV6_IFINFO)
    parent = indexes(netlink)["a0"]
    netlink.request(fast.new_macvlan("vm1", parent, VMAC))
    index = indexes(netlink)["vm1"]
    gate4 = inside(lambda: fast.Sysctl("net/ipv4/conf/vm1/forwarding"))
    gate6 = inside(lambda: fast.Sysctl("net/ipv6/conf/vm1/disable_ipv6"))
    with gate4, gate6, inside(lambda: fast.Monitor(*groups)) as monitor:
        gate4.write("0")
        gate6.write("1")
        netlink.request(fast.link_up(index))
        monitor.drain()

        def sysctl_system() -> None:
            for path, value in (
                ("ipv4/ip_forward", "0"),
                ("ipv4/ip_forward", "1"),
                ("ipv6/conf/all/disable_ipv6", "0"),
            ):
                with fast.Sysctl(f"net/{path}") as sysctl:
                    sysctl.write(value)

        inside(sysctl_system)
        events = [event for event in monitor.drain() if isinstance(event, fast.NetconfEvent) and event.index == index]
        assert (socket.AF_INET, True) in {(event.family, event.forwarding) for event in events}
        assert (socket.AF_INET6, False) in {(event.family, event.disable_ipv6) for event in events}
        assert (gate4.read(), gate6.read()) == ("1", "0")


def test_a_monitor_that_is_not_read_says_that_it_lost_something(inside: Inside, netlink: fast.Netlink) -> None:
    index = indexes(netlink)["a0"]
    with inside(lambda: fast.Monitor(fast.Group.IPV4_IFADDR)) as monitor:
        with socket.socket(fileno=os.dup(monitor.fileno())) as small:
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        netlink.batch([fast.add_address(index, ip_address(0x0A020000 + i), 32) for i in range(64)])
        assert fast.Lost() in monitor.drain()


def test_a_sysctl_stays_open_across_namespaces_and_says_when_it_is_gone(inside: Inside, netlink: fast.Netlink) -> None:
    with inside(lambda: fast.Sysctl("net/ipv4/conf/a0/forwarding")) as sysctl:
        sysctl.write("1")
        assert sysctl.read() == "1"
        sysctl.write("0")
        assert sysctl.read() == "0"
        netlink.request(fast.delete_link(indexes(netlink)["a0"]))
        with pytest.raises(fast.SystemCallError) as caught:
            sysctl.write("1")
        assert caught.value.code == errno.ENOENT
    with pytest.raises(fast.SystemCallError, match="net/ipv4/conf/nosuch0/forwarding"):
        fast.Sysctl("net/ipv4/conf/nosuch0/forwarding")


def test_a_sysctl_that_may_spin_is_written_with_ordinary_priority(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *of: (seen.append(os.sched_getscheduler(0)), write(*of)))

    def write_both() -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(7))
        for name in ("arp_ignore", "forwarding"):
            with fast.Sysctl(f"net/ipv4/conf/lo/{name}") as sysctl:
                sysctl.write("1")
        seen.append(os.sched_getscheduler(0))
        assert os.sched_getparam(0).sched_priority == 7

    inside(write_both)
    assert seen == [os.SCHED_FIFO, os.SCHED_OTHER, os.SCHED_FIFO]


def test_a_missing_namespace_is_a_clear_error() -> None:
    with pytest.raises(fast.SystemCallError, match=r"/run/netns/no-such-namespace"):
        in_namespace("/run/netns/no-such-namespace", lambda: None)


def test_a_thread_in_a_namespace_leaves_the_caller_where_it_was(inside: Inside) -> None:
    before = os.stat("/proc/thread-self/ns/net").st_ino
    there = inside(lambda: os.stat("/proc/thread-self/ns/net").st_ino)
    assert there != before
    assert os.stat("/proc/thread-self/ns/net").st_ino == before
    fd = inside(current_namespace)
    assert os.fstat(fd).st_ino == there
    os.close(fd)


def test_an_exception_inside_a_namespace_reaches_the_caller(inside: Inside) -> None:
    with pytest.raises(ZeroDivisionError):
        inside(lambda: 1 // 0)
