"""Faults of what is around a node: clocks, time zones, accounts, and who is to be notified."""

from __future__ import annotations

import re
import sys
from typing import Any

from appliance.lab import Lab
from appliance.lab.waiting import wait_until
from tests.netns.doctor.between_nodes import sync
from tests.netns.doctor.doing import Fault, Remedy, advised, as_printed, chain, hold, run, stop
from tests.netns.doctor.examining import NODES, POLL_S, SETTLE_S, Case
from tests.netns.doctor.private import TARGET, inside, run_inside, set_clock

RECEIVER = f"""
import http.server

class Receiver(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

server = http.server.HTTPServer({TARGET!r}, Receiver)
print("ready", flush=True)
server.serve_forever()
"""
receive = hold("receiver", "client", sys.executable, "-c", RECEIVER, says="ready")


def printed_inside(pattern: str) -> Remedy:
    """Run the command that the remedy prints where accounts are the node's own."""

    def follow(lab: Lab, fix: str) -> None:
        (command,) = re.findall(pattern, fix)
        inside(lab, "fw2", *command.split())

    return follow


def zone(name: str) -> Fault:
    """What ``timedatectl set-timezone`` does, which needs systemd."""
    return run_inside(f"ln -sfn /usr/share/zoneinfo/{name} /etc/localtime")


def sync_sees(ahead_s: int) -> Fault:
    """Look at the other node until its clock is seen to be there, which takes the clock a second."""

    def look(lab: Lab) -> bool:
        sync(lab)
        shown: Any = lab.request("fw1", "show", "sync")
        return abs((shown["peers"][0]["skew_s"] or 0) - ahead_s) < 2

    return lambda lab: wait_until(lambda: look(lab), f"the clock is {ahead_s} s ahead", SETTLE_S, POLL_S)


def try_again(lab: Lab, fix: str) -> None:
    """Put the target right and test it, on each node: both had something to tell."""
    receive(lab)
    for node in NODES:
        as_printed(r"'appliance notify test somebody'", node)(lab, fix)


CASES = (
    Case(
        name="a target of notifications that is gone",
        finds={"notify-targets": "not reached: somebody"},
        slow=True,
        fault=chain(stop("receiver"), run("appliance ha disable", "appliance ha enable")),
        remedy=try_again,
    ),
    Case(
        name="a clock that is wrong",
        node="fw1",
        finds={"sync-clocks": " s ahead", "dhcp-clocks": "the clocks of the nodes are "},
        fault=chain(set_clock(70), sync_sees(70)),
        remedy=advised("synchronize their clocks with NTP", set_clock(0), sync_sees(0)),
    ),
    Case(
        name="another time zone",
        node="fw1",
        finds={"sync-clocks": "the time zone of fw2 is 9 h ahead"},
        fault=chain(zone("Asia/Tokyo"), sync),
        remedy=advised("timedatectl set-timezone ZONE", zone("Etc/UTC"), sync),
    ),
    Case(
        name="a user who cannot connect",
        finds={"users-group": "not in the group appliance of this machine: eve"},
        fault=run_inside("gpasswd -d eve appliance"),
        remedy=printed_inside(r"usermod -aG appliance eve"),
    ),
    Case(
        name="somebody in the group who is no user",
        finds={"users-members": "in the group appliance and not in [users]: mallory"},
        fault=run_inside("usermod -aG appliance mallory"),
        remedy=advised("or take them out of the group", run_inside("gpasswd -d mallory appliance")),
    ),
)
