"""What this process and this kernel can do, found out by trying where nothing can break.

Kinds of devices are created in a network namespace of their own that vanishes at once. That also loads a
missing module exactly as the real creation would, so the answer is about the real thing.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.errors import KernelError
from appliance.net.fastpath import Netlink, SystemCallError
from appliance.net.namespace import in_namespace, new_namespace
from appliance.net.rtmessages import new_link, new_macvlan, new_veth, new_vlan

CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_NICE, CAP_IPC_LOCK = 12, 13, 23, 14

LinkKind = Literal["macvlan", "vlan", "bond", "bridge", "dummy", "veth"]

_MODULES = {"vlan": "8021q", "bond": "bonding"}
_OPTIONS = {
    "macvlan": "CONFIG_MACVLAN",
    "vlan": "CONFIG_VLAN_8021Q",
    "bond": "CONFIG_BONDING",
    "bridge": "CONFIG_BRIDGE",
    "dummy": "CONFIG_DUMMY",
    "veth": "CONFIG_VETH",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Whether something is available and, if not, why and what to do."""

    available: bool
    why: str = ""
    fix: str = ""

    def __bool__(self) -> bool:
        return self.available

    def require(self, what_for: str) -> None:
        """Raise when it is not available.

        Raises:
            KernelError: "``what_for`` is not possible: why", with the fix as hint.
        """
        if not self.available:
            raise KernelError(f"{what_for} is not possible: {self.why}", hint=self.fix)


def has_capability(capability: int) -> bool:
    """Whether this process has a capability in effect."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def has_cap_net_admin() -> bool:
    """Whether this process may configure the network."""
    return has_capability(CAP_NET_ADMIN)


def net_admin() -> Support:
    """Whether this process may configure the network, with what to do if not."""
    if has_cap_net_admin():
        return Support(available=True)
    return Support(
        available=False,
        why=f"the process (user {os.geteuid()}) lacks CAP_NET_ADMIN",
        fix="Run as root, give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW, "
        "or try it in a lab: `appliance lab up`.",
    )


def link_kind(kind: LinkKind) -> Support:
    """Whether the kernel can make devices of this kind. Takes some milliseconds, changes nothing."""
    admin = net_admin()
    if not admin:
        return admin
    try:
        code = _try_in_namespace(kind)
    except SystemCallError as error:
        return Support(available=False, why=error.message, fix=error.hint)
    if code == 0:
        return Support(available=True)
    if code == errno.EOPNOTSUPP:
        module = _MODULES.get(kind, kind)
        return Support(
            available=False,
            why=f"this kernel ({os.uname().release}) has no {kind} devices",
            fix=f"Load the module (`modprobe {module}`) or use a kernel with {_OPTIONS[kind]}.",
        )
    return Support(
        available=False,
        why=f"creating a {kind} device failed: {os.strerror(code)}",
        fix="See `dmesg` for the kernel's reason.",
    )


def _try_in_namespace(kind: LinkKind) -> int:
    """The errno of creating one device, in a namespace that is gone afterwards."""
    namespace = new_namespace()
    try:
        return in_namespace(namespace, lambda: _try_link(kind))
    finally:
        os.close(namespace)


def _try_link(kind: LinkKind) -> int:
    with Netlink() as netlink:
        if kind in ("macvlan", "vlan", "veth"):
            code = netlink.batch([new_veth("parent0", "peer0")])[0]
            if code or kind == "veth":
                return code
            parent = next(link.index for link in netlink.dump_links() if link.name == "parent0")
            made = new_vlan("try0", parent, 2) if kind == "vlan" else new_macvlan("try0", parent, "02:00:00:00:00:01")
            return netlink.batch([made])[0]
        return netlink.batch([new_link("try0", kind)])[0]
