"""The book's multi-WAN cluster: two providers, a DMZ with a mail server, one-to-one NAT on both WANs.

Both providers end in the machine ``server``, which has an address of the Internet beyond them. Each provider drops
what does not come from its own network, as providers do: an answer that leaves by the wrong WAN is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.lab import Lab, NodeSettings, Topology, netns
from appliance.lab.config import Vip, node_toml
from appliance.lab.lab import unique_name
from appliance.lab.topology import DMZ, WAN, WAN2
from tests.netns.rules.talk import pings

INTERNET = "192.0.2.1"
"""An address that is reached by both WANs."""
WAN_VIP, WAN2_VIP = WAN.vips[0][2][0].partition("/")[0], WAN2.vips[0][2][0].partition("/")[0]
WAN_MAIL, WAN2_MAIL = "198.51.100.211", WAN2.vips[1][2][0].partition("/")[0]
MAIL = f"{DMZ.prefix4}.{DMZ.host4}"
SMTP = 25
VIA_WAN2, BALANCED, PLAIN, ANYWHERE = 7100, 7200, 7300, 7400
"""Destination ports, each with a rule for its way out. `ANYWHERE` is the book's mistake: it has a gateway, and its
destination is everything, local networks too."""
RULES = f"""
[firewall]

[[firewall.rule]]
interface = "lan"
action = "pass"
protocol = "tcp"
source = "net:lan"
destination_port = {VIA_WAN2}
gateway = "wan2_gw"

[[firewall.rule]]
interface = "lan"
action = "pass"
protocol = "tcp"
source = "net:lan"
destination_port = {BALANCED}
gateway = "balanced"

[[firewall.rule]]
interface = "lan"
action = "pass"
protocol = "tcp"
source = "net:lan"
destination_port = {PLAIN}

[[firewall.rule]]
interface = "lan"
action = "pass"
source = "net:lan"
gateway = "wan2_gw"
description = "The book's mistake: local networks are not excepted"

[[firewall.rule]]
interface = "dmz"
action = "pass"
source = "{MAIL}"
gateway = "wan2_gw"

[[firewall.rule]]
interface = ["wan", "wan2"]
action = "pass"
protocol = "tcp"
destination = "{MAIL}"
destination_port = {SMTP}

[outbound_nat]
reflection = true

[[outbound_nat.one_to_one]]
interface = "wan"
external = "vip:wanmail"
internal = "{MAIL}"

[[outbound_nat.one_to_one]]
interface = "wan2"
external = "vip:wan2nat"
internal = "{MAIL}"
"""
GATEWAYS = f"""
[gateways]

[gateways.gateway.wan_gw]
interface = "wan"
address = "{WAN.prefix4}.{WAN.host4}"
probe_interval = 0.1
reply_within = 0.6
loss_window = 3.0

[gateways.gateway.wan2_gw]
interface = "wan2"
address = "{WAN2.prefix4}.{WAN2.host4}"
probe_interval = 0.1
reply_within = 0.6
loss_window = 3.0

[gateways.group.balanced]
members = [{{ gateway = "wan_gw" }}, {{ gateway = "wan2_gw" }}]
"""
FAILOVER = """
[gateways.group.failover]
members = [{ gateway = "wan_gw", tier = 1 }, { gateway = "wan2_gw", tier = 2 }]
"""
DEMOTING = GATEWAYS.replace("[gateways.gateway.wan_gw]\n", "[gateways.gateway.wan_gw]\ndemote = 120\n")
DOWN_S = 20.0
"""More than these probes take: 20 % of 3 s, and 0.6 s until the first counts; 0.5 s of good ones to return."""
PROVIDERS = f"""
table ip providers {{
  set cut_off {{ type ipv4_addr; }}
  chain anti_spoofing {{
    type filter hook prerouting priority raw;
    ip saddr @cut_off drop
    iifname "eth0" ip saddr != {WAN.prefix4}.0/24 drop
    iifname "eth1" ip saddr != {WAN2.prefix4}.0/24 drop
  }}
}}
"""


def settings(*, pfsync: bool, gateways: str = GATEWAYS) -> NodeSettings:
    """Both nodes' settings."""
    mail = Vip(name="wanmail", interface="wan", vhid=211, addresses=(f"{WAN_MAIL}/24",))
    return NodeSettings(profile="fast", pfsync={} if pfsync else None, extra_vips=(mail,), extra=RULES + gateways)


@contextmanager
def multiwan(*, pfsync: bool) -> Iterator[Lab]:
    """The cluster, with or without replication."""
    with Lab(Topology(name=unique_name("r"), second_wan=True, dmz=True), settings=settings(pfsync=pfsync)) as lab:
        server = lab.topology.namespace("server")
        netns.batch("ip", server, [f"addr add {INTERNET}/32 dev lo"])
        netns.nft(server, PROVIDERS)
        yield lab


@contextmanager
def cut_off(lab: Lab, *addresses: str) -> Iterator[None]:
    """The provider's router does not answer these any more."""
    element = f"element ip providers cut_off {{ {', '.join(addresses)} }}"
    server = lab.topology.namespace("server")
    netns.nft(server, f"add {element}")
    yield
    netns.nft(server, f"delete {element}")


def status(lab: Lab, node: str, gateway: str) -> str:
    """What a node says of a gateway."""
    found = [each for each in lab.request(node, "show", "gateways")["gateways"] if each["name"] == gateway]  # type: ignore[attr-defined]
    return str(found[0]["status"])


def file(lab: Lab, node: str, gateways: str) -> str:
    """A node's file with other gateways."""
    return node_toml(lab.topology, node, settings(pfsync=True, gateways=gateways))


def file_with_default_group(lab: Lab, node: str) -> str:
    """A node's file whose IPv4 default is a group of both WANs, one after the other, in place of a static route."""
    gateways = GATEWAYS.replace("[gateways]\n", '[gateways]\ndefault4 = "failover"\n') + FAILOVER
    text = file(lab, node, gateways)
    route = f'[[interfaces.wan.routes]]\nto = "default"\nvia = "{WAN.prefix4}.{WAN.host4}"\n'
    assert text.count(route) == 1
    return text.replace(route, "")


def is_local_only(lab: Lab) -> bool:
    """Whether the client reaches every address of the firewall inside."""
    inside = ("192.168.1.1", "192.168.1.2", "192.168.2.1", "192.168.2.2", MAIL)
    return all(pings(lab, "client", address) for address in inside)
