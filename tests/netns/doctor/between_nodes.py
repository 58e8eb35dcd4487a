"""Faults of what is between the nodes, and of what the other node does."""

from __future__ import annotations

from appliance.lab import Lab, faults
from appliance.lab.faults import Direction
from tests.netns.doctor.doing import Fault, advised, as_printed, cause, chain, change, mend, run
from tests.netns.doctor.examining import Case, doctor

VIRTUAL = "00:00:5e:00:01:01"
GROUP = "01:00:5e:00:00:12"
BOTH = {"carp-master": "two nodes are MASTER of lan@1 with fw1", "carp-roles": "the virtual hosts disagree: "}


def lose(direction: Direction, match: str) -> Fault:
    """A switch of the LAN that loses some frames of fw1."""
    return cause(lambda lab: faults.lose(lab.topology, "fw1", "lan", direction, match=match))


def end_software(lab: Lab) -> None:
    """The machine runs on without its appliance."""
    lab.stop("fw2")


def is_named_among_the_peers(lab: Lab) -> None:
    """The command line says why nothing is known of it, and what to do."""
    status, report = doctor(lab, "fw1", "--peers")
    (peer,) = report["peers"]
    assert (status, peer["findings"]) == (1, [])
    assert "172.16.1.3" in peer["error"]
    assert peer["remedy"]


def start_software(lab: Lab) -> None:
    """And has it again."""
    lab.start("fw2")


def sync(lab: Lab) -> None:
    """Look at the other node now; by itself that may be a minute away."""
    lab.exec("fw1", "appliance", "sync", "now", check=False)


def call(port: int) -> Fault:
    """Fw1 connects to a port of fw2; nobody listens, and it does not matter."""
    return lambda lab: lab.exec("fw1", "timeout", "1", "bash", "-c", f"</dev/tcp/172.16.1.3/{port}", check=False)


def change_sync(before: str, after: str) -> Fault:
    """Another address of fw2 on the sync interface."""
    return change((f'addresses = ["172.16.1.3/{before}"]', f'addresses = ["172.16.1.3/{after}"]'), node="fw2")


ALLOWED = """[[firewall.rule]]
interface = "sync"
action = "pass"
protocol = "tcp"
destination_port = 7777

"""
CASES = (
    Case(
        name="IGMP snooping",
        finds={"carp-reach": "multicast does not arrive from fw1 (192.168.1.2) on lan"},
        fault=lose("from", f"ether daddr {GROUP}"),
        remedy=advised("IGMP or MLD snooping", mend),
    ),
    Case(
        name="no forged transmits",
        finds={"carp-reach": "adverts do not arrive from fw1 (192.168.1.2) on lan", **BOTH},
        fault=lose("from", f"ether saddr {VIRTUAL}"),
        remedy=advised('Allow "forged transmits"', mend),
    ),
    Case(
        name="no promiscuous mode",
        finds={"carp-reach": "frames to the virtual MAC do not reach fw1 (192.168.1.2) on lan"},
        fault=lose("to", f"ether daddr {VIRTUAL}"),
        remedy=advised('Allow "promiscuous mode"', mend),
    ),
    Case(
        name="another VLAN",
        finds={"carp-reach": "not even ARP reaches fw1 (192.168.1.2) on lan", **BOTH},
        fault=cause(lambda lab: faults.pull(lab.topology, "fw1", "lan", "blocked")),
        remedy=advised("Put both ports into the same network", mend),
    ),
    Case(
        name="a loop",
        node="fw1",
        finds={"alarms": "alarms are active"},
        fault=cause(lambda lab: faults.loop(lab.topology, "fw1", "lan")),
        remedy=advised("check spanning tree", mend),
        lingers=True,
    ),
    Case(
        name="the sync cable is pulled",
        node="fw1",
        finds={
            "pfsync-peer": "fw2 is alive but no pfsync is heard from it",
            "dhcp-peer": "fw2 does not take leases",
            "sync-peers": "172.16.1.3",
        },
        fault=chain(cause(lambda lab: faults.pull(lab.topology, "fw1", "sync")), sync),
        remedy=advised("Check the sync cable", mend, sync),
    ),
    Case(
        name="maintenance",
        finds={"carp-demotion": "this node is demoted: maintenance"},
        fault=run("appliance ha maintenance on"),
        remedy=as_printed("'appliance ha maintenance off'"),
    ),
    Case(
        name="the other node is in maintenance",
        node="fw1",
        finds={"carp-peer": "nobody could take over from this node (fw2: "},
        fault=run("appliance ha maintenance on"),
        remedy=advised("take it out of maintenance", run("appliance ha maintenance off")),
    ),
    Case(
        name="disabled by command",
        finds={"carp-demotion": "CARP is disabled on this node by command"},
        fault=run("appliance ha disable"),
        remedy=as_printed("'appliance ha enable'"),
    ),
    Case(
        name="the other node's software is stopped",
        node="fw1",
        finds={
            "carp-reach": "no heartbeat comes from fw2 (192.168.1.3) on lan",
            "carp-peer": "nobody could take over from this node",
            "pfsync-peer": "no pfsync peer is heard",
        },
        fault=end_software,
        remedy=advised("Start the other node", is_named_among_the_peers, start_software),
    ),
    Case(
        name="another mask",
        node="fw1",
        finds={"sync-interfaces": "sync is 172.16.1.0/25 on fw2, 172.16.1.0/24 here"},
        fault=chain(change_sync("24", "25"), sync),
        remedy=advised("prefix lengths in [interfaces] of the wrong node", change_sync("25", "24"), sync),
    ),
    Case(
        name="a rule that is missing between the nodes",
        finds={
            "firewall-nodes": "packets of other nodes were blocked in the last 10 minutes: tcp of 172.16.1.2 at sync"
        },
        fault=call(7777),
        remedy=advised("add a rule that passes it", change(("[[firewall.rule]]", f"{ALLOWED}[[firewall.rule]]"))),
    ),
)
