"""Gateways on a real kernel: two providers, one dies, connections of the other go on."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio

from appliance.events import Alarm, Demotion, Health, LinkChanged, PeerChanged, Role, RoleChanged
from appliance.testing import Netlab, eventually, run_service
from appliance_gateways.numbers import numbers
from appliance_gateways.plugin import Gateways
from tests.netns.gateways import scenes
from tests.netns.gateways.scenes import BALANCED, BOTH, CLIENT, WAN, WAN2, WAN2_GW, WAN_GW, Scene
from tests.netns.gateways.virtual import VipOnly

pytestmark = pytest.mark.netns

NUMBER = numbers(BOTH)
VIA = {"wan_gw": f"{WAN}.201", "wan2_gw": f"{WAN2}.12"}


@pytest.fixture
def scene(netlab: Netlab) -> Scene:
    return scenes.build(netlab)


def alarms(node: Any) -> set[str]:
    return {alarm.key for alarm in node.retained(Alarm) if alarm.active}


def test_a_dead_gateway_loses_its_slots_and_the_connections_of_the_live_one_go_on(scene: Scene) -> None:
    config = {"default4": "both", "gateway": BOTH, "group": {"both": BALANCED}}

    async def body() -> None:
        scene.load(config)
        async with scenes.service(config) as node, scenes.answering(scene):
            scene.loaded(node)
            await eventually(lambda: {scenes.status(node, name) for name in BOTH} == {"online"})
            await eventually(lambda: set(scenes.group_map("both")) == set(NUMBER.values()))
            flows = [scene.flow() for _ in range(24)]
            before = [await flow.ask() for flow in flows]
            assert set(before) == set(VIA.values()), "new connections use both WANs"
            assert [await flow.ask() for flow in flows] == before
            scenes.silence(scene.r1)
            await eventually(lambda: scenes.status(node, "wan_gw") == "down")
            await eventually(lambda: set(scenes.group_map("both")) == {NUMBER["wan2_gw"]})
            assert "gateways/wan_gw/down" in alarms(node)
            after = [await flow.ask(0.2) for flow in flows if before[flows.index(flow)] == VIA["wan2_gw"]]
            assert set(after) == {VIA["wan2_gw"]}, "no connection of the live gateway was moved or lost"
            fresh = [scene.flow() for _ in range(8)]
            assert {await flow.ask() for flow in fresh} == {VIA["wan2_gw"]}
            (default,) = scenes.seen("route", "show", "default")
            assert (default["gateway"], default["protocol"]) == (f"{WAN2}.1", "74")
            scenes.revive(scene.r1)
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")
            await eventually(lambda: set(scenes.group_map("both")) == set(NUMBER.values()))
            assert [await flow.ask() for flow in fresh] == [VIA["wan2_gw"]] * 8, "they stay where they began"
            assert [await flow.ask() for flow in flows] == before
            assert alarms(node) == set()

    scene.run(body)


def test_what_comes_in_by_a_wan_is_answered_by_it(scene: Scene) -> None:
    config = {"default4": "wan_gw", "gateway": BOTH}

    async def asked(question: socket.socket, answering: socket.socket, port: int) -> bool:
        """Whether an answer to a datagram that comes in by the second WAN finds its way back."""
        question.setblocking(False)
        answering.setblocking(False)
        with trio.socket.from_stdlib_socket(question) as ask, trio.socket.from_stdlib_socket(answering) as answer:
            for _ in range(2):
                await ask.sendto(b"?", (f"{WAN2}.12", port))
                _data, source = await answer.recvfrom(10)
                await answer.sendto(b"!", source)
                with trio.move_on_after(2) as scope:
                    assert await ask.recvfrom(10) == (b"!", (f"{WAN2}.12", port))
                if scope.cancelled_caught:
                    return False
            return True

    async def body() -> None:
        scene.load(config)
        async with scenes.service(config) as node:
            scene.loaded(node)
            await eventually(lambda: scenes.status(node, "wan2_gw") == "online")
            for place, port, address in (
                (scene.client, scenes.FORWARDED_PORT, CLIENT),
                (scene.fw, scenes.OWN_PORT, f"{WAN2}.12"),
            ):
                listening, asking = place.socket(), scene.server.socket()
                listening.bind((address, port))
                asking.bind((scenes.SERVER, 0))
                assert await asked(asking, listening, port)

    scene.run(body)


def test_a_policy_of_one_gateway_and_local_networks_that_it_does_not_lead_away(scene: Scene) -> None:
    config = {"default4": "wan_gw", "gateway": BOTH}

    async def body() -> None:
        scene.load(config, policy="goto gw_to_wan2_gw")
        async with scenes.service(config) as node, scenes.answering(scene):
            scene.loaded(node)
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")
            flow = scene.flow()
            assert await flow.ask() == VIA["wan2_gw"]
            assert await flow.ask() == VIA["wan2_gw"]
            for local in (f"{scenes.LAN}.2", f"{WAN}.1"):
                await ping(scene, local)
            counters = scene.fw.run("nft", "list", "counter", "inet", "appliance", "gw_local")
            assert "packets 2 " in counters
            assert "packets 1 " in scene.fw.run("nft", "list", "counter", "inet", "appliance", "gw_new_wan2_gw")

    scene.run(body)


async def ping(scene: Scene, address: str) -> None:
    output = await trio.to_thread.run_sync(lambda: scene.client.run("ping", "-c", "1", "-W", "5", address))
    assert " 0% packet loss" in output


def test_connections_of_a_dead_gateway_are_ended_and_no_others(scene: Scene) -> None:
    config = {
        "default4": "both", "gateway": BOTH, "kill_states": True,
        "group": {"both": {"members": [{"gateway": "wan_gw"}, {"gateway": "wan2_gw", "tier": 2}]}},
    }  # fmt: skip

    async def body() -> None:
        scene.load(config, policy="udp sport 5555 goto gw_to_wan2_gw")
        async with scenes.service(config) as node, scenes.answering(scene):
            scene.loaded(node)
            await eventually(lambda: {scenes.status(node, name) for name in BOTH} == {"online"})
            await eventually(lambda: set(scenes.group_map("both")) == {NUMBER["wan_gw"]})
            flow = scene.flow()
            assert await flow.ask() == VIA["wan_gw"], "the first tier carries everything"
            other = f"-p udp -s {CLIENT} -d 192.0.2.9 --sport 1 --dport 2 -t 60 -m {0x100 + NUMBER['wan2_gw']}"
            scene.fw.run("conntrack", "-I", *other.split())
            scenes.silence(scene.r1)
            await eventually(lambda: node.log("connections_ended") != [])
            marks = {line for line in scene.fw.run("conntrack", "-L", "-o", "extended").split() if "mark=" in line}
            assert f"mark={NUMBER['wan_gw']}" not in marks
            assert f"mark={0x100 + NUMBER['wan2_gw']}" in marks
            assert await flow.ask() == VIA["wan2_gw"], "the next packet begins anew by the live gateway"

    scene.run(body)


def test_a_node_that_carries_nothing_leaves_connections_alone_until_it_does(scene: Scene) -> None:
    config = {"gateway": {"wan_gw": WAN_GW}, "kill_states": True}

    def role(what: Role) -> RoleChanged:
        return RoleChanged(interface="lan", vhid=1, role=what, reason="")

    async def body() -> None:
        scene.load(config)
        number = numbers(["wan_gw"])["wan_gw"]
        own = f"-p udp -s {CLIENT} -d 192.0.2.9 --sport 1 --dport 2 -t 60 -m {number}"
        scene.fw.run("conntrack", "-I", *own.split())
        scenes.silence(scene.r1)
        async with scenes.service(config) as node:
            node.publish(role(Role.BACKUP))
            await eventually(lambda: scenes.status(node, "wan_gw") == "down")
            await trio.sleep(0.2)
            assert f"mark={number} " in scene.fw.run("conntrack", "-L")
            node.publish(role(Role.MASTER))
            await eventually(lambda: f"mark={number} " not in scene.fw.run("conntrack", "-L"))
            await eventually(lambda: [entry["number"] for entry in node.log("connections_ended")] == [number])

    scene.run(body)


def test_maps_that_cannot_be_filled_are_told_and_filled_when_the_ruleset_is_there(scene: Scene) -> None:
    config = {"gateway": BOTH, "group": {"both": BALANCED}}

    async def body() -> None:
        async with scenes.service(config) as node:
            await eventually(lambda: {scenes.status(node, name) for name in BOTH} == {"online"})
            assert node.log("kernel_refused") == [], "before the ruleset is loaded nothing is tried"
            scene.loaded(node)
            await eventually(lambda: alarms(node) == {"gateways/kernel"})
            finding = await node.check("gateways-status")
            assert finding.what.startswith("the maps of groups cannot be filled: nft refused")
            scene.load(config)
            scene.loaded(node)
            await eventually(lambda: set(scenes.group_map("both")) == set(NUMBER.values()))
            await eventually(lambda: alarms(node) == set())
            scene.load(config)  # as when somebody has flushed the ruleset, and the core loads it anew
            assert scenes.group_map("both") == []
            scene.loaded(node)
            await eventually(lambda: len(scenes.group_map("both")) == 64)

    scene.run(body)


def test_ipv6_has_its_own_gateways(scene: Scene) -> None:
    config = {
        "default6": "six",
        "gateway": {
            "one": {"interface": "wan", "address6": "2001:db8:ffff::1", **scenes.FAST},
            "two": {"interface": "wan2", "address6": "2001:db8:fffe::1", **scenes.FAST},
        },
        "group": {"six": {"members": [{"gateway": "one"}, {"gateway": "two"}]}},
    }

    async def body() -> None:
        scene.load(config)
        async with scenes.service(config) as node, scenes.answering(scene, socket.AF_INET6):
            scene.loaded(node)
            await eventually(lambda: {scenes.status(node, name) for name in ("one", "two")} == {"online"})
            flows = [scene.flow(socket.AF_INET6) for _ in range(24)]
            before = [await flow.ask() for flow in flows]
            assert set(before) == {"2001:db8:ffff::201", "2001:db8:fffe::12"}
            scenes.silence(scene.r2)
            await eventually(lambda: scenes.status(node, "two") == "down")
            await eventually(lambda: set(scenes.group_map("six")) == {numbers(("one", "two"))["one"]})
            fresh = scene.flow(socket.AF_INET6)
            assert await fresh.ask() == "2001:db8:ffff::201"
            (default,) = scenes.seen("-6", "route", "show", "default")
            assert (default["gateway"], default["metric"]) == ("2001:db8:ffff::1", 1)
        assert scenes.seen("-6", "rule", "show") == [
            {"priority": 0, "src": "all", "table": "local"}, {"priority": 32766, "src": "all", "table": "main"},
        ]  # fmt: skip

    scene.run(body)


def test_rules_and_routes_are_there_put_back_and_removed_at_the_end(scene: Scene) -> None:
    config = {"default4": "wan_gw", "gateway": BOTH}

    def ours() -> tuple[set[int], set[tuple[str, str]]]:
        listed = [each for each in scenes.seen("rule", "show") if each["priority"] in (90, 100)]
        routes = scenes.seen("route", "show", "table", "all", "proto", "74")
        return {each["priority"] for each in listed}, {(each.get("table", "main"), each["gateway"]) for each in routes}

    wanted = (
        {90, 100},
        {
            ("main", f"{WAN}.1"),
            (str(1000 + NUMBER["wan_gw"]), f"{WAN}.1"),
            (str(1000 + NUMBER["wan2_gw"]), f"{WAN2}.1"),
        },
    )

    async def body() -> None:
        # What a crash of an earlier configuration may have left.
        scene.fw.run("ip", "rule", "add", "pref", "100", "fwmark", "0x99/0xff", "lookup", "1153", "protocol", "74")
        scene.fw.run("ip", "route", "add", "default", "via", f"{WAN2}.77", "protocol", "74", "table", "1153")
        async with scenes.service(config):
            assert ours() == wanted
            assert not [each for each in scenes.seen("rule", "show") if each["table"] == "1153"]
            assert scene.fw.run("sysctl", "-n", "net.ipv4.conf.wan2.rp_filter").strip() == "2"
            for drift in (
                ["rule", "delete", "pref", "90"],
                ["route", "delete", "default"],
                ["route", "flush", "table", str(1000 + NUMBER["wan2_gw"])],
            ):
                scene.fw.run("ip", *drift)
                await eventually(lambda: ours() == wanted)
        assert ours() == (set(), set())

    scene.run(body)


def test_a_link_that_goes_is_a_dead_gateway_at_once_and_routes_come_back_with_the_device(scene: Scene) -> None:
    config = {"default4": "wan_gw", "gateway": BOTH}

    def wan(*, up: bool) -> LinkChanged:
        return LinkChanged(interface="wan", device="wan", present=True, up=up)

    async def body() -> None:
        async with scenes.service(config) as node:
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")
            scene.fw.run("ip", "link", "set", "wan", "down")
            node.publish(wan(up=False))
            await eventually(lambda: scenes.status(node, "wan_gw") == "down", within_s=0.5)
            answer = await node.command("show gateways wan_gw")
            assert answer["gateways"][0]["reason"] == "no link on wan"
            assert scenes.seen("route", "show", "default") == []
            scene.fw.run("ip", "link", "set", "wan", "up")
            node.publish(wan(up=True))
            await eventually(
                lambda: [each["gateway"] for each in scenes.seen("route", "show", "default")] == [f"{WAN}.1"]
            )
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")

    scene.run(body)


def test_a_reload_keeps_the_history_of_gateways_that_are_unchanged(scene: Scene) -> None:
    async def body() -> None:
        async with scenes.service({"gateway": {"wan_gw": WAN_GW, "old_gw": WAN2_GW}}) as node:
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")
            await node.reload({"default4": "wan_gw", "gateway": BOTH})
            answer = await node.command("show gateways")
            statuses = {each["name"]: each["status"] for each in answer["gateways"]}
            assert statuses == {"wan_gw": "online", "wan2_gw": "unknown"}
            assert scenes.status(node, "old_gw") == "gone"
            assert [each["gateway"] for each in scenes.seen("route", "show", "default")] == [f"{WAN}.1"]
            assert {service.restarts for service in node.services()} == {0}
            await eventually(lambda: scenes.status(node, "wan2_gw") == "online")
            finding = await node.check("gateways-status")
            assert finding.what == "2 gateways are online"
            for name in ("gateways-default", "gateways-local", "gateways-network", "gateways-groups"):
                finding = await node.check(name)
                assert (finding.health, finding.fix) == (Health.OK, ""), finding.what

    scene.run(body)


def test_a_dead_path_demotes_while_a_peer_could_do_better(scene: Scene) -> None:
    config = {"gateway": {"wan_gw": {**WAN_GW, "demote": 100}}}

    def peer(*, alive: bool = True, demotion: int = 0) -> PeerChanged:
        return PeerChanged(peer="fw2", alive=alive, healthy=alive, demotion=demotion, summary="")

    def weight(node: Any) -> int:
        return sum(each.weight for each in node.retained(Demotion) if each.reason == "gateway:wan_gw")

    async def body() -> None:
        async with scenes.service(config) as node:
            node.publish(peer(demotion=100))
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")
            scenes.silence(scene.r1)
            await eventually(lambda: scenes.status(node, "wan_gw") == "down")
            assert weight(node) == 0, "the peer is demoted as much already"
            node.publish(peer(demotion=0))
            await eventually(lambda: weight(node) == 100)
            node.publish(peer(demotion=100))
            await node.settled()
            assert weight(node) == 100, "once demoted it stays so"
            node.publish(peer(alive=False))
            await eventually(lambda: weight(node) == 0)
            node.publish(peer())
            await eventually(lambda: weight(node) == 100)
            scenes.revive(scene.r1)
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")
            assert weight(node) == 0

    scene.run(body)


def test_a_wan_with_a_virtual_address_only_is_probed_by_its_master(scene: Scene) -> None:
    config = {"gateway": {"wan_gw": {"interface": "bare", "address": f"{WAN}.1", **scenes.FAST}}}

    async def body() -> None:
        async with run_service(Gateways, config=config, tables={"all": VipOnly()}) as node:
            await trio.sleep(0.6)
            assert scenes.status(node, "wan_gw") == "unknown"
            reason = "bare has virtual addresses only, and this node does not hold them"
            assert (await node.command("show gateways"))["gateways"][0]["reason"] == reason
            node.publish(RoleChanged(interface="bare", vhid=200, role=Role.MASTER, reason=""))
            await eventually(lambda: scenes.status(node, "wan_gw") == "online")
            node.publish(RoleChanged(interface="bare", vhid=200, role=Role.BACKUP, reason=""))
            await eventually(lambda: scenes.status(node, "wan_gw") == "unknown")

    scene.run(body)
