"""Faults of one node whose kernel or cables are not as they should be."""

from __future__ import annotations

from appliance.lab import faults
from tests.netns.doctor.doing import advised, as_printed, cause, interfere, mend, run, stop
from tests.netns.doctor.examining import Case

FLUSH, UNRULE = "nft flush ruleset; sleep 0.1", "ip rule del pref 90; sleep 0.1"
UNFORWARD = "echo 0 >/proc/sys/net/ipv4/ip_forward; sleep 0.1"
PROGRAMS = (FLUSH, UNRULE, UNFORWARD)
CASES = (
    Case(
        name="a device is called otherwise",
        finds={
            "interfaces-devices": "the device sync0 of sync does not exist",
            "interfaces-addresses": "sync lacks 172.16.1.3/24",
        },
        fault=run("ip link set sync0 down", "ip link set sync0 name odd0"),
        remedy=advised("there are: lan0, lan0.v1, odd0", run("ip link set odd0 name sync0", "ip link set sync0 up")),
    ),
    Case(
        name="a device is set down by hand",
        finds={
            "interfaces-devices": "wan0 of wan has been set down by hand",
            "interfaces-links": "set down: wan0",
            "interfaces-addresses": "wan lacks the route to default",
        },
        fault=run("ip link set wan0 down"),
        remedy=as_printed(r"`(ip link set wan0 up)`"),
    ),
    Case(
        name="the cable of the WAN is pulled",
        finds={
            "interfaces-links": "no link: wan (wan0)",
            "gateways-status": "down: wan_gw",
            "gateways-groups": "no usable gateway in out",
            "carp-demotion": "this node is demoted: link:wan",
        },
        fault=cause(lambda lab: faults.pull(lab.topology, "fw2", "wan")),
        remedy=advised("Check the cable", mend),
    ),
    Case(
        name="a port of a bridge",
        finds={"interfaces-bridges": "bridged: sync (sync0) is a port of br0"},
        fault=run("ip link add br0 type bridge", "ip link set sync0 master br0"),
        remedy=as_printed(r"`(ip link set sync0 nomaster)`"),
    ),
    Case(
        name="forwarding is switched off again and again",
        finds={"interfaces-forwarding": "the kernel does not forward: net.ipv4.ip_forward is 0"},
        fault=interfere(UNFORWARD),
        remedy=advised("/etc/sysctl.d", stop(UNFORWARD)),
    ),
    Case(
        name="parents answer ARP for virtual addresses",
        finds={"carp-arp": "lan0 has arp_ignore=0"},
        fault=run("sysctl -qw net.ipv4.conf.lan0.arp_ignore=0"),
        remedy=as_printed(r"sysctl \S+=1"),
    ),
    Case(
        name="the kernel is strict about windows",
        finds={"pfsync-kernel": "nf_conntrack_tcp_be_liberal is off"},
        fault=run("sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=0"),
        remedy=as_printed(r"sysctl \S+=1"),
    ),
    Case(
        name="another firewall flushes the rules",
        finds={"firewall-ruleset": "table inet appliance is not in the kernel"},
        fault=interfere(FLUSH),
        remedy=advised("disable what removes them: nftables.service", stop(FLUSH)),
    ),
    Case(
        name="another program removes the rules of routing",
        finds={"gateways-local": "the IPv4 rule that lets local networks go first is missing"},
        fault=interfere(UNRULE),
        remedy=advised("another program removes it", stop(UNRULE)),
    ),
)
