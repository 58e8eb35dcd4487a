"""The interfaces service against a real kernel, judged by `ip`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

import appliance_interfaces.kernel
from appliance.errors import ApplianceError
from appliance.events import AddressesChanged, Alarm, Health, LinkChanged, Status
from appliance.net import kernel
from appliance.net.namespace import in_namespace, new_namespace
from appliance.net.rtnl import Rtnl
from appliance.testing.harness import run_service
from appliance.testing.node import RunningNode
from appliance.testing.waiting import eventually
from appliance_interfaces import memory
from appliance_interfaces.plan import Actual
from appliance_interfaces.plugin import Interfaces

pytestmark = pytest.mark.netns

Body = Callable[[], Awaitable[None]]
WAN = {"device": "wan0", "addresses": ["198.51.100.201/24", "2001:db8:ffff::201/64"]}
ROUTES = [{"to": "default", "via": "198.51.100.1"}, {"to": "default", "via": "2001:db8:ffff::1"}]


@pytest.fixture
def inside() -> Iterator[Callable[[Body], None]]:
    """Runs a coroutine function in a namespace that has wan0 and lan0, each with a far end."""
    namespace = new_namespace()

    def call(body: Body) -> None:
        async def bounded() -> None:
            with trio.fail_after(30):
                await body()

        def run() -> None:
            # Without any address the kernel has no local table, and takes every gateway for a broadcast.
            ip("link", "set", "lo", "up")
            for device in ("wan0", "lan0"):
                ip("link", "add", device, "type", "veth", "peer", "name", f"far-{device}")
                ip("link", "set", f"far-{device}", "up")
            trio.run(bounded)

        in_namespace(namespace, run)

    yield call
    os.close(namespace)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)


def seen(*arguments: str) -> Any:
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, timeout=10, check=True)
    return json.loads(done.stdout or "[]")


def addresses(device: str) -> set[str]:
    found = seen("address", "show", "dev", device)
    every = (address for each in found for address in each.get("addr_info", []) if address)
    return {f"{address['local']}/{address['prefixlen']}" for address in every if address["scope"] != "link"}


def gateways() -> set[str]:
    return {route["gateway"] for family in ("-4", "-6") for route in seen(family, "route", "show", "default")}


def sysctl(path: str) -> str:
    return Path("/proc/sys", path).read_text(encoding="ascii").strip()


def set_sysctl(path: str, value: str) -> None:
    Path("/proc/sys", path).write_text(value, encoding="ascii")


def service(config: dict[str, Any], state_dir: Path | None = None) -> AbstractAsyncContextManager[RunningNode]:
    return run_service(Interfaces, config=config, state_dir=state_dir)


def alarms(node: RunningNode) -> dict[str, str]:
    return {alarm.key: alarm.what for alarm in node.retained(Alarm) if alarm.active}


def test_an_interface_is_configured_before_the_service_is_ready(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": {**WAN, "mtu": 1400, "routes": ROUTES}}) as node:
            assert addresses("wan0") == set(WAN["addresses"])
            assert gateways() == {"198.51.100.1", "2001:db8:ffff::1"}
            (link,) = seen("link", "show", "wan0")
            assert link["mtu"] == 1400
            assert "UP" in link["flags"]
            (changed,) = node.retained(AddressesChanged)
            assert (changed.interface, changed.addresses) == ("wan", tuple(WAN["addresses"]))
            await eventually(lambda: node.retained(LinkChanged)[0].up)
            (told,) = node.retained(LinkChanged)
            assert (told.device, told.present, told.mtu, told.mac) == ("wan0", True, 1400, link["address"])
            assert node.retained(Status)[0].health is Health.OK
            assert alarms(node) == {}
        assert addresses("wan0") == set(WAN["addresses"]), "addresses stay at an orderly end"
        assert gateways() == {"198.51.100.1", "2001:db8:ffff::1"}

    inside(body)


def test_ipv6_addresses_are_usable_at_once(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": WAN}):
            (device,) = seen("-6", "address", "show", "dev", "wan0", "scope", "global")
            assert "tentative" not in device["addr_info"][0]

    inside(body)


def test_switches_are_set_and_not_rewritten(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": WAN}) as node:
            assert (sysctl("net/ipv4/ip_forward"), sysctl("net/ipv6/conf/all/forwarding")) == ("1", "1")
            assert sysctl("net/ipv4/conf/wan0/arp_ignore") == "1"
            assert sysctl("net/ipv4/conf/wan0/arp_announce") == "2"
            assert sysctl("net/ipv4/conf/wan0/promote_secondaries") == "1"
            assert sysctl("net/ipv6/conf/wan0/keep_addr_on_down") == "1"
            assert sysctl("net/ipv4/conf/lan0/arp_ignore") == "0"
            # A gate that somebody closed stays closed over a reload: nothing was written again.
            set_sysctl("net/ipv4/conf/lan0/forwarding", "0")
            await node.reload({"wan": WAN, "lan": {"device": "lan0"}})
            assert sysctl("net/ipv4/conf/lan0/forwarding") == "0"
            finding = await node.check("interfaces-forwarding")
            assert finding.health is Health.OK

    inside(body)


def test_forwarding_that_somebody_switches_off_is_switched_on_again(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": WAN}) as node:
            for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
                set_sysctl(path, "0")
                await eventually(lambda path=path: sysctl(path) == "1")  # type: ignore[misc]
            assert node.log("drift_repaired")[0]["switches"] == ["net/ipv4/ip_forward"]
            # One device alone is somebody's gate, and no drift.
            set_sysctl("net/ipv4/conf/lan0/forwarding", "0")
            ip("address", "delete", "198.51.100.201/24", "dev", "wan0")
            await eventually(lambda: addresses("wan0") == set(WAN["addresses"]))
            assert sysctl("net/ipv4/conf/lan0/forwarding") == "0"

    inside(body)


def test_a_reload_changes_only_what_differs(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        lan = {"device": "lan0", "addresses": ["192.168.1.2/24"]}
        async with service({"wan": {**WAN, "routes": ROUTES}, "lan": lan}) as node:
            (before,) = seen("-d", "address", "show", "dev", "wan0")
            changed = {"device": "lan0", "addresses": ["192.168.1.9/24", "fd00:1::2/64"]}
            await node.reload({"wan": {**WAN, "routes": ROUTES[:1]}, "lan": changed})
            assert addresses("lan0") == {"192.168.1.9/24", "fd00:1::2/64"}
            assert gateways() == {"198.51.100.1"}
            assert seen("-d", "address", "show", "dev", "wan0") == [before]
            await node.reload({"wan": {**WAN, "routes": ROUTES}})
            assert addresses("lan0") == set()
            gone = {event.interface: event for event in node.retained(LinkChanged)}["lan"]
            assert not gone.present
            assert {service.restarts for service in node.services()} == {0}

    inside(body)


def test_only_our_own_addresses_are_removed_also_after_a_restart(
    inside: Callable[[Body], None], tmp_path: Path
) -> None:
    async def body() -> None:
        async with service({"wan": WAN}, tmp_path):
            ip("address", "add", "203.0.113.5/24", "dev", "wan0")
        async with service({"wan": {"device": "wan0"}}, tmp_path) as node:
            assert addresses("wan0") == {"203.0.113.5/24"}
            await node.reload({"wan": {"device": "wan0", "foreign_addresses": "remove"}})
            assert addresses("wan0") == set()

    inside(body)


def test_a_damaged_memory_is_told_and_costs_only_the_removal(inside: Callable[[Body], None], tmp_path: Path) -> None:
    folder = tmp_path / "interfaces"
    folder.mkdir()
    (folder / memory.FILE_NAME).write_text("{", encoding="ascii")

    async def body() -> None:
        async with service({"wan": WAN}, tmp_path) as node:
            assert node.log("owned_addresses_forgotten")
            assert addresses("wan0") == set(WAN["addresses"])

    inside(body)


def test_drift_is_repaired(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": {**WAN, "mtu": 1400, "routes": ROUTES}}) as node:
            wanted, two = set(WAN["addresses"]), {"198.51.100.1", "2001:db8:ffff::1"}
            for drift in (
                ["address", "delete", "198.51.100.201/24", "dev", "wan0"],
                ["-6", "route", "delete", "default"],
                ["route", "replace", "default", "via", "198.51.100.77"],
                ["link", "set", "wan0", "mtu", "1500"],
            ):
                repaired = len(node.log("drift_repaired"))
                ip(*drift)
                await eventually(lambda before=repaired: len(node.log("drift_repaired")) > before)
                await trio.sleep(0.1)
                assert (addresses("wan0"), gateways()) == (wanted, two)
                assert seen("link", "show", "wan0")[0]["mtu"] == 1400
            ip("address", "add", "203.0.113.5/24", "dev", "wan0")
            await trio.sleep(0.3)
            assert addresses("wan0") == wanted | {"203.0.113.5/24"}
            assert len(node.log("drift_repaired")) == 4

    inside(body)


def test_a_change_that_comes_while_the_kernel_is_looked_at_is_told_as_well(
    inside: Callable[[Body], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = appliance_interfaces.kernel.read
    changes = [["address", "delete", "198.51.100.201/24", "dev", "wan0"]]

    async def look(rtnl: Rtnl) -> Actual:
        actual = await looked(rtnl)
        if node_is_ready and changes:
            ip(*changes.pop())
        return actual

    async def body() -> None:
        nonlocal node_is_ready
        async with service({"wan": WAN}) as node:
            node_is_ready = True
            ip("link", "set", "wan0", "txqueuelen", "500")  # a reason to look, and nothing wrong
            await eventually(lambda: not changes and node.log("drift_repaired"))
            await eventually(lambda: addresses("wan0") == set(WAN["addresses"]))

    node_is_ready = False
    monkeypatch.setattr(appliance_interfaces.kernel, "read", look)
    inside(body)


def test_another_program_that_undoes_everything_is_named_and_does_not_cost_the_cpu(
    inside: Callable[[Body], None],
) -> None:
    async def body() -> None:
        async with service({"wan": WAN}) as node:
            deadline = trio.current_time() + 20
            while "interfaces/all/fight" not in alarms(node):
                assert trio.current_time() < deadline
                if "198.51.100.201/24" in addresses("wan0"):
                    ip("address", "delete", "198.51.100.201/24", "dev", "wan0")
                await trio.sleep(0.02)
            assert len(node.log("drift_repaired")) <= 8

    inside(body)


def test_a_device_that_appears_later_is_configured_then(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": WAN, "dmz": {"device": "dmz0", "addresses": ["192.168.2.2/24"]}}) as node:
            assert addresses("wan0") == set(WAN["addresses"]), "the others work meanwhile"
            assert alarms(node) == {"interfaces/dmz/missing": "the device dmz0 of dmz does not exist"}
            assert node.retained(Status)[0].health is Health.FAIL
            ip("link", "add", "dmz0", "type", "veth", "peer", "name", "far-dmz0")
            await eventually(lambda: addresses("dmz0") == {"192.168.2.2/24"})
            assert sysctl("net/ipv4/conf/dmz0/arp_ignore") == "1"
            ip("link", "set", "far-dmz0", "up")
            await eventually(
                lambda: {e.interface: e.up for e in node.retained(LinkChanged)} == {"wan": True, "dmz": True}
            )
            await eventually(lambda: alarms(node) == {})
            ip("link", "delete", "dmz0")
            await eventually(lambda: "interfaces/dmz/missing" in alarms(node))
            assert not {e.interface: e.present for e in node.retained(LinkChanged)}["dmz"]
            assert {e.interface: e.addresses for e in node.retained(AddressesChanged)}["dmz"] == ()
            assert node.log("drift_repaired") == []

    inside(body)


def test_a_device_replaced_by_one_of_the_same_name_and_index_is_set_up(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": WAN}) as node:
            index = str(seen("link", "show", "wan0")[0]["ifindex"])
            ip("link", "delete", "wan0")
            ip("link", "add", "wan0", "index", index, "type", "veth", "peer", "name", "far-wan0")
            await eventually(lambda: "UP" in seen("link", "show", "wan0")[0]["flags"])
            await eventually(lambda: addresses("wan0") == set(WAN["addresses"]))
            assert "interfaces/wan/down" not in alarms(node)

    inside(body)


def test_a_link_that_goes_is_told_at_once_and_changes_nothing(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": {**WAN, "routes": ROUTES}}) as node:
            await eventually(lambda: node.retained(LinkChanged)[0].up)
            ip("link", "set", "far-wan0", "down")
            await eventually(lambda: not node.retained(LinkChanged)[0].up)
            assert node.retained(LinkChanged)[0].present
            await eventually(lambda: node.retained(Status)[0].health is Health.WARN)
            ip("link", "set", "far-wan0", "up")
            await eventually(lambda: node.retained(LinkChanged)[0].up)
            assert addresses("wan0") == set(WAN["addresses"])
            assert gateways() == {"198.51.100.1", "2001:db8:ffff::1"}

    inside(body)


def test_who_was_asked_for_in_vain_is_asked_anew_when_the_link_is_up(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": WAN}) as node:
            await eventually(lambda: node.retained(LinkChanged)[0].up)
            ip("link", "set", "far-wan0", "down")
            await eventually(lambda: not node.retained(LinkChanged)[0].up)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.sendto(b"?", ("198.51.100.1", 9))
            assert [entry["state"] for entry in seen("neighbour", "show", "198.51.100.1")] == [["INCOMPLETE"]]
            ip("link", "set", "far-wan0", "up")
            await eventually(lambda: len(node.log("neighbours_asked_anew")) == 1)
            assert seen("neighbour", "show", "198.51.100.1") == []

    inside(body)


def test_a_device_set_down_by_hand_stays_down_and_gets_its_routes_back_with_up(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": {**WAN, "routes": ROUTES}}) as node:
            ip("link", "set", "wan0", "down")
            await eventually(lambda: "interfaces/wan/down" in alarms(node))
            assert not seen("link", "show", "wan0")[0]["flags"].count("UP")
            assert addresses("wan0") == set(WAN["addresses"])
            links = await node.check("interfaces-links")
            assert "ip link set wan0 up" in links.fix
            ip("link", "set", "wan0", "up")
            await eventually(lambda: gateways() == {"198.51.100.1", "2001:db8:ffff::1"})
            await eventually(lambda: alarms(node) == {})
            assert node.log("drift_repaired") == []

    inside(body)


def test_an_interface_without_own_addresses_reaches_its_gateway_on_the_link(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": {"device": "wan0", "routes": ROUTES}}) as node:
            assert gateways() == {"198.51.100.1", "2001:db8:ffff::1"}
            shown = await node.command("show interfaces")
            assert [route["present"] for route in shown["interfaces"][0]["routes"]] == [True, True]

    inside(body)


def test_a_vlan_is_made_or_the_reason_told(inside: Callable[[Body], None], tmp_path: Path) -> None:
    """Kernels without 802.1Q exist; a node must come up on them all the same."""
    dmz = {"vlan": {"parent": "lan0", "id": 20}, "addresses": ["192.168.2.2/24"]}

    async def body() -> None:
        if kernel.link_kind("vlan"):
            async with service({"wan": WAN, "dmz": dmz}, tmp_path) as node:
                assert addresses("lan0.20") == {"192.168.2.2/24"}
                await node.reload({"wan": WAN})
                assert "lan0.20" not in {link["ifname"] for link in seen("link")}
            return
        async with service({"wan": WAN, "dmz": dmz}, tmp_path) as node:
            assert addresses("wan0") == set(WAN["addresses"])
            assert "cannot create the VLAN lan0.20" in alarms(node)["interfaces/dmz/refused"]
            assert seen("link", "show", "lan0")[0]["flags"].count("UP"), "the parent is set up"
        async with service({"wan": WAN}, tmp_path) as node:
            with pytest.raises(ApplianceError, match=r"cannot create the VLAN lan0\.20"):
                await node.reload({"wan": WAN, "dmz": dmz})
            await eventually(lambda: alarms(node) == {})

    inside(body)


def test_the_command_and_the_checks_tell_the_truth(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        config = {"wan": {**WAN, "routes": ROUTES[:1], "description": "uplink"}, "dmz": {"device": "dmz0"}}
        async with service(config) as node:
            ip("address", "add", "203.0.113.5/24", "dev", "wan0")
            await eventually(lambda: node.retained(LinkChanged)[0].up)
            shown = await node.command("show interfaces")
            wan, dmz = shown["interfaces"]
            foreign = {"address": "203.0.113.5/24", "configured": False, "present": True}
            assert foreign in wan["addresses"]
            assert wan["routes"] == [{"to": "default", "via": "198.51.100.1", "metric": 0, "present": True}]
            assert (wan["present"], wan["up"], wan["carrier"], wan["description"]) == (True, True, True, "uplink")
            assert (dmz["present"], dmz["mtu"], dmz["addresses"]) == (False, None, [])
            assert [problem["what"] for problem in dmz["problems"]] == ["the device dmz0 of dmz does not exist"]
            one = await node.command("show interfaces wan")
            assert [interface["name"] for interface in one["interfaces"]] == ["wan"]
            assert (await node.check("interfaces-devices")).health is Health.FAIL
            assert (await node.check("interfaces-links")).health is Health.OK
            assert (await node.check("interfaces-addresses")).health is Health.OK

    inside(body)


def test_an_idle_service_costs_nothing(inside: Callable[[Body], None]) -> None:
    async def body() -> None:
        async with service({"wan": {**WAN, "routes": ROUTES}}) as node:
            await eventually(lambda: node.retained(LinkChanged)[0].up)
            await trio.sleep(0.5)
            before = time.process_time()
            await trio.sleep(2)
            assert time.process_time() - before < 0.05

    inside(body)
