"""How a node loses its addresses to the other one and gets them back, with a node's rules, configuration and states."""

from __future__ import annotations

from appliance.errors import ApplianceError
from appliance.lab import Lab, netns
from appliance.lab.waiting import is_all, wait_until
from tests.netns.rules.talk import Calls

NODES = ("fw1", "fw2")
SETTLE_S = 40.0


def settled(lab: Lab) -> None:
    """fw1 has everything, and both know all states if they replicate."""
    lab.wait_settled("fw1", deadline_s=SETTLE_S)
    for node in NODES:
        be_strict(lab, node)
        wait_until(lambda node=node: has_states(lab, node), f"{node} has all states", SETTLE_S)  # type: ignore[misc]


def replicates(lab: Lab, node: str) -> bool:
    """Whether a node has ``[pfsync]``."""
    return "\n[pfsync]\n" in lab.config_path(node).read_text()


def be_strict(lab: Lab, node: str) -> None:
    """Where states are replicated, no connection gets through by luck: what is not known is not picked up."""
    if replicates(lab, node):
        netns.write_sysctls(lab.topology.namespace(node), {"net/netfilter/nf_conntrack_tcp_loose": "0"})


def has_states(lab: Lab, node: str) -> bool:
    """Whether a node has the other one's states; without ``[pfsync]`` there is nothing to have."""
    if not replicates(lab, node):
        return True
    try:
        return lab.request(node, "show", "pfsync")["bulk"] == "done"
    except ApplianceError:  # the service is being started
        return False


def replicated(lab: Lab, calls: Calls) -> None:
    """Until fw2 knows these connections: those of the last moment die with the node that alone knows them."""
    ports = {each.caller.getsockname()[1] for each in calls.made.values()}

    def known() -> bool:
        listed = lab.exec("fw2", "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED").stdout
        return all(f" sport={port} " in listed for port in ports)

    wait_until(known, "fw2 knows all connections", SETTLE_S)


def fw2_serves(lab: Lab) -> None:
    """Until fw2 has everything."""
    lab.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 has everything", SETTLE_S)


class Planned:
    """An operator moves the addresses."""

    @staticmethod
    def there(lab: Lab) -> None:
        """To fw2."""
        lab.exec("fw1", "appliance", "ha", "switchover")
        fw2_serves(lab)

    @staticmethod
    def back(lab: Lab) -> None:
        """To fw1."""
        lab.exec("fw2", "appliance", "ha", "switchover")
        settled(lab)


class Cable:
    """A cable is pulled and plugged in again."""

    @staticmethod
    def there(lab: Lab) -> None:
        """fw1 loses its WAN."""
        lab.pull("fw1", "wan")
        fw2_serves(lab)

    @staticmethod
    def back(lab: Lab) -> None:
        """And has it again."""
        lab.plug("fw1", "wan")
        settled(lab)


class Death:
    """A node loses power and gets it back."""

    @staticmethod
    def there(lab: Lab) -> None:
        """fw1 is dead."""
        lab.power_off("fw1")
        fw2_serves(lab)

    @staticmethod
    def back(lab: Lab) -> None:
        """fw1 starts with nothing but its files."""
        lab.power_on("fw1")
        be_strict(lab, "fw1")
        settled(lab)


Takeover = type[Planned] | type[Cable] | type[Death]
TAKEOVERS: tuple[Takeover, ...] = (Planned, Cable, Death)


def change(lab: Lab, text: dict[str, str]) -> None:
    """Gives each node its new file, the BACKUP first, and reloads it."""
    for node in reversed(NODES):
        lab.config_path(node).write_text(text[node])
        lab.request(node, "config", "reload")
