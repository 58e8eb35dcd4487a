"""A firewall between two WANs, a LAN and a DMZ in namespaces, with the plugin's rules in the real kernel.

Virtual addresses are on the parents' devices, as on a MASTER: what the rules translate does not depend on more.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from appliance.config import Config
from appliance.host.ruleset import common_sets
from appliance.net.ruleset import compose
from appliance.plugin import Fragment, Hook, Hooked, Rule, Set, Stage
from appliance.testing import LabNode, Netlab
from appliance_outbound_nat.ruleset import fragment
from tests.unit.plugins.outbound_nat.fakes import Cluster, config

ANSWER_S = 2.0
SILENCE_S = 0.3
"""How long nothing has to come for it to be nothing: a packet needs less than a millisecond here."""
CLUSTER: dict[str, Any] = {
    "interfaces": {
        "wan": ["198.51.100.201/24", "2001:db8:ffff::201/64"],
        "wan2": ["203.0.113.12/24"],
        "lan": ["192.168.1.2/24", "2001:db8:1::2/64"],
        "dmz": ["192.168.2.2/24"],
    },
    "vips": {
        "wan": ["wan", "198.51.100.200/24", "2001:db8:ffff::200/64"],
        "wan2": ["wan2", "203.0.113.10/24"],
        "wan2nat": ["wan2", "203.0.113.11/24"],
        "lan": ["lan", "192.168.1.1/24", "2001:db8:1::1/64"],
        "dmz": ["dmz", "192.168.2.1/24"],
    },
    "routers": {"wan": "198.51.100.1", "wan2": "203.0.113.1"},
}
SERVER, SERVER2, SERVER6 = "198.51.100.1", "203.0.113.1", "2001:db8:ffff::1"
CLIENT, WEB, MAIL = "192.168.1.100", "192.168.1.10", "192.168.2.10"
CLIENT6 = "2001:db8:1::100"

DEFAULT_DROP = Fragment(
    hooked=(
        Hooked(hook=Hook.FORWARD, stage=Stage.STATE, rules=(Rule(text="ct state established,related accept"),)),
        Hooked(hook=Hook.FORWARD, stage=Stage.DEFAULT, rules=(Rule(text="iifname { wan0, wan20 } drop"),)),
    )
)
"""What a firewall does with everything from outside that no rule passes."""


def rules_of(made: Config, cluster: Cluster) -> str:
    """The whole table as it would be loaded."""
    aliases = Fragment(sets=tuple(each for name in cluster.aliases() for each in _alias_sets(cluster, name)))
    named = [("core", common_sets(made)), ("firewall", aliases), ("test", DEFAULT_DROP)]
    return compose([*named, ("outbound-nat", fragment(made))]).text


def _alias_sets(cluster: Cluster, name: str) -> list[Set]:
    alias = cluster.aliases()[name]
    if alias.kind == "port":
        numbers = tuple(str(first) for first, _ in alias.ports)
        return [Set(name=alias.set_name(), key="inet_service", flags="interval", elements=numbers)]
    keys = {4: "ipv4_addr", 6: "ipv6_addr"}
    texts = cluster.names[name]
    return [
        Set(
            name=alias.set_name(version),
            key=key,
            flags="interval",
            elements=tuple(text for text in texts if (":" in text) == (version == 6)),
        )
        for version, key in keys.items()
    ]


def nft(node: LabNode, text: str, *arguments: str) -> None:
    """Give nft a text; complains with what nft said."""
    argv = ["nft", *arguments, "-f", "-"]
    done = node.inside(lambda: subprocess.run(argv, input=text, text=True, capture_output=True, check=False))
    assert done.returncode == 0, f"{done.stderr}\n{text}"


@dataclass(frozen=True, slots=True)
class Seen:
    """Who a machine saw: the source of a datagram, and where the datagram arrived."""

    source: str
    port: int
    at: str


class Lab:
    """The machines. `firewall` has rules once they are loaded."""

    def __init__(self, netlab: Netlab) -> None:
        self.firewall = netlab.node("firewall")
        self.client, self.web = netlab.node("client"), netlab.node("web")
        self.mail, self.server = netlab.node("mail"), netlab.node("server")
        for node in (self.firewall, self.client, self.web, self.mail, self.server):
            # Without duplicate address detection IPv6 works at once.
            node.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0")
        lan = netlab.switch("lan")
        self._wire(netlab, self.client, "eth0", lan, [f"{CLIENT}/24", f"{CLIENT6}/64"])
        self._wire(netlab, self.web, "eth0", lan, [f"{WEB}/24", "2001:db8:1::10/64"])
        self._wire(netlab, self.firewall, "lan0", lan, _addresses("lan"))
        self._wire(netlab, self.firewall, "dmz0", self.mail, _addresses("dmz"))
        self._wire(netlab, self.firewall, "wan0", self.server, _addresses("wan"))
        self._wire(netlab, self.firewall, "wan20", self.server, _addresses("wan2"))
        netlab.address(self.mail, "dmz0", [f"{MAIL}/24"])
        netlab.address(self.server, "wan0", [f"{SERVER}/24", f"{SERVER6}/64"])
        netlab.address(self.server, "wan20", [f"{SERVER2}/24"])
        for node, router in ((self.client, "192.168.1.1"), (self.web, "192.168.1.1"), (self.mail, "192.168.2.1")):
            node.run("ip", "route", "add", "default", "via", router)
        for node in (self.client, self.web):
            node.run("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
        self.firewall.run("ip", "route", "add", "default", "via", SERVER)
        forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0")
        self.firewall.run("sysctl", "-qw", *forwarding)
        # A way back to addresses inside shows what was not translated.
        self.server.run("ip", "route", "add", "192.168.0.0/16", "via", "198.51.100.201")

    @staticmethod
    def _wire(netlab: Netlab, node: LabNode, device: str, other: LabNode, addresses: Sequence[str]) -> None:
        netlab.connect(node, other, device, addresses)

    def load(self, toml: str, **cluster: Any) -> None:
        """Put the rules of a table in force, in place of those before."""
        self.firewall.run("nft", "flush", "ruleset")
        described = CLUSTER | cluster
        nft(self.firewall, rules_of(config(toml, **described), Cluster.model_validate(described)))

    def hits(self, counter: str) -> int:
        """How many connections a rule has translated."""
        listed = self.firewall.run("nft", "list", "counter", "inet", "appliance", counter)
        found = re.search(r"packets (\d+)", listed)
        assert found is not None, listed
        return int(found[1])


def _addresses(interface: str) -> list[str]:
    own = list(CLUSTER["interfaces"][interface])
    return own + [text for where, *texts in CLUSTER["vips"].values() if where == interface for text in texts]


def seen_by(
    receiver: LabNode, at: int, sender: LabNode, to: tuple[str, int], *, source: tuple[str, int] | None = None
) -> Seen | None:
    """Send a datagram and let it be answered; as whom `receiver` saw the sender, or nothing when it did not come.

    Args:
        receiver: Where it should arrive.
        at: Its port there.
        sender: Where it comes from.
        to: Where it is sent to.
        source: Address and port it is sent from; an empty address is the sender's choice.
    """
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    with ExitStack() as stack:
        there, here = (stack.enter_context(node.socket(family)) for node in (receiver, sender))
        there.bind(("", at))
        there.settimeout(ANSWER_S)
        here.settimeout(ANSWER_S)
        if source is not None:
            here.bind(source)
        here.sendto(b"who am I", to)
        there.settimeout(SILENCE_S)
        try:
            _, whom = there.recvfrom(100)
        except TimeoutError:
            return None
        there.sendto(b"you are", whom)
        answer, answering = here.recvfrom(100)
        assert (answer, answering[:2]) == (b"you are", to), "answers come from where it was sent to"
        return Seen(whom[0], whom[1], to[0])
