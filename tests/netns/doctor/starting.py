"""Faults of services: those that die, and what a node may find when it starts."""

from __future__ import annotations

import sys

from appliance.lab import Lab
from appliance.lab.topology import LAN
from tests.netns.doctor.doing import Fault, Remedy, advised, chain, hold, stop
from tests.netns.doctor.examining import Case
from tests.netns.doctor.private import METRICS_PORT

KILLER = """
import sys, time
from contextlib import suppress
from appliance.errors import ApplianceError
from appliance.lab import Lab

lab = Lab.open(sys.argv[1])
while True:
    for service in ("heartbeat", "replicator", "dhcp-failover/server"):
        with suppress(ApplianceError):  # it has not come back yet
            lab.kill("fw2", service)
    time.sleep(0.2)
"""
ADDRESS = LAN.node4(2).partition("/")[0]
TAKER = f"""
import contextlib, signal, socket
from appliance.net.nflog import PacketLog
from appliance_firewall.listing import NFLOG_GROUP

with contextlib.ExitStack() as held:
    held.enter_context(PacketLog(NFLOG_GROUP))
    for port in ({METRICS_PORT}, 22):
        held.enter_context(socket.create_server(("{ADDRESS}", port)))
    print("taken", flush=True)
    signal.pause()
"""
take = hold("taker", "fw2", sys.executable, "-c", TAKER, says="taken")
HIDDEN = "mount -t tmpfs tmpfs /usr/lib/x86_64-linux-gnu/kea/hooks"
ENTRY_POINTS = "[appliance.plugins]\nodd = odd:Odd\nbroken = odd:Missing\n"
ODD = '''
import trio
from appliance.events import Event, event
from appliance.plugin import Service, hookimpl


@event()
class Ticked(Event):
    """Too many of them."""


async def sleep(ctx, started):
    with ctx.subscribe(Ticked):
        for _ in range(40):
            ctx.publish(Ticked())
        started.started()
        await trio.sleep_forever()


async def crash(ctx, started):
    started.started()
    raise RuntimeError("out of order")


class Odd:
    api = (1, 0)

    @hookimpl
    def appliance_services(self, config, node):
        return [Service(key="sleeper", run=sleep), Service(key="crasher", run=crash)]

    @hookimpl
    def appliance_events(self):
        return (Ticked,)
'''


def kill_again_and_again(lab: Lab) -> None:
    """The processes of services, as often as they come back."""
    hold("killer", "fw2", sys.executable, "-c", KILLER, lab.name)(lab)


def restart(lab: Lab) -> None:
    """The software of the node."""
    lab.stop("fw2")
    lab.start("fw2")


def starts_with(script: str) -> Fault:
    """From the next start on this is done before."""
    return lambda lab: (lab.node_dir("fw2") / "before-start").write_text(script)


def install(lab: Lab) -> None:
    """A plugin that cannot be imported, and one whose services are bad."""
    folder = lab.node_dir("fw2") / "plugins"
    (folder / "odd-1.0.dist-info").mkdir()
    (folder / "odd-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (folder / "odd-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "odd.py").write_text(ODD)


def block(lab: Lab) -> None:
    """Leave them out."""
    with lab.config_path("fw2").open("a") as file:
        file.write('\n[plugins]\nblocked = ["odd", "broken"]\n')


def chain_advised(*remedies: Remedy) -> Remedy:
    """One after the other."""

    def follow(lab: Lab, fix: str) -> None:
        for remedy in remedies:
            remedy(lab, fix)

    return follow


CASES = (
    Case(
        name="services that die again and again",
        finds={
            "services": "services are down",
            "carp-service": "the carp service does not answer",
            "pfsync-service": "the pfsync service does not answer",
            "dhcp-service": "the DHCP service does not answer",
        },
        fault=kill_again_and_again,
        remedy=advised("restart the node", stop("killer"), restart),
    ),
    Case(
        name="a node that starts badly",
        finds={
            "plugins": "plugins that are installed do not run",
            "services": "services are down",
            "bus": "subscribers of the event bus are behind",
            "firewall-log": "cannot use packet log group",
            "metrics-listening": f"not listening on http://{ADDRESS}",
            "ssh-reachable": f"not listening on {ADDRESS}",
            "dhcp-kea": "Kea's libraries ",
            "dhcp-service": "lan is down",
        },
        fault=chain(lambda lab: lab.stop("fw2"), install, take, starts_with(HIDDEN), lambda lab: lab.start("fw2")),
        remedy=chain_advised(
            advised("`[plugins] blocked` leaves it out from the next start on", block),
            advised("Another program may have the group", stop("taker")),
            advised("and the port free"),
            advised("Install the package kea-common", starts_with(""), restart),
        ),
    ),
)
