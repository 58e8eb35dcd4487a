"""What replication needs of nftables: tracking that is on, translation that works, and own traffic left out of both.

- An empty NAT chain: without one the kernel translates nothing, whatever its states say, so a standby without NAT
  rules of its own would take over connections and break them.
- One rule that asks for the state of forwarded packets: that is what makes the kernel track connections at all. It
  counts those without a valid state and lets them pass; what happens to them is the firewall's to say.
- Heartbeats and states themselves are not tracked.
"""

from __future__ import annotations

from appliance.net import nft
from appliance.net.nftset import NetfilterSocket

TABLE = "appliance_pfsync"
OWN_PROTOCOLS = "own_protocols"
"""CARP (and VRRP) and pfsync."""
Statement = dict[str, object]
_FAMILY = {"family": "inet", "table": TABLE}
_RAW, _SRCNAT, _FILTER = -300, 100, 0


async def load() -> None:
    """Load the rules, or load them anew; other chains of the table stay.

    Raises:
        KernelError: nft is missing or refused; nothing has been changed.
    """
    own: Statement = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": f"@{OWN_PROTOCOLS}"}}
    invalid: Statement = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}
    await nft.apply({
        "nftables": [
            {"add": {"table": {"family": "inet", "name": TABLE}}},
            {"add": {"set": {**_FAMILY, "name": OWN_PROTOCOLS, "type": "inet_proto", "elem": [112, 240]}}},
            *_chain("translated", "nat", "postrouting", _SRCNAT, []),
            *_chain("untracked_in", "filter", "prerouting", _RAW, [own, {"notrack": None}]),
            *_chain("untracked_out", "filter", "output", _RAW, [own, {"notrack": None}]),
            *_chain("tracked", "filter", "forward", _FILTER, [invalid, {"counter": {"packets": 0, "bytes": 0}}]),
        ]
    })  # fmt: skip


def is_loaded(filters: NetfilterSocket) -> bool:
    """Whether the rules are there; somebody's ``flush ruleset`` takes them away."""
    return filters.has_set(TABLE, OWN_PROTOCOLS)


def _chain(name: str, kind: str, hook: str, priority: int, rule: list[Statement]) -> list[Statement]:
    """The chain with this one rule and no other."""
    chain = {**_FAMILY, "name": name}
    base = {**chain, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}
    rules: list[Statement] = [{"add": {"rule": {**_FAMILY, "chain": name, "expr": rule}}}] if rule else []
    return [{"add": {"chain": base}}, {"flush": {"chain": chain}}, *rules]
