"""What outbound traffic is translated to: the words, and the addresses they come to on this node. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config import Address
from appliance_outbound_nat.scene import BOTH, Network, Scene, Version, vip_address
from appliance_outbound_nat.selectors import (
    BadValueError,
    Range,
    known,
    parse_range,
    range_text,
    version_of,
)

POOL_MAX = 65536
"""Addresses of a pool; what is larger is a slip of the prefix length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """Where to."""

    kind: str
    """``none``, ``interface``, ``vip``, ``address`` or ``pool``."""
    name: str = ""
    """Of the virtual host, or of the interface."""
    pool: Network | Range | None = None
    families: frozenset[Version] = BOTH


def parse_translation(text: str, interface: str, scene: Scene) -> Translation:
    """What a rule's `translation` says.

    Raises:
        BadValueError: It names nothing that exists, or nothing that can stand there.
    """
    if text == "none":
        return Translation(kind="none")
    if text == "interface":
        return Translation(kind="interface", name=interface, families=_interface_families(interface, scene))
    if text.startswith("vip:"):
        name = text.removeprefix("vip:")
        host = known(name, scene.vips, "virtual host")
        families = frozenset(version for version in (4, 6) if vip_address(host, version) is not None)
        return Translation(kind="vip", name=name, families=families)
    if text in scene.aliases or text.startswith("!"):
        raise BadValueError(f'{text!r} is no address to translate to; write "vip:NAME", "interface" or an address')
    pool = parse_range(text, scene)
    size = _size(pool)
    if size > POOL_MAX:
        raise BadValueError(f"a pool has at most {POOL_MAX} addresses, {text} has {size}")
    kind = "address" if size == 1 else "pool"
    return Translation(kind=kind, pool=pool, families=frozenset({version_of(pool)}))


def _size(pool: Network | Range) -> int:
    return int(pool[1]) - int(pool[0]) + 1 if isinstance(pool, tuple) else pool.num_addresses


def _interface_families(interface: str, scene: Scene) -> frozenset[Version]:
    """Where the node has an address there; an interface without any gets its addresses from elsewhere."""
    if not scene.addresses(interface):
        return BOTH
    return frozenset(version for version in (4, 6) if scene.own_address(interface, version) is not None)


def is_dynamic(interface: str, scene: Scene) -> bool:
    """Whether only the kernel knows the addresses of an interface."""
    return not scene.addresses(interface)


def resolve(translation: Translation, version: Version, scene: Scene) -> str:
    """The address or range it comes to in a family; empty when only the kernel knows, or for none."""
    if translation.kind == "interface":
        return _text(scene.own_address(translation.name, version))
    if translation.kind == "vip":
        return _text(vip_address(scene.vips[translation.name], version))
    pool = translation.pool
    if pool is None:
        return ""
    if isinstance(pool, tuple) or pool.prefixlen == pool.max_prefixlen:
        return range_text(pool)
    return range_text((pool.network_address, pool.broadcast_address))


def _text(address: Address | None) -> str:
    return str(address) if address is not None else ""


def statement(translation: Translation, version: Version, scene: Scene, *, ports: str, randomize: bool) -> str:
    """The verdict of a rule.

    Args:
        translation: Where to.
        version: The family.
        scene: What it refers to.
        ports: A range of ports to choose from, or nothing for the client's own.
        randomize: Choose ports at random.
    """
    if translation.kind == "none":
        return "accept"
    address = resolve(translation, version, scene)
    flags = (["fully-random"] if randomize else []) + (["persistent"] if translation.kind == "pool" else [])
    if not address:
        to = f"masquerade to :{ports}" if ports else "masquerade"
    else:
        if ports and version == 6:
            address = "-".join(f"[{end}]" for end in address.split("-"))
        to = f"snat {'ip' if version == 4 else 'ip6'} to {address}" + (f":{ports}" if ports else "")
    # One client keeps one address of a pool. The kernel chooses it by a hash without a seed: all nodes choose alike.
    return " ".join([to, ",".join(flags)]).strip()
