"""The firewall that the nodes of a lab run while connections are to survive: SNAT, a port forward, default drop.

Loaded by tests and benchmarks themselves, in the node's namespace, whatever software the node runs. Rules name
addresses and never devices, because some implementations receive on devices of their own (macvlan). Strict on
purpose (`nf_conntrack_tcp_loose=0`, policy drop, nothing for the virtual address is answered by the node): a
connection whose state is missing does not get through by luck.
"""

from __future__ import annotations

from appliance.lab import Lab, netns
from appliance.lab.probe import DOWNLOAD_PORT, ECHO_PORT
from appliance.lab.topology import LAN, WAN, Topology

FORWARDED_PORTS = f"{{ {ECHO_PORT}, {DOWNLOAD_PORT} }}"
"""From the virtual address to the client, whose services then answer the outside."""
VIP4, VIP6 = (address.partition("/")[0] for address in WAN.vips[0][2])
CLIENT4, CLIENT6 = f"{LAN.prefix4}.{LAN.host4}", f"{LAN.prefix6}::{LAN.host6}"
SERVER4, SERVER6 = f"{WAN.prefix4}.{WAN.host4}", f"{WAN.prefix6}::{WAN.host6}"
IDLE_TIMEOUT_S = 3600
"""Background flows of one datagram must outlive the longest run of a benchmark."""

PREROUTING4 = f"ip daddr {VIP4} tcp dport {FORWARDED_PORTS} dnat ip to {CLIENT4}"
PREROUTING6 = f"ip6 daddr {VIP6} tcp dport {FORWARDED_PORTS} dnat ip6 to {CLIENT6}"
POSTROUTING4 = f"ip saddr {CLIENT4} ip daddr {WAN.prefix4}.0/24 snat ip to {VIP4}"
POSTROUTING6 = f"ip6 saddr {CLIENT6} ip6 daddr {WAN.prefix6}::/64 snat ip6 to {VIP6}"
INPUT4 = f"ip daddr {VIP4} meta l4proto {{ tcp, udp }} ct state new,invalid drop"
INPUT6 = f"ip6 daddr {VIP6} meta l4proto {{ tcp, udp }} ct state new,invalid drop"


def ruleset(topology: Topology) -> str:
    """The table as `nft` reads it."""
    six = topology.ipv6
    return f"""
table inet proof {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    {PREROUTING4}
    {PREROUTING6 if six else ""}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    {POSTROUTING4}
    {POSTROUTING6 if six else ""}
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    {INPUT4}
    {INPUT6 if six else ""}
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ip saddr {CLIENT4} ct state new accept
    ct status dnat ct state new accept
    {f"ip6 saddr {CLIENT6} ct state new accept" if six else ""}
  }}
}}
"""


def load(lab: Lab, node: str) -> None:
    """Makes a node that has power a firewall. Once per boot, at once: states that arrive need the NAT chains."""
    namespace = lab.topology.namespace(node)
    netns.nft(namespace, ruleset(lab.topology))  # first: it brings the module that has the sysctls
    netns.write_sysctls(
        namespace,
        {
            "net/netfilter/nf_conntrack_tcp_loose": "0",
            "net/netfilter/nf_conntrack_udp_timeout": str(IDLE_TIMEOUT_S),
            "net/netfilter/nf_conntrack_udp_timeout_stream": str(IDLE_TIMEOUT_S),
        },
    )


def boot(lab: Lab, node: str) -> None:
    """`Lab.power_on` of a node that is such a firewall."""
    lab.power_on(node)
    load(lab, node)


def entries(lab: Lab, node: str) -> int:
    """How many entries the kernel of a node tracks; 0 without power."""
    if not lab.has_power(node):
        return 0
    return int(netns.read_sysctl(lab.topology.namespace(node), "net/netfilter/nf_conntrack_count"))
