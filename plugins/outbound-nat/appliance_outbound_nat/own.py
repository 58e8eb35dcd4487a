"""What no rule may change: heartbeats and states are never translated, and neither is this node to a virtual host.

A node whose own packets left by a virtual host's address would get no answers while it is BACKUP: no Internet, no
name service, no updates. So its own packets are done with before any other rule is asked. They keep their source,
except when it is an address of another interface: then the WAN by which they leave gives them the node's address there.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.plugin import Rule
from appliance_outbound_nat.parts import KeyPath
from appliance_outbound_nat.scene import Scene
from appliance_outbound_nat.selectors import one_or_set
from appliance_outbound_nat.translation import is_dynamic

NEVER = Rule(text="meta l4proto { 112, 240 } accept")
"""CARP (and VRRP), pfsync."""
ORIGIN: KeyPath = ("outbound_nat", "mode")


def own_rules(scene: Scene) -> tuple[Rule, ...]:
    """The first rules of source translation."""
    texts = [text for wan in scene.wans for text in _of_wan(wan, scene)]
    return (NEVER, *(Rule(text=text, origin=ORIGIN) for text in [*texts, "fib saddr type local accept"]))


def _of_wan(wan: str, scene: Scene) -> Iterator[str]:
    leaves = f'oifname "{scene.interfaces[wan].device}"'
    if is_dynamic(wan, scene):
        yield f"{leaves} meta nfproto ipv4 fib saddr type local fib saddr . oif type != local masquerade"
        return
    own = scene.own_address(wan, 4)
    if own is not None:
        there = one_or_set(str(each) for each in scene.addresses(wan) if each.version == 4)
        yield f"{leaves} fib saddr type local ip saddr != {there} snat ip to {own}"
