"""Names of counters: the same for the same rule over reorderings, reloads and nodes. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from appliance_firewall.config import RuleTable, items

LOCKOUT = "fw_lockout"
INVALID = "fw_invalid"
DEFAULT_IN = "fw_default_in"
DEFAULT_FORWARD = "fw_default_forward"
_HASH_BYTES = 6


def counters_of(rules: Sequence[RuleTable]) -> tuple[str, ...]:
    """The counter of each rule, disabled ones included. Equal rules get a number, in their order."""
    seen: dict[str, int] = {}
    out = []
    for rule in rules:
        name = f"fw_r_{rule.id}" if rule.id else f"fw_h_{_digest(rule)}"
        seen[name] = seen.get(name, 0) + 1
        # A dot is in no name of an operator's.
        out.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return tuple(out)


def _digest(rule: RuleTable) -> str:
    """Of what a rule does and to what; what people read about it, and whether it logs, may change."""
    content = (
        rule.interfaces,
        rule.action,
        rule.direction,
        rule.family,
        str(rule.protocol),
        items(rule.source),
        items(rule.source_port),
        items(rule.destination),
        items(rule.destination_port),
        rule.icmp_types,
        rule.gateway,
        rule.schedule,
    )
    return hashlib.blake2s(json.dumps(content).encode(), digest_size=_HASH_BYTES).hexdigest()


def safe(text: str) -> str:
    """Any word as part of a counter's name."""
    return re.sub(r"[^a-z0-9_]", "_", text.lower())


def log_prefix(counter: str, action: str) -> str:
    """What the log of the kernel says about a packet."""
    return f"{counter}:{action}"


def counter_of_prefix(prefix: str) -> str:
    """The counter of the rule that logged a packet with this prefix."""
    return prefix.strip().partition(":")[0]
