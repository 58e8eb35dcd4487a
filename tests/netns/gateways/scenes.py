"""A firewall with two providers, a server behind both, and a client: real kernels, real packets.

    client (192.168.1.50) -- fw -- wan  -- r1 (198.51.100.1) -- server (192.0.2.2)
                                \\- wan2 -- r2 (203.0.113.1) ---/

Each provider forwards only its own customers' addresses, as real ones do. The firewall translates to the address of
the WAN, so the server can tell which way a packet came.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance.events import RulesetLoaded
from appliance.host.ruleset import common_sets
from appliance.net.ruleset import compose, transaction
from appliance.plugin import Fragment, Hook, Hooked, Rule, Stage
from appliance.testing import LabNode, LogicalInterfaces, Netlab, run_service
from appliance.testing.node import RunningNode
from appliance_gateways.config import GatewaysConfig
from appliance_gateways.events import GatewayChanged
from appliance_gateways.plugin import Gateways
from appliance_gateways.ruleset import fragment

WAN, WAN2, LAN = "198.51.100", "203.0.113", "192.168.1"
SERVER, SERVER6 = "192.0.2.2", "2001:db8:5::2"
CLIENT, CLIENT6 = f"{LAN}.50", "2001:db8:1::50"
FAILURE_MAX = 60_000
"""Bytes of a failure that are told: less than a pipe holds."""
ECHO_PORT, FORWARDED_PORT, OWN_PORT = 7000, 7001, 7002
FAST: Mapping[str, Any] = {"probe_interval": 0.1, "reply_within": 0.3, "loss_window": 2, "latency_down": 300}
"""Down after some 0.7 s of silence, up again some 2 s after it."""
INTERFACES = {
    "wan": [f"{WAN}.201/24", "2001:db8:ffff::201/64"],
    "wan2": [f"{WAN2}.12/24", "2001:db8:fffe::12/64"],
    "lan": [f"{LAN}.2/24", "2001:db8:1::2/64"],
}
WAN_GW = {"interface": "wan", "address": f"{WAN}.1", **FAST}
WAN2_GW = {"interface": "wan2", "address": f"{WAN2}.1", **FAST}
BOTH = {"wan_gw": WAN_GW, "wan2_gw": WAN2_GW}
BALANCED = {"members": [{"gateway": "wan_gw"}, {"gateway": "wan2_gw"}]}


class Flow:
    """A connection of the client: each question is answered with the address that the server saw."""

    def __init__(self, scene: Scene, family: int = socket.AF_INET) -> None:
        self._plain = scene.client.socket(family)
        self._plain.setblocking(False)
        self._to = (SERVER if family == socket.AF_INET else SERVER6, ECHO_PORT)

    async def ask(self, within_s: float = 1.0) -> str:
        """Which WAN it uses; empty when there is no answer."""
        with contextlib.suppress(BlockingIOError):
            while True:  # what is left of an earlier question that was answered late
                self._plain.recv(100)
        self._plain.sendto(b"?", self._to)
        with trio.move_on_after(within_s):
            await trio.lowlevel.wait_readable(self._plain)
            return self._plain.recv(100).decode()
        return ""


@dataclass
class Scene:
    """The machines."""

    fw: LabNode
    r1: LabNode
    r2: LabNode
    server: LabNode
    client: LabNode
    loads: int = 0

    def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine function as a program on the firewall.

        In a process of its own: trio starts programs from threads that it keeps, which would be in the namespace of
        an earlier test.
        """

        async def bounded() -> None:
            with trio.fail_after(60):
                await body()

        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            failure = ""
            try:
                self.fw.inside(lambda: trio.run(bounded))
            except BaseException:  # noqa: BLE001 - it is told to the parent
                failure = traceback.format_exc()
            os.write(writer, failure.encode()[-FAILURE_MAX:])
            os._exit(0)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="replace") as told:
            failure = told.read()
        _child, status = os.waitpid(child, 0)
        if failure or status:
            pytest.fail(f"on the firewall (exit status {status}):\n{failure}", pytrace=False)

    def flow(self, family: int = socket.AF_INET) -> Flow:
        """A new connection of the client; it ends with the process of the test body."""
        return Flow(self, family)

    def load(self, config: Mapping[str, Any], *, policy: str = "") -> None:
        """Load the ruleset as the core would, with `policy` as a rule that an operator wrote for the LAN."""
        tables: dict[str, Model] = {
            "interfaces": LogicalInterfaces.of(**INTERFACES),
            "gateways": GatewaysConfig.model_validate(config),
        }
        text = ruleset(Config(tables, node=NodeTable(name="fw1")), policy)
        # Not through LabNode.run: the text comes by standard input.
        done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
        self.loads += 1

    def loaded(self, node: RunningNode) -> None:
        """Tell the service that the ruleset is there."""
        node.publish(RulesetLoaded(generation=self.loads, rules=1))


def build(lab: Netlab) -> Scene:
    """All machines, connected and with routes; the firewall has no default route yet."""
    fw, r1, r2, server, client = (lab.node(name) for name in ("fw", "r1", "r2", "server", "client"))
    scene = Scene(fw, r1, r2, server, client)
    for node in (scene.fw, scene.r1, scene.r2, scene.server, scene.client):
        # Routers could not be asked for their neighbours before their link-local addresses have been checked.
        node.run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
    for device, far, gateway in (("wan", scene.r1, f"{WAN}.1/24"), ("wan2", scene.r2, f"{WAN2}.1/24")):
        lab.connect(scene.fw, far, device, INTERFACES[device])
        lab.address(far, device, [gateway, INTERFACES[device][1].partition("::")[0] + "::1/64"])
    lab.connect(scene.fw, scene.client, "lan", INTERFACES["lan"])
    lab.address(scene.client, "lan", [f"{CLIENT}/24", f"{CLIENT6}/64"])
    scene.client.run("ip", "route", "add", "default", "via", f"{LAN}.2")
    scene.client.run("ip", "route", "add", "default", "via", "2001:db8:1::2")
    for number, (router, prefix, prefix6) in enumerate(
        ((scene.r1, WAN, "2001:db8:ffff"), (scene.r2, WAN2, "2001:db8:fffe")), 1
    ):
        lab.connect(router, scene.server, f"up{number}", [f"10.{number}.0.1/30", f"2001:db8:{number}0::1/64"])
        lab.address(scene.server, f"up{number}", [f"10.{number}.0.2/30", f"2001:db8:{number}0::2/64"])
        router.run("ip", "route", "add", "default", "via", f"10.{number}.0.2")
        router.run("ip", "route", "add", "default", "via", f"2001:db8:{number}0::2")
        scene.server.run("ip", "route", "add", f"{prefix}.0/24", "via", f"10.{number}.0.1")
        scene.server.run("ip", "route", "add", f"{prefix6}::/64", "via", f"2001:db8:{number}0::1")
        only = f"ip saddr != {prefix}.0/24 iifname wan{'2' if number == 2 else ''} drop"
        rules(router, f"table inet isp {{ chain f {{ type filter hook forward priority 0; {only}\n }}\n }}")
    lab.address(scene.server, "lo", [f"{SERVER}/32", f"{SERVER6}/128"])
    for node in (scene.fw, scene.r1, scene.r2):
        node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    # Strict on purpose: the service has to make it loose on WANs.
    scene.fw.run("sysctl", "-qw", "net.ipv4.conf.wan2.rp_filter=1", "net.ipv4.conf.wan.rp_filter=1")
    return scene


def rules(node: LabNode, text: str) -> None:
    """Load a ruleset on a machine."""

    def load() -> None:
        subprocess.run(["nft", "-f", "-"], input=text, text=True, timeout=20, check=True)

    node.inside(load)


def silence(router: LabNode) -> None:
    """A router that answers ARP and nothing else any more."""
    rules(router, "table inet dead { chain p { type filter hook prerouting priority -300; policy drop; }\n }")


def revive(router: LabNode) -> None:
    """As it was before."""
    router.run("nft", "delete", "table", "inet", "dead")


def ruleset(config: Config, policy: str) -> str:
    """The text that loads the plugin's fragment and an operator's rules, composed as the core does it."""
    by_policy = (Rule(text=f'iifname "lan" ct state new {policy}'),) if policy else ()
    translate = [
        f'oifname "wan" ip saddr {LAN}.0/24 snat ip to {WAN}.201',
        f'oifname "wan2" ip saddr {LAN}.0/24 snat ip to {WAN2}.12',
        'oifname "wan" ip6 saddr 2001:db8:1::/64 snat ip6 to 2001:db8:ffff::201',
        'oifname "wan2" ip6 saddr 2001:db8:1::/64 snat ip6 to 2001:db8:fffe::12',
    ]
    forward = Rule(text=f"ip daddr {{ {WAN}.201, {WAN2}.12 }} udp dport {FORWARDED_PORT} dnat ip to {CLIENT}")
    own = Fragment(
        hooked=(
            Hooked(hook=Hook.POLICY, stage=Stage.USER, rules=by_policy),
            Hooked(hook=Hook.TRANSLATE_IN, stage=Stage.USER, rules=(forward,)),
            Hooked(hook=Hook.TRANSLATE_OUT, stage=Stage.USER, rules=tuple(Rule(text=text) for text in translate)),
        )
    )
    fragments = [("core", common_sets(config)), ("gateways", fragment(config)), ("operator", own)]
    return transaction(compose(fragments), None).text


def service(config: Mapping[str, Any], **more: Any) -> AbstractAsyncContextManager[RunningNode]:
    """The plugin's service on the machine that runs the test body."""
    return run_service(Gateways, config=config, tables={"interfaces": LogicalInterfaces.of(**INTERFACES)}, **more)


def status(node: RunningNode, name: str) -> str:
    """What was told of a gateway last."""
    return next((each.status for each in node.retained(GatewayChanged) if each.name == name), "")


def seen(*arguments: str) -> Any:
    """What `ip -j` lists on the machine that runs the test body."""
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, timeout=10, check=True)
    return json.loads(done.stdout or "[]")


def group_map(name: str) -> list[int]:
    """Numbers in the slots of a group, in order."""
    command = ["nft", "-j", "list", "map", "inet", "appliance", f"gw_group_{name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    (found,) = [each["map"] for each in json.loads(done.stdout)["nftables"] if "map" in each]
    return [mark for _slot, mark in sorted(found.get("elem", []))]


@asynccontextmanager
async def answering(scene: Scene, family: int = socket.AF_INET) -> AsyncIterator[None]:
    """While the block lasts the server answers each datagram with the address that it came from."""
    raw = scene.server.socket(family)
    raw.setblocking(False)
    raw.bind((SERVER if family == socket.AF_INET else SERVER6, ECHO_PORT))
    with trio.socket.from_stdlib_socket(raw) as sock:

        async def serve() -> None:
            while True:
                _data, source = await sock.recvfrom(100)
                await sock.sendto(source[0].encode(), source)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield
            nursery.cancel_scope.cancel()
