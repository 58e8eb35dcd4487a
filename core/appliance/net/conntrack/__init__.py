"""The kernel's connection-tracking table over ctnetlink: events out, entries in, without waiting for anybody.

Synchronous and free of third-party packages: a call is one or a few system calls that the kernel answers before
they return. `messages` is the plain codec, one message at a time; whoever handles thousands brings a faster one
and is tested against it. Objects belong to the network namespace of the thread that made them.

Names are resolved on first use: some of them need what others must not pay for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.net.conntrack.dump import Dump as Dump
    from appliance.net.conntrack.entry import Entry as Entry
    from appliance.net.conntrack.entry import Group as Group
    from appliance.net.conntrack.entry import Malformed as Malformed
    from appliance.net.conntrack.entry import Tcp as Tcp
    from appliance.net.conntrack.entry import Tuple as Tuple
    from appliance.net.conntrack.events import EventSocket as EventSocket
    from appliance.net.conntrack.events import OverrunError as OverrunError
    from appliance.net.conntrack.node import count as count
    from appliance.net.conntrack.node import limit as limit
    from appliance.net.conntrack.node import prepare_node as prepare_node
    from appliance.net.conntrack.requests import Asker as Asker
    from appliance.net.conntrack.requests import Injector as Injector

_HOMES = {
    "Asker": "requests",
    "Dump": "dump",
    "Entry": "entry",
    "EventSocket": "events",
    "Group": "entry",
    "Injector": "requests",
    "Malformed": "entry",
    "OverrunError": "events",
    "Tcp": "entry",
    "Tuple": "entry",
    "count": "node",
    "limit": "node",
    "prepare_node": "node",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
