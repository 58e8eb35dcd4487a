"""Capability probes against this kernel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from appliance.errors import KernelError
from appliance.net import kernel

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]


@pytest.mark.parametrize("kind", ["macvlan", "vlan", "bond", "bridge", "dummy", "veth"])
def test_a_probe_agrees_with_ip(inside: Inside, kind: kernel.LinkKind) -> None:
    def ip(*arguments: str) -> bool:
        return (
            subprocess.run(["ip", "link", "add", *arguments], capture_output=True, timeout=10, check=False).returncode
            == 0
        )

    def really() -> bool:
        assert ip("p0", "type", "veth", "peer", "name", "p1")
        extra = {"vlan": ["id", "2"]}.get(kind, [])
        parent = ["link", "p0"] if kind in ("vlan", "macvlan") else []
        return ip(*parent, "name", "t0", "type", kind, *extra)

    support = kernel.link_kind(kind)
    assert support.available == inside(really)
    if support:
        support.require(f"a {kind}")
    else:
        assert kind in support.why
        with pytest.raises(KernelError, match=f"a {kind} is not possible: this kernel") as caught:
            support.require(f"a {kind}")
        assert "CONFIG_" in caught.value.hint


def test_root_may_configure_the_network() -> None:
    assert kernel.has_cap_net_admin()
    assert kernel.has_capability(kernel.CAP_NET_RAW)
    assert kernel.net_admin()


def test_without_the_capability_the_reason_and_the_remedy_are_told() -> None:
    code = "from appliance.net import kernel; s = kernel.link_kind('macvlan'); print(s.available, s.why, '|', s.fix)"
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups", sys.executable]
    done = subprocess.run([*command, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("False the process (user 65534) lacks CAP_NET_ADMIN | ")
    assert "AmbientCapabilities=CAP_NET_ADMIN" in done.stdout
