"""The kernel in the virtual machine has what the appliance's images promise and a development machine may lack."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.netns

MODULES = ("bonding", "8021q", "dummy", "sch_netem", "nfnetlink_queue", "nft_queue", "macvlan")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_loaded(module: str) -> None:
    subprocess.run(["modprobe", module], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["bond", "dummy", "bridge"])
def test_the_kernel_loads_a_module_by_itself(kind: str) -> None:
    subprocess.run(["unshare", "-n", "ip", "link", "add", "name", "t0", "type", kind], check=True, timeout=60)


def test_a_queued_packet_can_carry_its_connection() -> None:
    """What is built only with ``CONFIG_NETFILTER_NETLINK_GLUE_CT``."""
    subprocess.run(["modprobe", "-a", "nfnetlink_queue", "nf_conntrack_netlink"], check=True, timeout=60)
    assert " ctnetlink_glue_hook\t[nf_conntrack_netlink]\n" in Path("/proc/kallsyms").read_text()


def test_a_vlan_on_a_bond_and_a_lossy_link_can_be_made() -> None:
    commands = (
        "ip link add b0 type bond mode active-backup",
        "ip link add link b0 name b0.7 type vlan id 7",
        "ip link add d0 type dummy",
        "tc qdisc add dev d0 root netem delay 10ms loss 5%",
    )
    subprocess.run(["unshare", "-n", "sh", "-ec", "\n".join(commands)], check=True, timeout=60)
