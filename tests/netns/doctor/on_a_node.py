"""Faults of one node whose kernel, cables or neighbours are not as they should be."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable

from appliance.lab import Lab, faults
from tests.netns.doctor.examining import Case

_held: dict[str, subprocess.Popen[str]] = {}
"""Programs that interfere, by what they do."""


def run(*command: str, node: str = "fw2") -> Callable[[Lab], object]:
    """A shell command on a node."""
    return lambda lab: lab.exec(node, "sh", "-ec", "; ".join(command))


def as_printed(pattern: str, node: str = "fw2") -> Callable[[Lab, str], object]:
    """Run each command that the remedy prints and that looks like this."""

    def follow(lab: Lab, fix: str) -> None:
        commands = re.findall(pattern, fix)
        assert commands, fix
        for command in commands:
            lab.exec(node, *shlex.split(command))

    return follow


def interfere(command: str, node: str = "fw2") -> Callable[[Lab], object]:
    """Another program that does this all the time."""

    def start(lab: Lab) -> None:
        _held[command] = lab.popen(node, "sh", "-c", f"while :; do {command}; done 2>/dev/null")

    return start


def stop(command: str, advice: str) -> Callable[[Lab, str], object]:
    """Find that program, as is advised, and end it."""

    def end(_: Lab, fix: str) -> None:
        assert advice in fix
        with _held.pop(command) as program:
            program.kill()

    return end


def cause(make: Callable[[Lab], faults.Fault]) -> Callable[[Lab], object]:
    """A fault of the network."""
    return lambda lab: lab.cause(make(lab))


def plug(advice: str) -> Callable[[Lab, str], object]:
    """Mend the network where it is advised."""

    def mend(lab: Lab, fix: str) -> None:
        assert advice in fix
        lab.undo_all()

    return mend


FLUSH, UNRULE = "nft flush ruleset; sleep 0.02", "ip rule del pref 90"
UNFORWARD = "sysctl -qw net.ipv4.ip_forward=0; sleep 0.01"
CASES = (
    Case(
        name="a device is called otherwise",
        finds={
            "interfaces-devices": "the device sync0 of sync does not exist",
            "interfaces-addresses": "sync lacks 172.16.1.3/24",
        },
        fault=run("ip link set sync0 down", "ip link set sync0 name odd0"),
        remedy=lambda lab, fix: (
            "there are: lan0, lan0.v1, odd0" in fix and run("ip link set odd0 name sync0", "ip link set sync0 up")(lab)
        ),
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
            "carp-demotion": "this node is demoted: link:wan",
        },
        fault=cause(lambda lab: faults.pull(lab.topology, "fw2", "wan")),
        remedy=plug("Check the cable"),
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
        remedy=stop(UNFORWARD, "/etc/sysctl.d"),
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
        remedy=stop(FLUSH, "disable what removes them: nftables.service"),
    ),
    Case(
        name="another program removes the rules of routing",
        finds={"gateways-local": "the IPv4 rule that lets local networks go first is missing"},
        fault=interfere(UNRULE),
        remedy=stop(UNRULE, "another program removes it"),
    ),
)
