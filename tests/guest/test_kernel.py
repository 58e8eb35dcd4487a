"""The kernel in the virtual machine has what the appliance's images promise and a development machine may lack."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.netns

MODULES = ("bonding", "8021q", "dummy", "sch_netem", "nfnetlink_queue", "nft_queue", "macvlan")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_loaded(module: str) -> None:
    subprocess.run(["modprobe", module], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["bond", "dummy", "bridge"])
def test_the_kernel_loads_a_module_by_itself(kind: str) -> None:
    subprocess.run(["unshare", "-n", "ip", "link", "add", "name", "t0", "type", kind], check=True, timeout=60)
