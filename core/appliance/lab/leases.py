"""A DHCP client on the LAN of a lab: what a takeover has to leave alone is its address."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from appliance.errors import ApplianceError
from appliance.lab.waiting import wait_until

if TYPE_CHECKING:
    from appliance.lab.lab import Lab

CLIENT = "client"
TRIES = 12
"""Of DISCOVER, one a second: a server that has just become active is asked a second time."""
KNOWN_S = 15.0
"""For a lease to be on all nodes; one that has just started learns all of them."""
IDENTITY = "0x3d:00d211"
"""Client identifier (RFC 2132, 9.14): the machine of a drill, whatever device it is on."""
SCRIPT = '#!/bin/sh\n[ "$1" = bound ] && echo "$ip"\nexit 0\n'


class DhcpClient:
    """Asks for its lease again and again, without using the address.

    Args:
        lab: The cluster, which is up.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.address = ""
        """What it got first; empty: there is no DHCP here."""

    def begin(self) -> str:
        """Get a lease, and say so; or say why not."""
        try:
            self._lab.request("fw1", "show", "dhcp")
        except ApplianceError as error:
            return error.message.splitlines()[0]
        if _program() is None:
            return "no DHCP client on this machine: install busybox or udhcpc"
        self.address = self._ask()
        self._refuse_unless_known()
        return f"a client has {self.address}, and every node knows its lease"

    def again(self) -> str:
        """Ask again, whoever serves now; what there is to say, nothing without DHCP.

        Raises:
            ApplianceError: Nobody answers, it is another address, or a node does not know the lease.
        """
        if not self.address:
            return ""
        address = self._ask()
        if address != self.address:
            raise ApplianceError(
                f"DHCP: the client got {address} instead of {self.address}", hint="See `appliance show dhcp`."
            )
        self._refuse_unless_known()
        return f"DHCP: the client gets {address} again"

    def _ask(self) -> str:
        program = _program()
        assert program is not None
        script = self._lab.directory / "drill-udhcpc.sh"
        script.write_text(SCRIPT)
        script.chmod(0o755)
        device = self._lab.topology.cables_of(CLIENT)[0].device
        argv = [*program, "-i", device, "-f", "-q", "-n", "-t", str(TRIES), "-T", "1", "-s", str(script)]
        done = self._lab.exec(CLIENT, *argv, "-C", "-x", IDENTITY, check=False, timeout_s=TRIES + 20)
        lines = done.stdout.split()
        if not lines:
            raise ApplianceError("DHCP: nobody answers the client", hint="See `appliance show dhcp` on all nodes.")
        return lines[-1]

    def _refuse_unless_known(self) -> None:
        """A node that has lost its power knows nothing, and is not asked."""
        for node in self._lab.topology.node_names:
            if self._lab.has_power(node):
                wait_until(partial(self._knows, node), f"DHCP: {node} knows the lease of {self.address}", KNOWN_S)

    def _knows(self, node: str) -> bool:
        try:
            shown = self._lab.request(node, "show", "dhcp")
        except ApplianceError:  # its service starts
            return False
        return self.address in [lease["address"] for lease in cast("list[dict[str, Any]]", shown["leases"])]


def _program() -> list[str] | None:
    if found := shutil.which("udhcpc", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        return [found]
    return ["busybox", "udhcpc"] if shutil.which("busybox") else None
