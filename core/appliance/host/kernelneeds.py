"""Whether this kernel can do what a configuration needs, found out before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast, get_args

from appliance.errors import Problem
from appliance.net.kernel import LinkKind, Support, has_cap_net_admin, link_kind
from appliance.plugin.contributions import KernelNeed

Probe = Callable[[str], Support | None]
"""Whether devices of a kind can be made; `None`: this process may not find out."""


def probe_kernel(kind: str) -> Support | None:
    """Ask the kernel of this machine; some milliseconds, and more when it has to load a module first."""
    if kind not in get_args(LinkKind):
        return Support(
            available=False,
            why=f"{kind!r} is no kind of device that can be tried",
            fix=f"Kinds are {', '.join(get_args(LinkKind))}; tell the author of the plugin.",
        )
    return link_kind(cast(LinkKind, kind)) if has_cap_net_admin() else None


def missing(needs: Iterable[KernelNeed], probe: Probe) -> list[Problem]:
    """A problem for each need that is not met, and a warning for each that may not be tried."""
    problems: list[Problem] = []
    for need in needs:
        support = probe(need.kind)
        if support is None:
            message = f"whether {need.what_for} works here is not known: trying it takes CAP_NET_ADMIN (root)"
            problems.append(Problem(path=need.path, message=message, severity="warning"))
        elif not support:
            message = f"{need.what_for} is not possible: {support.why}. {support.fix}"
            problems.append(Problem(path=need.path, message=message))
    return problems
