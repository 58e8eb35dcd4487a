"""What carries a network: a device, several that are bundled to one, or a VLAN on either. Pure.

As people write it: ``eth0``, ``eth0+eth1``, ``eth0.20``, ``eth0+eth1.20``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from appliance.errors import UsageError

BUNDLE, VLAN = "+", "."
PROTOCOLS = ("failover", "lacp")
"""How devices are bundled: those of [lagg] that need no look at the switch's manual, or hardly any."""
VLANS = range(1, 4095)
"""IEEE 802.1Q, 9.6: 0 and 4095 are reserved."""
MEMBERS_MAX = 16
_DEVICE = re.compile(r"[^\s/:+]{1,15}")
"""IFNAMSIZ - 1 bytes."""
_TAGGED = re.compile(r"(.+)\.(\d{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One of them."""

    members: tuple[str, ...]
    """Kernel devices; more than one: they are bundled."""
    vlan: int | None = None

    def __str__(self) -> str:
        return self.base + (f"{VLAN}{self.vlan}" if self.vlan is not None else "")

    @property
    def base(self) -> str:
        """Without the VLAN."""
        return BUNDLE.join(self.members)

    @property
    def is_bundle(self) -> bool:
        """Whether several devices are one."""
        return len(self.members) > 1


def read(text: str) -> Port:
    """What a text means, whatever devices there are.

    Raises:
        UsageError: Nothing.
    """
    tagged = _TAGGED.fullmatch(text)
    base, vlan = (tagged[1], int(tagged[2])) if tagged is not None else (text, None)
    members = tuple(base.split(BUNDLE))
    wrong = next((each for each in members if not _DEVICE.fullmatch(each)), None)
    if wrong is not None:
        raise UsageError(
            f"`{wrong}` cannot be the name of a device", hint="It has 1 to 15 characters, no blank, no `/`."
        )
    if len(set(members)) < len(members) or len(members) > MEMBERS_MAX:
        raise UsageError(f"`{base}` cannot be bundled", hint=f"Name different devices, at most {MEMBERS_MAX}.")
    if vlan is not None and vlan not in VLANS:
        raise UsageError(f"{vlan} is no VLAN", hint=f"Tags go from {VLANS[0]} to {VLANS[-1]}.")
    return Port(members=members, vlan=vlan)


def port(text: str, known: Collection[str], taken: Iterable[Port], *, can_bundle: bool) -> Port:
    """What a text means on a machine that has these devices, beside what carries other networks.

    Args:
        text: As somebody wrote it.
        known: Devices of the machine; empty: any name will do.
        taken: What carries other networks.
        can_bundle: Whether the plugin that bundles is installed.

    Raises:
        UsageError: It cannot be.
    """
    found = read(text)
    if missing := [each for each in found.members if known and each not in known]:
        raise UsageError(f"this machine has no device `{missing[0]}`", hint=f"It has {', '.join(known)}.")
    if found.is_bundle and not can_bundle:
        raise UsageError("devices cannot be bundled here", hint="The plugin `lagg` is not installed.")
    for other in taken:
        shared = [each for each in found.members if each in other.members]
        if shared and found.base != other.base:
            raise UsageError(
                f"`{shared[0]}` already carries another network, as {other}",
                hint=f"A bundled device belongs to its bundle; a VLAN on all of it would be {other.base}{VLAN}20.",
            )
        if shared and found.vlan == other.vlan:
            raise UsageError(
                f"`{found}` already carries another network",
                hint=f"Each network needs a device of its own, or a VLAN: {found.base}{VLAN}20.",
            )
    return found
