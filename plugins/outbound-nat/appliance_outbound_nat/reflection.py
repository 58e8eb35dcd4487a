"""Clients inside that use an address outside: their answers have to come back through this node. Pure.

The machine they reach sees an address of this cluster in its own network, the virtual host's when there is one, so
that such connections survive a takeover too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from appliance.plugin import Rule, Set
from appliance_outbound_nat.parts import INSIDE_DEVICES, Part, Reflected, address_set, inside_name
from appliance_outbound_nat.scene import FAMILY, Scene, Segment, Version, collapsed


def reflection_part(reflected: Sequence[Reflected], scene: Scene) -> Part:
    """The sets of what is inside, and the source translation of reflected connections."""
    if not reflected:
        return Part()
    devices = dict.fromkeys(device for name in scene.inside for device in scene.devices(name))
    sets = [Set(name=INSIDE_DEVICES, key="ifname", elements=tuple(f'"{device}"' for device in devices))]
    rules: list[Rule] = []
    for version in (4, 6):
        inside = [network for name in scene.inside for network in scene.networks(name) if network.version == version]
        segments = _by_segment([each for each in reflected if each.target.version == version], scene)
        if inside and segments:
            sets.append(address_set(inside_name(version), version, collapsed(inside)))
        for place, (segment, found) in enumerate(segments.items() if inside else ()):
            name = f"nat_set_reflected_v{version}_{place}"
            sets.append(address_set(name, version, collapsed(each.external for each in found)))
            rules += _hairpin(segment, name, found[0], version, scene)
    return Part(outward=tuple(rules), sets=tuple(sets))


def _by_segment(reflected: Iterable[Reflected], scene: Scene) -> dict[Segment, list[Reflected]]:
    groups: dict[Segment, list[Reflected]] = {}
    for each in reflected:
        segment = scene.segment_of(each.target.network_address)
        if segment is not None:
            groups.setdefault(segment, []).append(each)
    return groups


def _hairpin(segment: Segment, name: str, one: Reflected, version: Version, scene: Scene) -> list[Rule]:
    interface, network = segment
    address = scene.shared_address(interface, version, near=one.target.network_address)
    if address is None:
        return []
    ip = FAMILY[version]
    text = (
        f'oifname "{scene.interfaces[interface].device}" ct status dnat ct original {ip} daddr @{name} '
        f"{ip} daddr {network} {ip} saddr @{inside_name(version)} snat {ip} to {address}"
    )
    return [Rule(text=text, origin=one.origin)]
