"""What a compiled rule compares in a packet, and how that is written for nftables. Pure.

Between `appliance.toml` and the kernel a rule is one or two `Step`s, one per family, of conditions that all have to
hold. Steps can be merged (`appliance_firewall.merge`) and tried on made-up packets; the text comes last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from appliance.plugin.ruleset import KeyPath
from appliance_firewall.aliases import Range, Ranges, range_text

NUMBERS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "eigrp": 88,
    "ospf": 89,
    "pim": 103,
    "ipcomp": 108,
    "carp": 112,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
    "dccp": 33,
    "pfsync": 240,
}
"""Protocols by the names that rules may use. The ruleset has numbers: a node needs no /etc/protocols."""
WITH_PORTS = frozenset({"tcp", "udp", "tcp/udp", "sctp", "udplite", "dccp"})

_BOTH = frozenset({"destination-unreachable", "echo-reply", "echo-request", "parameter-problem", "time-exceeded"})
ICMP_TYPES = {
    4: _BOTH
    | {"address-mask-reply", "address-mask-request", "info-reply", "info-request", "redirect", "router-advertisement"}
    | {"router-solicitation", "source-quench", "timestamp-reply", "timestamp-request"},
    6: _BOTH
    | {"ind-neighbor-advert", "ind-neighbor-solicit", "mld-listener-done", "mld-listener-query"}
    | {"mld-listener-reduction", "mld-listener-report", "mld2-listener-report", "nd-neighbor-advert"}
    | {"nd-neighbor-solicit", "nd-redirect", "nd-router-advert", "nd-router-solicit", "packet-too-big"}
    | {"router-renumbering"},
}
"""Names of ICMP types as nftables has them, by family."""

LOG_GROUP = 40
"""The nflog group of everything that rules log."""
LOG_BYTES = 128
"""Of each packet: headers, no contents."""
LIMIT = "limit rate 50/second burst 100 packets"
"""Of what one rule matches only so many packets are logged: a flood must not become a flood of messages."""


class Field(Enum):
    """A part of a packet: how nftables names it, and of which type it is as the key of a map."""

    FAMILY = ("meta nfproto", "nf_proto")
    DEVICE_IN = ("iifname", "ifname")
    DEVICE_OUT = ("oifname", "ifname")
    PROTOCOL = ("meta l4proto", "inet_proto")
    SOURCE_4 = ("ip saddr", "ipv4_addr")
    SOURCE_6 = ("ip6 saddr", "ipv6_addr")
    DESTINATION_4 = ("ip daddr", "ipv4_addr")
    DESTINATION_6 = ("ip6 daddr", "ipv6_addr")
    ICMP_4 = ("icmp type", "icmp_type")
    ICMP_6 = ("icmpv6 type", "icmpv6_type")
    SOURCE_PORT = ("th sport", "inet_service")
    DESTINATION_PORT = ("th dport", "inet_service")

    # Plain attributes: they are read for every value of a hundred thousand rules.
    def __init__(self, text: str, key: str) -> None:
        self.text = text
        """How nftables names it."""
        self.key = key
        """Its type in a set."""
        self.version = {"ipv4_addr": 4, "ipv6_addr": 6}.get(key, 0)
        """Family of the addresses it holds, 0 when it holds none."""
        self.is_exact = bool(self.version) or key == "inet_service"
        """Whether a merged rule can look it up."""


SOURCE = {4: Field.SOURCE_4, 6: Field.SOURCE_6}
DESTINATION = {4: Field.DESTINATION_4, 6: Field.DESTINATION_6}
ICMP = {4: Field.ICMP_4, 6: Field.ICMP_6}
FAMILY = {4: "ipv4", 6: "ipv6"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One field is one of these, or with `inverted` none of these."""

    field: Field
    ranges: Ranges = ()
    names: tuple[str, ...] = ()
    """For fields that are no numbers, and sorted."""
    sets: tuple[str, ...] = ()
    """Names of sets of the table."""
    inverted: bool = False
    _text: str | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    def plain_text(self) -> str:
        """As nftables has it; empty when it needs a set of its own."""
        if self._text is None:
            # Made once: many rules share it, and so do all configurations with the same rule.
            object.__setattr__(self, "_text", _plain(self))
        return self._text or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule of a chain."""

    conditions: tuple[Condition, ...]
    verdict: str
    """As nftables has it; ``goto CHAIN`` included."""
    counter: str = ""
    log: str = ""
    """Prefix of what it logs; nothing is logged without one."""
    origin: KeyPath = ()


Pool = Callable[[Field, Ranges, tuple[str, ...]], str]
"""Makes one set of ranges and of what other sets hold, and returns its name."""
INLINE_MAX = 16
"""Values written into the rule; more become a set, which rules with the same values share."""


def texts(step: Step, pool: Pool) -> Iterator[str]:
    """The rule in nftables' own language: what it logs is a rule before it, for the verdict knows no limit."""
    match = conditions_text(step.conditions, pool)
    space = " " if match else ""
    if step.log:
        yield f"{match}{space}{LIMIT} {log_text(step.log)}"
    counter = f"counter name {step.counter} " if step.counter else ""
    yield f"{match}{space}{counter}{step.verdict}"


def log_text(prefix: str) -> str:
    """The statement that logs a packet."""
    return f'log prefix "{prefix} " group {LOG_GROUP} snaplen {LOG_BYTES}'


def conditions_text(conditions: tuple[Condition, ...], pool: Pool) -> str:
    """Only what is compared."""
    return " ".join([each.plain_text() or _pooled(each, pool) for each in conditions])


def _pooled(condition: Condition, pool: Pool) -> str:
    name = condition.field.text
    if condition.inverted:
        parts = [f"{name} != @{each}" for each in condition.sets]
        return " ".join((*parts, f"{name} != @{pool(condition.field, condition.ranges, ())}"))
    return f"{name} @{pool(condition.field, condition.ranges, condition.sets)}"


def _plain(condition: Condition) -> str:
    name = condition.field.text
    if len(condition.ranges) > INLINE_MAX:
        return ""
    if condition.inverted:
        parts = [f"{name} != @{each}" for each in condition.sets]
        if condition.ranges or condition.names:
            parts.append(f"{name} != {_values(condition)}")
        return " ".join(parts)
    if not condition.sets:
        return f"{name} {_values(condition)}"
    return f"{name} @{condition.sets[0]}" if len(condition.sets) == 1 and not condition.ranges else ""


def _values(condition: Condition) -> str:
    values = [value_text(condition.field, numbers) for numbers in condition.ranges]
    values += [f'"{name}"' if condition.field.key == "ifname" else name for name in condition.names]
    return values[0] if len(values) == 1 else f"{{ {', '.join(values)} }}"


def value_text(field: Field, numbers: Range) -> str:
    """One value or range of a field."""
    return range_text(field.version, numbers)
