"""pyroute2's encoders of routing messages, without the rest of pyroute2.

Its package imports everything it has (a database of the network, its sockets on asyncio, ethtool …): 230 modules and
a tenth of the time in which a node starts. Whoever asks the package itself for something still gets all of it.
"""

from __future__ import annotations

import importlib.util
import sys


def _postpone(name: str) -> None:
    """Let the submodules of a package be imported as if it were empty; it is only run when it is asked for a name."""
    spec = importlib.util.find_spec(name)
    if name in sys.modules or spec is None or spec.loader is None:
        return
    package, loader = importlib.util.module_from_spec(spec), spec.loader

    def run(attribute: str) -> object:
        if importlib.util.find_spec(f"{name}.{attribute}") is not None:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")  # the import system then imports it
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = run
    sys.modules[name] = package


_postpone("pyroute2")

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg as ifaddrmsg  # noqa: E402 - not before `_postpone`
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg as ifinfmsg  # noqa: E402
from pyroute2.netlink.rtnl.ndmsg import ndmsg as ndmsg  # noqa: E402
from pyroute2.netlink.rtnl.rtmsg import rtmsg as rtmsg  # noqa: E402
