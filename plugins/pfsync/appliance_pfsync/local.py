"""Which addresses are the node's own: flows that begin or end there are not replicated."""

from __future__ import annotations

from appliance.net import fastpath
from appliance_pfsync.filters import LocalAddresses

REFRESH_S = 1.0
"""A new address is known after this time. Until then its flows are replicated, which does no harm."""


def local_addresses() -> LocalAddresses:
    """Every address of this network namespace, virtual ones of a MASTER included.

    A BACKUP does not have the virtual addresses, but no flow ends at them there either.
    """
    with fastpath.Netlink() as kernel:
        return LocalAddresses(str(each.address) for each in kernel.dump_addresses())
