"""The trio netlink socket against a real kernel."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
import trio

from appliance.net import fastpath as fast
from appliance.net import kernel
from appliance.net.rtfacts import Route
from appliance.net.rtnl import Rtnl, RtnlMonitor

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
PROTOCOL = 73


def run(inside: Inside, body: Callable[[Rtnl, dict[str, int]], Awaitable[None]]) -> None:
    """Run the body in the test's namespace, with a pair of devices that are up."""

    async def main() -> None:
        with fast.Netlink() as netlink:
            netlink.request(fast.new_veth("a0", "b0"))
            index = {link.name: link.index for link in netlink.dump_links()}
            netlink.batch([fast.link_up(number) for number in index.values()])
        with trio.fail_after(30), Rtnl() as rtnl:
            await body(rtnl, index)

    inside(lambda: trio.run(main))


def ip(*arguments: str) -> Any:
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, timeout=10, check=True)
    return json.loads(done.stdout or "[]")


def test_addresses_are_added_listed_and_removed(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        four, six = ip_interface("10.1.0.2/24"), ip_interface("fd00:1::2/64")
        await rtnl.add_address(index["a0"], four)
        await rtnl.add_address(index["a0"], six)
        found = {f"{a.address}/{a.prefix_length}" for a in await rtnl.addresses(index["a0"])}
        assert {"10.1.0.2/24", "fd00:1::2/64"} <= found
        (seen,) = ip("-4", "address", "show", "dev", "a0")
        assert seen["addr_info"][0]["broadcast"] == "10.1.0.255"
        with pytest.raises(fast.SystemCallError, match=r"cannot add the address 10\.1\.0\.2/24") as caught:
            await rtnl.add_address(index["a0"], four)
        assert caught.value.code == errno.EEXIST
        await rtnl.delete_address(index["a0"], four)
        await rtnl.delete_address(index["a0"], six)
        assert not {"10.1.0.2", "fd00:1::2"} & {str(a.address) for a in await rtnl.addresses()}
        assert await rtnl.addresses(9999) == []

    run(inside, body)


def test_a_fresh_namespace_has_no_routes(inside: Inside) -> None:
    async def main() -> None:
        with Rtnl() as rtnl:
            assert await rtnl.routes(protocol=PROTOCOL) == []

    inside(lambda: trio.run(main))


def test_routes_are_added_replaced_filtered_and_removed(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        a0 = index["a0"]
        for cidr in ("10.1.0.2/24", "fd00:1::2/64"):
            await rtnl.add_address(a0, ip_interface(cidr))
        default = Route(to=ip_network("0.0.0.0/0"), via=ip_address("10.1.0.9"), index=a0, protocol=PROTOCOL)
        six = Route(to=ip_network("::/0"), via=ip_address("fd00:1::9"), index=a0, metric=1024, protocol=PROTOCOL)
        net = Route(to=ip_network("10.9.0.0/16"), index=a0, metric=7, protocol=PROTOCOL)
        for route in (default, six, net):
            await rtnl.add_route(route)
            await rtnl.add_route(route)
        assert set(await rtnl.routes(protocol=PROTOCOL)) == {default, six, net}
        assert len(await rtnl.routes()) > 3
        assert set(await rtnl.routes(protocol=PROTOCOL, index=a0)) == {default, six, net}
        assert await rtnl.routes(protocol=PROTOCOL, index=index["b0"]) == []
        assert [r["gateway"] for r in ip("route", "show", "default")] == ["10.1.0.9"]
        for route in (default, six, net):
            await rtnl.delete_route(route)
        assert await rtnl.routes(protocol=PROTOCOL) == []
        with pytest.raises(fast.SystemCallError) as caught:
            await rtnl.delete_route(default)
        assert caught.value.code == errno.ESRCH

    run(inside, body)


def test_a_route_whose_gateway_is_not_on_the_link_is_refused_in_words(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        route = Route(to=ip_network("0.0.0.0/0"), via=ip_address("192.0.2.1"), index=index["a0"])
        with pytest.raises(fast.SystemCallError, match=r"route to 0\.0\.0\.0/0.*gateway") as caught:
            await rtnl.add_route(route)
        assert caught.value.hint

    run(inside, body)


def test_neighbours_that_do_not_answer_are_forgotten_and_the_others_kept(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        await rtnl.add_address(index["a0"], ip_interface("10.1.0.2/24"))
        await rtnl.add_address(index["a0"], ip_interface("fd00:1::2/64"))
        ip("neighbour", "add", "10.1.0.7", "lladdr", "02:00:00:00:00:07", "dev", "a0")
        for family, silent in ((socket.AF_INET, "10.1.0.9"), (socket.AF_INET6, "fd00:1::9")):
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.sendto(b"?", (silent, 9))
        assert await rtnl.forget_unresolved(index["b0"]) == 0
        assert await rtnl.forget_unresolved(index["a0"]) == 2
        assert [entry["dst"] for entry in ip("neighbour", "show", "dev", "a0")] == ["10.1.0.7"]
        assert await rtnl.forget_unresolved(index["a0"]) == 0

    run(inside, body)


def test_devices_are_changed_and_removed(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        await rtnl.set_link(index["a0"], mtu=1400, up=False)
        link = next(link for link in await rtnl.links() if link.name == "a0")
        assert (link.mtu, link.up, link.kind) == (1400, False, "veth")
        await rtnl.set_link(index["a0"], up=True)
        await rtnl.delete_link(index["a0"])
        assert [link.name for link in await rtnl.links()] == ["lo"]

    run(inside, body)


def test_a_vlan_is_made_or_refused_in_words(inside: Inside) -> None:
    """Kernels without 802.1Q exist, and their refusal has to be as good as their help."""

    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        if kernel.link_kind("vlan"):
            await rtnl.add_vlan("a0.20", parent_index=index["a0"], vlan_id=20)
            (seen,) = ip("-d", "link", "show", "a0.20")
            assert seen["linkinfo"]["info_data"]["id"] == 20
            return
        with pytest.raises(fast.SystemCallError, match=r"cannot create the VLAN a0\.20") as caught:
            await rtnl.add_vlan("a0.20", parent_index=index["a0"], vlan_id=20)
        assert caught.value.code == errno.EOPNOTSUPP
        assert "kernel" in caught.value.hint

    run(inside, body)


def test_a_cancelled_request_does_not_confuse_the_next(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        for number in range(20):
            with trio.CancelScope() as scope:
                scope.cancel()
                await rtnl.links()
            await rtnl.add_address(index["a0"], ip_interface(f"10.1.0.{number + 1}/24"))
        assert len([a for a in await rtnl.addresses(index["a0"]) if a.address.version == 4]) == 20

    run(inside, body)


def test_requests_of_many_tasks_do_not_mix(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        async def add(number: int) -> None:
            await rtnl.add_address(index["a0"], ip_interface(f"10.1.{number}.1/24"))
            assert index["a0"] in {link.index for link in await rtnl.links()}

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(add, number)
        assert len([a for a in await rtnl.addresses(index["a0"]) if a.address.version == 4]) == 50

    run(inside, body)


def test_the_monitor_reports_while_requests_run(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        with RtnlMonitor(fast.Group.IPV4_IFADDR, fast.Group.LINK, fast.Group.IPV4_ROUTE) as monitor:
            await rtnl.add_address(index["a0"], ip_interface("10.1.0.2/24"))
            events = await monitor.receive()
            while not any(isinstance(event, fast.AddressEvent) for event in events):
                events += await monitor.receive()
            await rtnl.delete_link(index["a0"])
            while not any(isinstance(event, fast.LinkEvent) and event.deleted for event in events):
                events += await monitor.receive()

    run(inside, body)


def test_hundreds_of_routes_are_listed_whole(inside: Inside) -> None:
    async def body(rtnl: Rtnl, index: dict[str, int]) -> None:
        wanted = {
            Route(to=ip_network(f"10.{n // 256}.{n % 256}.0/24"), index=index["a0"], protocol=PROTOCOL)
            for n in range(600)
        }
        for route in wanted:
            await rtnl.add_route(route)
        assert set(await rtnl.routes(protocol=PROTOCOL)) == wanted
        # A list that was left in the middle does not keep the next one from being read.
        for tenths in range(60):
            with trio.move_on_after(tenths / 10_000):
                await rtnl.routes()
            assert "a0" in {link.name for link in await rtnl.links()}
        assert set(await rtnl.routes(protocol=PROTOCOL)) == wanted

    run(inside, body)
