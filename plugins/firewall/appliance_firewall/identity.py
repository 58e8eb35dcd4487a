"""Names of counters: the same for the same rule over reorderings, reloads and nodes. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from appliance_firewall.config import RuleTable

LOCKOUT = "fw_lockout"
INVALID = "fw_invalid"
DEFAULT_IN = "fw_default_in"
DEFAULT_FORWARD = "fw_default_forward"
_HASH_BYTES = 6


def counters_of(rules: Iterable[RuleTable]) -> tuple[str, ...]:
    """The counter of each rule, disabled ones included."""
    return numbered([base_name(rule) for rule in rules])


def base_name(rule: RuleTable) -> str:
    """The counter of a rule that no equal one comes before."""
    return f"fw_r_{rule.id}" if rule.id else f"fw_h_{_digest(rule)}"


def numbered(names: Iterable[str]) -> tuple[str, ...]:
    """Equal rules get a number, in their order."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        count = seen[name] = seen.get(name, 0) + 1
        # A dot is in no name of an operator's.
        out.append(name if count == 1 else f"{name}.{count}")
    return tuple(out)


def _digest(rule: RuleTable) -> str:
    """Of what a rule does and to what; what people read about it, and whether it logs, may change."""
    # No word of a rule that is right has a comma or the end of a line in it.
    content = (
        _joined(rule.interface),
        rule.action,
        rule.direction,
        rule.family,
        str(rule.protocol),
        _joined(rule.source),
        _joined(rule.source_port),
        _joined(rule.destination),
        _joined(rule.destination_port),
        ",".join(rule.icmp_types),
        rule.gateway,
        rule.schedule,
    )
    return hashlib.blake2s("\n".join(content).encode(errors="surrogatepass"), digest_size=_HASH_BYTES).hexdigest()


def _joined(words: int | str | list[str] | list[int | str]) -> str:
    return ",".join(map(str, words)) if isinstance(words, list) else str(words)


def safe(text: str) -> str:
    """Any word as part of a counter's name."""
    return re.sub(r"[^a-z0-9_]", "_", text.lower())


def log_prefix(counter: str, action: str) -> str:
    """What the log of the kernel says about a packet."""
    return f"{counter}:{action}"


def counter_of_prefix(prefix: str) -> str:
    """The counter of the rule that logged a packet with this prefix."""
    return prefix.strip().partition(":")[0]
