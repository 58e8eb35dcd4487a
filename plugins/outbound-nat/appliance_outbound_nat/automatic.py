"""The rules of the modes automatic and hybrid, as an operator would have written them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from appliance_outbound_nat.config import RuleTable
from appliance_outbound_nat.scene import Scene

ISAKMP = 500


def automatic_rules(scene: Scene) -> tuple[RuleTable, ...]:
    """For each WAN: key exchange of IPsec, whose port must stay, then everything of each internal IPv4 network.

    They translate to the WAN's virtual host when there is one, so that connections survive a takeover.
    """
    return tuple(rule for wan in scene.wans for rule in _of_wan(wan, scene))


def _of_wan(wan: str, scene: Scene) -> Iterator[RuleTable]:
    host = scene.shared_host(wan, 4)
    translation = f"vip:{host.name}" if host is not None else "interface"
    networks = [(name, str(each)) for name in scene.inside for each in scene.networks(name) if each.version == 4]
    for name, network in networks:
        yield RuleTable(
            interface=wan,
            source=network,
            source_port=ISAKMP,
            destination_port=ISAKMP,
            protocol="udp",
            translation=translation,
            static_port=True,
            description=f"Auto created rule for ISAKMP - {name.upper()} to {wan.upper()}",
        )
    for name, network in networks:
        yield RuleTable(
            interface=wan,
            source=network,
            translation=translation,
            description=f"Auto created rule - {name.upper()} to {wan.upper()}",
        )
