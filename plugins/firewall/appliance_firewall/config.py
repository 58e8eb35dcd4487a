"""The pydantic models of ``[firewall]``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from appliance.config import Alias, Model, Scope
from appliance.config.types import InterfaceName, Ip
from appliance_firewall.aliases import NAME, Entries, Kind, Resolved, Wrong, resolve_aliases
from appliance_firewall.schedule import Schedule, make, parse_times

ENTRIES_MAX = 100_000
RULES_MAX = 100_000
LIST_MAX = 256
"""Things in one key of a rule; more belong into an alias."""


def _is_name(text: str) -> str:
    if not NAME.match(text):
        raise ValueError("a name is a lower-case letter, then at most 30 lower-case letters, digits or underscores")
    return text


def _is_times(text: str) -> str:
    parse_times(text)
    return text


Name = Annotated[str, AfterValidator(_is_name)]
Times = Annotated[str, AfterValidator(_is_times)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Text = Annotated[str, Field(max_length=256)]
Addresses = str | Annotated[list[str], Field(min_length=1, max_length=LIST_MAX)]
Ports = int | str | Annotated[list[int | str], Field(min_length=1, max_length=LIST_MAX)]


class AliasTable(Model):
    """``[firewall.alias.NAME]``: a name for many addresses or ports."""

    type: Kind
    """``hosts``: addresses and ranges. ``networks``: these and networks. ``ports``."""
    entries: Annotated[list[int | str], Field(max_length=ENTRIES_MAX)] = []
    """``"192.168.2.10"``, ``"192.168.2.20-192.168.2.29"``, ``"10.0.0.0/8"``; ports ``25``, ``"1000-2000"``; names of
    other aliases."""
    description: Text = ""
    """For people."""

    @cached_property
    def contents(self) -> Entries:
        """What is written in it."""
        return Entries(self.type, self.entries)


class ScheduleTable(Model):
    """``[firewall.schedule.NAME]``: when rules apply that name it. Local time, summer time included."""

    days: Annotated[list[Day], Field(max_length=7)] = []
    """Days on which the times begin; every day when there are none."""
    times: Annotated[list[Times], Field(max_length=32)] = []
    """Ranges such as ``"08:00-17:00"`` or ``"22:00-06:00"``, without their last minute; the whole day when empty."""
    description: Text = ""
    """For people."""


class RuleTable(Model):
    """``[[firewall.rule]]``: what to do with new connections of one kind."""

    interface: InterfaceName | Annotated[list[InterfaceName], Field(min_length=1, max_length=LIST_MAX)]
    """Logical interface; a list or ``"any"`` makes the rule floating: it is asked before those of one interface."""
    action: Literal["pass", "block", "reject"]
    """``block`` drops silently, ``reject`` tells the sender."""
    direction: Literal["in", "out"] = "in"
    """``in``: what comes in at the interface. ``out``: what leaves by it, from this node itself too."""
    family: Literal["any", "ipv4", "ipv6"] = "any"
    """Which addresses have to be of."""
    protocol: str | int = "any"
    """``any``, ``tcp``, ``udp``, ``tcp/udp``, ``icmp`` (ICMPv6 too), another protocol's name, or its number."""
    source: Addresses = "any"
    """An address, network or range, an alias, ``self``, ``net:IF``, ``address:IF``, ``vip:NAME``, or a list of them;
    with ``!`` in front everything else."""
    source_port: Ports = "any"
    """A port, ``"1000-2000"``, a port alias, or a list of them; with ``!`` in front all others."""
    destination: Addresses = "any"
    """As `source`."""
    destination_port: Ports = "any"
    """As `source_port`."""
    icmp_types: Annotated[list[str], Field(max_length=32, default_factory=list)]
    """Such as ``"echo-request"``, with the names of nftables; all of them when empty."""
    log: bool = False
    """Whether matching packets, the first one of each connection, are in the log of the console: at most 50 a second of
    each rule, after a burst of 100."""
    gateway: str = ""
    """Gateway or group by which matching connections leave."""
    schedule: str = ""
    """Schedule during which the rule applies; always when there is none."""
    description: Text = ""
    """For people."""
    disabled: bool = False
    """Leaves the rule out."""
    nosync: Annotated[bool, Scope.LOCAL] = False
    """Keeps the rule on this node: it does not travel to the others."""
    id: Annotated[str, AfterValidator(lambda text: _is_name(text) if text else text)] = ""
    """Name of the rule's counter, kept when the rule is edited; without it an edited rule counts from 0."""

    @property
    def interfaces(self) -> tuple[str, ...]:
        """As written, ``any`` included."""
        return (self.interface,) if isinstance(self.interface, str) else tuple(self.interface)

    @property
    def is_floating(self) -> bool:
        """Whether it is asked before the rules of single interfaces."""
        return self.interfaces == ("any",) or len(self.interfaces) > 1


def items(value: int | str | list[str] | list[int | str]) -> tuple[str, ...]:
    """One or several things as text."""
    return tuple(str(each) for each in value) if isinstance(value, list) else (str(value),)


class FirewallConfig(Model):
    """``[firewall]``: what may pass. New connections pass only where a rule says so."""

    nodes: Annotated[list[Ip], Field(max_length=64)] = []
    """Addresses of all nodes on the sync interface; without them whoever is in its network is taken for a node."""
    anti_lockout: str | None = None
    """Interface at which ports 22 and 443 of this node are always reachable; ``""`` switches that off. The default is
    ``lan``, or else the first interface that is neither a WAN nor the sync interface."""
    block_bogons: list[InterfaceName] = []
    """Interfaces at which packets from addresses are dropped that nobody can have on the Internet."""
    block_private: list[InterfaceName] = []
    """Interfaces at which packets from private networks are dropped (RFC 1918, RFC 6598, fc00::/7)."""
    log_default: bool = True
    """Whether the log shows what no rule has passed."""
    automatic: bool = True
    """Whether what the appliance itself needs passes without a rule."""
    replace: Annotated[list[str], Field(max_length=64)] = []
    """Kinds of automatic rules that are left out because own rules do their work, such as ``carp``."""
    alias: dict[Name, AliasTable] = {}
    """The aliases by name."""
    schedule: dict[Name, ScheduleTable] = {}
    """The schedules by name."""
    rule: Annotated[list[RuleTable], Field(max_length=RULES_MAX)] = []
    """The rules; the first one that matches decides."""

    @cached_property
    def resolution(self) -> tuple[Mapping[str, Resolved], tuple[Wrong, ...]]:
        """The aliases that are right, and what is wrong with the others."""
        return resolve_aliases({name: table.contents for name, table in self.alias.items()})

    @cached_property
    def _public_aliases(self) -> Mapping[str, Alias]:
        return {name: self.alias[name].contents.public(name, each) for name, each in self.resolution[0].items()}

    def aliases(self) -> Mapping[str, Alias]:
        """All aliases that are right, by name (`appliance.config.ProvidesAliases`)."""
        return self._public_aliases

    def schedules(self) -> dict[str, Schedule]:
        """All schedules by name."""
        return {name: make(name, table.days, table.times) for name, table in self.schedule.items()}
