"""A rule as a sentence, in the words of the configuration. Pure."""

from __future__ import annotations

from appliance_firewall.config import RuleTable, items
from appliance_firewall.resolve import ANY


def rule_text(rule: RuleTable) -> str:
    """``pass in on lan tcp from net:lan to any port 443``."""
    kinds = f" {', '.join(rule.icmp_types)}" if rule.icmp_types else ""
    family = f" {rule.family}" if rule.family != ANY else ""
    protocol = f" {rule.protocol}{kinds}" if rule.protocol != ANY else ""
    source = f"from {_listed(rule.source)}{_port(rule.source_port)}"
    destination = f"to {_listed(rule.destination)}{_port(rule.destination_port)}"
    gateway = f" by gateway {rule.gateway}" if rule.gateway else ""
    schedule = f" during {rule.schedule}" if rule.schedule else ""
    log = " log" if rule.log else ""
    where = _listed(rule.interface)
    return f"{rule.action} {rule.direction} on {where}{family}{protocol} {source} {destination}{gateway}{schedule}{log}"


def _listed(words: int | str | list[str] | list[int | str]) -> str:
    return ", ".join(items(words)) if isinstance(words, list) else str(words)


def _port(words: int | str | list[int | str]) -> str:
    text = _listed(words)
    return "" if text == ANY else f" port {text}"
