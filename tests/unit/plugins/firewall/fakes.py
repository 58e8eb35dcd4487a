"""A firewall's rules on paper, and a packet log that a test fills."""

from __future__ import annotations

import socket
import struct
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

from appliance.config import ClusterLink, Config, LogicalInterface, Model, Traffic, VirtualHost
from appliance.config.model import NodeTable
from appliance.net.fastpath import SystemCallError
from appliance.net.nflog import LogCounters, Logged
from appliance.testing import LogicalInterfaces
from appliance_firewall.aliases import Range, Resolved
from appliance_firewall.config import FirewallConfig
from appliance_firewall.settings import FirewallSettings, ShownAlias, ShownRule

GROUP = 40
SOURCE, DESTINATION = "203.0.113.7", "192.168.1.10"


def shown(identity: str, **values: Any) -> ShownRule:
    standard: dict[str, Any] = {
        "counter": f"fw_r_{identity}", "kind": "user", "action": "pass", "direction": "in", "interfaces": ("lan",),
        "text": f"pass in on lan {identity}",
    }  # fmt: skip
    return ShownRule(id=identity, **standard | values)


def _range(first: str, last: str = "") -> Range:
    return int(ip_address(first)), int(ip_address(last or first))


LOCKOUT = shown("lockout", counter="fw_lockout", kind="lockout", text="pass in on lan tcp to self port 22 443")
CARP = shown("carp", counter="fw_auto_carp", kind="automatic", interfaces=("wan",), text="pass in on wan carp")
WEB = shown("web", description="the web", path=("firewall", "rule", 0), log=True)
NIGHT = shown("night", action="block", schedule="night", path=("firewall", "rule", 1))
OFF = shown("off", disabled=True, path=("firewall", "rule", 2))
DEFAULT = shown(
    "default_in", counter="fw_default_in", kind="default", action="block", interfaces=(), text="block in", log=True
)
HOSTS = ShownAlias(
    name="mail",
    type="networks",
    entries=("192.168.2.10", "192.168.2.20-192.168.2.29", "10.0.0.0/8", "2001:db8::1"),
    description="mail servers",
    resolved=Resolved(
        "networks",
        v4=(_range("10.0.0.0", "10.255.255.255"), _range("192.168.2.10"), _range("192.168.2.20", "192.168.2.29")),
        v6=(_range("2001:db8::1"),),
    ),
)
PORTS = ShownAlias(
    name="web", type="ports", entries=("80", "8000-8080"), resolved=Resolved("ports", ports=((80, 80), (8000, 8080)))
)
WRONG = ShownAlias(name="loop", type="hosts", entries=("loop",), resolved=None)
SETTINGS = FirewallSettings(
    node="fw1",
    group=GROUP,
    rules=(LOCKOUT, CARP, WEB, NIGHT, OFF, DEFAULT),
    aliases=(HOSTS, PORTS, WRONG),
    devices=(("lan0", "lan"), ("wan0", "wan"), ("wan0.v200", "wan")),
)


def udp(source: str = SOURCE, destination: str = DESTINATION, port: int = 53) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28, 1, 0, 64, 17, 0)
    addresses = ip_address(source).packed + ip_address(destination).packed
    return head + addresses + struct.pack(">HHHH", 40000, port, 8, 0)


def logged(prefix: str = "fw_default_in:block", **values: Any) -> Logged:
    standard: dict[str, Any] = {
        "hook": 1, "indev": 2, "outdev": 0, "mark": 0, "timestamp": 1_700_000_000.25, "protocol": 0x0800,
        "payload": udp(), "missed": 0,
    }  # fmt: skip
    return Logged(prefix=prefix, **standard | values)


class PaperLog:
    """A packet log as the service sees one; `errors` are raised, one by one, when it is opened."""

    errors: list[SystemCallError]

    def __init__(self) -> None:
        self.errors = []
        self.opened = 0
        self.counters = LogCounters()
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self._waiting: list[Logged] = []
        self.broken: SystemCallError | None = None
        self.drained: list[int] = []

    def open(self, group: int) -> PaperLog:
        assert group == GROUP
        if self.errors:
            raise self.errors.pop(0)
        self.opened += 1
        return self

    def __enter__(self) -> PaperLog:
        return self

    def __exit__(self, *_: object) -> None:
        """The test closes it."""

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def fileno(self) -> int:
        return self._near.fileno()

    def put(self, *packets: Logged) -> None:
        self._waiting += packets
        self._wake()

    def _wake(self) -> None:
        self._far.send(b"x")

    def break_once(self, error: SystemCallError) -> None:
        self.broken = error
        self._wake()

    def drain(self, max_packets: int) -> list[Logged]:
        self._near.recv(1)
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error
        found, self._waiting = self._waiting[:max_packets], self._waiting[max_packets:]
        if self._waiting:
            self._wake()
        self.drained.append(len(found))
        return found


class Cluster(Model):
    """A table that knows the other nodes and what its service has to receive."""

    peers: tuple[str, ...] = ("172.16.1.3",)
    """Of the sync interface."""

    def cluster_link(self) -> ClusterLink:
        return ClusterLink(interface="sync", peers=tuple(map(ip_address, self.peers)))

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        sources = tuple(map(ip_address, self.peers))
        return (
            Traffic(name="carp", interface="sync", protocol="carp", sources=sources),
            Traffic(name="api", interface="sync", protocol="tcp", port=8765, sources=sources),
            Traffic(name="probe", interface="sync", protocol="icmp", sources=sources),
        )


class Vips(Model):
    """A table with one virtual host."""

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        address = ip_interface("203.0.113.1/24")
        return {"wan_vip": VirtualHost(name="wan_vip", interface="wan", vhid=200, addresses=(address,))}


INTERFACES = LogicalInterfaces.of(
    lan=["192.168.1.2/24", "2001:db8:1::2/64"], wan="203.0.113.2/24", sync="172.16.1.2/24"
)


def configured(
    text: str,
    *,
    interfaces: LogicalInterfaces = INTERFACES,
    cluster: bool = False,
    peers: tuple[str, ...] = ("172.16.1.3",),
    vips: bool = False,
) -> Config:
    """A configuration with this table, whose own tables are written as if they stood alone."""
    tables: dict[str, Model] = {"interfaces": interfaces}
    if cluster:
        tables["cluster"] = Cluster(peers=peers)
    if vips:
        tables["vips"] = Vips()
    tables["firewall"] = FirewallConfig.model_validate(tomllib.loads(text))
    return Config(tables, node=NodeTable(name="fw1"))
