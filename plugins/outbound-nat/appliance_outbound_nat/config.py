"""The pydantic models of ``[outbound_nat]``. What they mean is in `selectors`, `translation` and `forwards`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from appliance.config import Model
from appliance.config.types import InterfaceName, Port

RULES_MAX = 2000
"""Rules are asked one after the other, once for each new connection."""
FORWARDS_MAX = 10_000
"""Port forwards and pairs of addresses of one shape share a map."""
TEXT_MAX = 100

Mode = Literal["automatic", "hybrid", "manual", "disabled"]
Protocol = (
    Literal["any", "tcp", "udp", "tcp/udp", "icmp", "esp", "ah", "gre", "sctp"] | Annotated[int, Field(ge=0, le=255)]
)
Words = Annotated[str, Field(min_length=1, max_length=TEXT_MAX)]
Ports = Port | Words
RuleId = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_]{0,31})?$")]
Description = Annotated[str, Field(max_length=200)]


class RuleTable(Model):
    """``[[outbound_nat.rule]]``: one rule of the modes manual and hybrid; the first that matches counts."""

    id: RuleId = ""
    """Name of the rule's counter: hits go on counting while the rule changes. Default: made of its content."""
    interface: InterfaceName
    """Logical interface through which packets leave."""
    source: Words = "any"
    """``any``, an address, network, range ``A-B``, alias, ``net:IF``, ``address:IF`` or ``vip:NAME``; ``!`` in front
    inverts."""
    source_port: Ports = "any"
    """``any``, a port, a range ``"1000-2000"`` or an alias of ports."""
    destination: Words = "any"
    """As `source`."""
    destination_port: Ports = "any"
    """As `source_port`."""
    protocol: Protocol = "any"
    """``any``, ``tcp``, ``udp``, ``tcp/udp``, ``icmp``, ``esp``, ``ah``, ``gre``, ``sctp`` or a number."""
    translation: Words
    """``vip:NAME``, ``interface`` (this node's own address there), an address, a network or range (a pool), or
    ``none`` (no translation)."""
    port: Ports = "any"
    """Source ports to choose from after translation, such as ``"1024-65535"``; default: the client's own when it is
    free."""
    static_port: bool = False
    """Never ask for another source port. Linux keeps a port that is free in any case."""
    randomize_ports: bool = False
    """Choose source ports at random: connections then depend on state replication to survive a takeover."""
    description: Description = ""
    """For people."""
    disabled: bool = False
    """Leave the rule out."""
    nosync: bool = False
    """The rule stays on this node: configuration synchronization leaves it out."""


class OneToOneTable(Model):
    """``[[outbound_nat.one_to_one]]``: an address outside stands for one inside, in both directions."""

    id: RuleId = ""
    """Name of the entry's counter; default: made of its content."""
    interface: InterfaceName
    """Logical interface outside."""
    external: Words
    """``vip:NAME``, an address, or a network as large as `internal`."""
    internal: Words
    """Address or network inside."""
    destination: Words = "any"
    """The other end outside for which it holds; as a rule's."""
    reflection: bool | None = None
    """Whether clients inside reach it by the external address too; default: the table's."""
    description: Description = ""
    """For people."""
    disabled: bool = False
    """Leave the entry out."""
    nosync: bool = False
    """The entry stays on this node."""


class PortForwardTable(Model):
    """``[[outbound_nat.port_forward]]``: a port outside leads to a machine inside."""

    id: RuleId = ""
    """Name of the forward's counter; default: made of its content."""
    interface: InterfaceName
    """Logical interface at which connections come in."""
    protocol: Literal["tcp", "udp", "tcp/udp"] = "tcp"
    """``tcp``, ``udp`` or ``tcp/udp``."""
    source: Words = "any"
    """Who may; as a rule's."""
    destination: Words
    """``vip:NAME``, an address, or ``address`` (this node's own address there, which does not move in a takeover)."""
    port: Ports
    """Port or range ``"1000-1010"`` outside."""
    target: Words
    """Address inside, or an alias with one address."""
    target_port: Port | None = None
    """Port inside, of a range its first; default: the same as outside."""
    filter: Literal["pass", "none"] = "pass"
    """``pass``: the firewall passes what is forwarded; ``none``: a firewall rule has to."""
    reflection: bool | None = None
    """Whether clients inside reach it by the external address too; default: the table's."""
    description: Description = ""
    """For people."""
    disabled: bool = False
    """Leave the forward out."""
    nosync: bool = False
    """The forward stays on this node."""


class OutboundNatConfig(Model):
    """``[outbound_nat]``: translation of addresses, outbound, one to one and by port."""

    mode: Mode = "automatic"
    """``automatic``: every internal network to every WAN; ``hybrid``: the rules, then automatic ones; ``manual``: the
    rules alone; ``disabled``: no outbound translation."""
    reflection: bool = False
    """Default for port forwards and one-to-one entries: clients inside reach them by the external address too."""
    rule: Annotated[list[RuleTable], Field(max_length=RULES_MAX)] = []
    """Rules of the modes manual and hybrid, in order."""
    one_to_one: Annotated[list[OneToOneTable], Field(max_length=FORWARDS_MAX)] = []
    """Addresses outside that stand for addresses inside. They open nothing: firewall rules do."""
    port_forward: Annotated[list[PortForwardTable], Field(max_length=FORWARDS_MAX)] = []
    """Ports outside that lead inside."""
