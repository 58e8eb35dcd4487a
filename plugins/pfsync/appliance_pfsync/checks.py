"""What `appliance doctor` looks at for pfsync, each with its remedy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from appliance.config import Config, ProvidesVirtualHosts
from appliance.events import Health, PeerChanged
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_pfsync.config import PfsyncConfig
from appliance_pfsync.events import GetPfsync

ANSWER_S = 1.0
FULL = 0.9
"""A table this full will refuse states soon."""
LAG_MS = 100.0
"""A hundred times what a quiet cluster needs; a failover would lose the flows of so many milliseconds."""


def checks(config: Config) -> list[Check]:
    """The checks of every configuration with a ``[pfsync]`` table."""
    name = config[PfsyncConfig].interface
    providers = config.all_providing(ProvidesVirtualHosts)
    shared = [host.name for each in providers for host in each.virtual_hosts().values() if host.interface == name]
    return [
        Check(name="pfsync-service", help="The replicator answers.", run=service_answers),
        Check(name="pfsync-secured", help="States are authenticated and encrypted.", run=is_secured),
        Check(name="pfsync-peer", help="A peer has this node's states.", run=peer_has_states),
        Check(name="pfsync-link", help="States have a link of their own.", run=_own_link(name, shared)),
        Check(name="pfsync-kernel", help="The kernel accepts replicated states.", run=kernel_accepts),
    ]


async def _ask(probe: Probe) -> dict[str, Any] | None:
    return await ask_if_running(probe, GetPfsync(), within_s=ANSWER_S)


def _no_answer() -> Finding:
    return Finding(
        health=Health.FAIL,
        what="the pfsync service does not answer",
        why="a takeover would cut the connections that began since",
        fix="See 'appliance show services' for the error and restart the node.",
    )


async def service_answers(probe: Probe) -> Finding:
    """Ask the replicator for its state."""
    answer = await _ask(probe)
    if answer is None:
        return _no_answer()
    if answer["error"]:
        return Finding(
            health=Health.FAIL,
            what=f"pfsync does not replicate: {answer['error']}",
            why="a takeover would cut every connection",
            fix=answer["remedy"],
        )
    if answer["bulk"] == "failed":
        return Finding(
            health=Health.WARN,
            what=f"the last bulk update failed: {answer['bulk_text']}",
            why="connections that are older than this node's start may be missing here",
            fix="When the peer is up: 'appliance states resync'.",
        )
    return Finding(health=Health.OK, what="the replicator answers, its last bulk update has not failed")


async def is_secured(probe: Probe) -> Finding:
    """Plain datagrams are BSD's way, and only a cable between the nodes makes them safe."""
    answer = await _ask(probe)
    if answer is None:
        return _no_answer()
    if not answer["secured"]:
        return Finding(
            health=Health.WARN,
            what=f"states travel on {answer['interface']} without authentication and encryption",
            why="whoever is on that network can insert, read and delete connections",
            fix="Remove plain and pair the nodes ([xmlrpc_sync], 'appliance pair'), or make a key with "
            "'appliance pfsync key FILE', copy it to every node and set [pfsync] key_file; "
            "with BSD peers use a direct cable.",
        )
    return Finding(health=Health.OK, what="states are authenticated and encrypted")


async def peer_has_states(probe: Probe) -> Finding:
    """Replication needs somebody at the other end."""
    answer = await _ask(probe)
    if answer is None:
        return _no_answer()
    alive = [peer for peer in answer["peers"] if peer["alive"]]
    if not alive:
        others = [
            cast(PeerChanged, event).peer for event in probe.retained(PeerChanged) if cast(PeerChanged, event).alive
        ]
        if others:
            return Finding(
                health=Health.FAIL,
                what=f"{', '.join(others)} is alive but no pfsync is heard from it",
                why="a takeover would cut every connection",
                fix=f"Check that [pfsync] is on both nodes with the same version and key, and the link of "
                f"{answer['interface']}.",
            )
        return Finding(
            health=Health.WARN,
            what="no pfsync peer is heard",
            why="nobody has this node's connections",
            fix="Start the other node; 'appliance show pfsync' there says whether it hears this one.",
        )
    late = [peer for peer in alive if peer["lag_ms"] is not None and peer["lag_ms"] > LAG_MS]
    if late:
        return Finding(
            health=Health.WARN,
            what=f"{late[0]['name']} is {late[0]['lag_ms']:.0f} ms behind",
            why="a takeover now would cut the connections of that time",
            fix=f"Check the speed and the errors of {answer['interface']} on both nodes, and their load.",
        )
    return Finding(health=Health.OK, what=f"{', '.join(peer['name'] for peer in alive)} has this node's states")


def _own_link(name: str, shared: Sequence[str]) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(_: Probe) -> Finding:
        if shared:
            return Finding(
                health=Health.WARN,
                what=f"states travel on {name}, a network of clients with the virtual hosts {', '.join(shared)}",
                why="a burst of clients' traffic delays them, and a takeover then cuts what is late",
                fix="Connect the nodes by a cable of its own and name that interface in pfsync.interface on both.",
            )
        return Finding(health=Health.OK, what=f"no virtual host shares {name} with the states")

    return run


async def kernel_accepts(probe: Probe) -> Finding:
    """Limits and switches of connection tracking."""
    base = "/proc/sys/net/netfilter/nf_conntrack_"
    if probe.read(base + "tcp_be_liberal").strip() != "1":
        return Finding(
            health=Health.WARN,
            what="nf_conntrack_tcp_be_liberal is off",
            why="the kernel would refuse packets of a replicated connection whose window it has not seen",
            fix="sysctl net.netfilter.nf_conntrack_tcp_be_liberal=1",
        )
    count, most = (probe.read(base + name).strip() for name in ("count", "max"))
    if count.isdigit() and most.isdigit() and int(count) > FULL * int(most):
        return Finding(
            health=Health.WARN,
            what=f"the state table is almost full: {count} of {most}",
            why="new connections, and states of the peer, will be refused",
            fix="Raise [pfsync] max_states on every node.",
        )
    return Finding(health=Health.OK, what=f"{count} of {most} states, the kernel takes replicated ones")
