"""The gate of a virtual MAC: what is written to the kernel, and in which order."""

from __future__ import annotations

import errno
import subprocess
from ipaddress import ip_interface
from typing import Any

import pytest

from appliance.errors import KernelError
from appliance_carp import datapath
from appliance_carp.datapath import DEVICE_GROUP, VirtualMac, close_leftovers, create, remove_all
from tests.unit.plugins.carp.fakes import PaperKernel

V4, V6 = ip_interface("192.168.1.1/32"), ip_interface("2001:db8:1::1/128")
MORE = ip_interface("192.168.1.9/32")


@pytest.fixture
def vmac(kernel: PaperKernel) -> VirtualMac:
    """Closed, above lan0; what was done to make it is forgotten."""
    kernel.route.plug("lan0")
    made = create(kernel, "lan0", 2, {1: "carp lan@1"})[1]
    kernel.journal.clear()
    return made


def knobs(kernel: PaperKernel, device: str = "lan0.v1") -> tuple[str, str]:
    """forwarding and disable_ipv6."""
    v4, v6 = f"net/ipv4/conf/{device}/forwarding", f"net/ipv6/conf/{device}/disable_ipv6"
    return kernel.sysctls[v4], kernel.sysctls[v6]


# --- opening and closing -----------------------------------------------------------------------------------


def test_opening_lifts_the_drop_rule_last(kernel: PaperKernel, vmac: VirtualMac) -> None:
    vmac.open(kernel, [V4, V6])
    assert kernel.journal == [
        "sysctl lan0.v1 disable_ipv6=0",
        "sysctl lan0.v1 forwarding=1",
        "address + 192.168.1.1/32 lan0.v1",
        "address + 2001:db8:1::1/128 lan0.v1",
        "lift lan0.v1",
    ]
    assert (vmac.is_open, vmac.held) == (True, (V4, V6))


def test_closing_drops_first_and_takes_ipv6_as_a_whole(kernel: PaperKernel, vmac: VirtualMac) -> None:
    vmac.open(kernel, [V4, V6])
    kernel.journal.clear()
    vmac.close(kernel)
    assert kernel.journal == [
        "drop lan0.v1",
        "sysctl lan0.v1 disable_ipv6=1",
        "sysctl lan0.v1 forwarding=0",
        "address - 192.168.1.1/32 lan0.v1",
    ]
    assert (vmac.is_open, vmac.held) == (False, ())


def test_an_address_that_is_already_there_is_no_obstacle_any_other_refusal_is(
    kernel: PaperKernel, vmac: VirtualMac
) -> None:
    kernel.route.address("lan0.v1", "192.168.1.1/32")
    vmac.open(kernel, [V4])
    vmac.close(kernel)
    kernel.journal.clear()
    kernel.route.refuse["address + 192.168.1.1"] = errno.EPERM
    with pytest.raises(KernelError, match=r"could not be added to lan0\.v1: EPERM"):
        vmac.open(kernel, [V4])
    assert "lift lan0.v1" not in kernel.journal, "half a data path is not opened"
    assert not vmac.is_open


def test_closing_goes_on_where_the_device_has_just_vanished(kernel: PaperKernel, vmac: VirtualMac) -> None:
    vmac.open(kernel, [V4])

    def gone(value: str) -> None:
        raise KernelError("no such device", hint="-")

    vmac._knobs.disable_ipv6.write = gone  # type: ignore[method-assign]
    vmac.close(kernel)
    assert not vmac.is_open
    assert kernel.filter.closed == {"lan0.v1"}


def test_changing_touches_the_difference_alone(kernel: PaperKernel, vmac: VirtualMac) -> None:
    vmac.open(kernel, [V4, V6])
    kernel.journal.clear()
    assert vmac.change(kernel, [V6, MORE]) == (MORE.ip,)
    assert kernel.journal == ["address - 192.168.1.1/32 lan0.v1", "address + 192.168.1.9/32 lan0.v1"]
    assert vmac.held == (V6, MORE)


# --- repair ------------------------------------------------------------------------------------------------


def test_what_nobody_touched_is_not_repaired(kernel: PaperKernel, vmac: VirtualMac) -> None:
    assert not vmac.repair(kernel)
    vmac.open(kernel, [V4])
    kernel.journal.clear()
    assert not vmac.repair(kernel)
    assert kernel.journal == []


@pytest.mark.parametrize("knob", ["net/ipv4/conf/lan0.v1/forwarding", "net/ipv6/conf/lan0.v1/disable_ipv6"])
@pytest.mark.parametrize("is_open", [False, True])
def test_somebody_elses_sysctl_write_is_undone(kernel: PaperKernel, vmac: VirtualMac, knob: str, is_open: bool) -> None:
    if is_open:
        vmac.open(kernel, [V4])
    right = knobs(kernel)
    kernel.sysctls[knob] = "1" if kernel.sysctls[knob] == "0" else "0"
    assert vmac.repair(kernel)
    assert knobs(kernel) == right == (("1", "0") if is_open else ("0", "1"))
    assert ("lan0.v1" in kernel.filter.closed) is not is_open
    assert not vmac.repair(kernel)


def test_an_address_that_was_removed_by_hand_comes_back(kernel: PaperKernel, vmac: VirtualMac) -> None:
    vmac.open(kernel, [V4, V6])
    kernel.route.addresses.clear()
    assert vmac.repair(kernel)
    assert {each.address for each in kernel.route.addresses} == {V4.ip, V6.ip}


# --- making and removing -----------------------------------------------------------------------------------


def test_what_is_made_is_up_closed_and_careful_with_arp(kernel: PaperKernel) -> None:
    kernel.route.plug("lan0")
    made = create(kernel, "lan0", 2, {1: "carp lan@1", 255: "carp lan@255"})
    links = {link.name: link for link in kernel.route.dump_links()}
    assert {vhid: vmac.mac for vhid, vmac in made.items()} == {1: "00:00:5e:00:01:01", 255: "00:00:5e:00:01:ff"}
    for vmac in made.values():
        link = links[vmac.device]
        assert (link.index, link.mac, link.parent_index, link.group) == (vmac.index, vmac.mac, 2, DEVICE_GROUP)
        assert link.up
        assert knobs(kernel, vmac.device) == ("0", "1")
    assert kernel.filter.closed == {"lan0.v1", "lan0.v255"}
    v4 = "net/ipv4/conf/lan0.v1"
    assert {kernel.sysctls[f"{v4}/arp_ignore"], kernel.sysctls[f"{v4}/promote_secondaries"]} == {"1"}
    assert kernel.sysctls["net/ipv6/conf/lan0.v1/accept_dad"] == "0"


def test_a_device_is_closed_before_it_is_up(kernel: PaperKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.route.plug("lan0")
    up = datapath.fastpath.link_up

    def noted(index: int) -> bytes:
        kernel.journal.append("up")
        return up(index)

    monkeypatch.setattr(datapath.fastpath, "link_up", noted)
    create(kernel, "lan0", 2, {1: "carp lan@1"})
    assert kernel.journal.index("drop lan0.v1") < kernel.journal.index("up")


def test_devices_of_an_earlier_instance_are_adopted_and_emptied(kernel: PaperKernel) -> None:
    kernel.route.plug("lan0")
    old = create(kernel, "lan0", 2, {1: "carp lan@1"})[1]
    old.open(kernel, [V4])
    kernel.journal.clear()
    new = create(kernel, "lan0", 2, {1: "carp lan@1"})[1]
    assert new.index == old.index
    assert not [line for line in kernel.journal if line.startswith("link")]
    assert "address - 192.168.1.1/32 lan0.v1" in kernel.journal
    assert kernel.filter.closed == {"lan0.v1"}


def test_a_device_of_that_name_which_is_something_else_is_replaced(kernel: PaperKernel) -> None:
    kernel.route.plug("lan0")
    old = create(kernel, "lan0", 2, {1: "carp lan@1"})[1]
    kernel.route.links[old.index] = kernel.route.links[old.index]._replace(parent_index=99)
    kernel.journal.clear()
    new = create(kernel, "lan0", 2, {1: "carp lan@1"})[1]
    assert kernel.journal[:2] == ["link - lan0.v1", "link + lan0.v1"]
    assert new.index != old.index


def test_what_the_kernel_refuses_to_make_is_an_error_that_names_it(kernel: PaperKernel) -> None:
    kernel.route.plug("lan0")
    kernel.route.refuse["link + lan0.v1"] = errno.EOPNOTSUPP
    with pytest.raises(KernelError, match="refused"):
        create(kernel, "lan0", 2, {1: "carp lan@1"})


def test_leftovers_go_and_nobody_elses_device_does(kernel: PaperKernel) -> None:
    kernel.route.plug("lan0")
    create(kernel, "lan0", 2, {1: "a", 2: "b", 3: "c"})
    foreign = kernel.route.links[max(kernel.route.links)]
    kernel.route.links[foreign.index] = foreign._replace(group=0)
    close_leftovers(kernel, ["lan0.v1"])
    assert {link.name for link in kernel.route.dump_links()} == {"lan0", "lan0.v1", "lan0.v3"}
    remove_all(kernel)
    assert {link.name for link in kernel.route.dump_links()} == {"lan0", "lan0.v3"}


def test_a_removed_device_leaves_no_name_in_the_set_and_no_open_file(kernel: PaperKernel, vmac: VirtualMac) -> None:
    vmac.open(kernel, [V4])
    vmac.remove(kernel)
    assert (kernel.filter.closed, {link.name for link in kernel.route.dump_links()}) == (set(), {"lan0"})
    assert not vmac._knobs.forwarding.open  # type: ignore[attr-defined]
    assert not vmac._knobs.disable_ipv6.open  # type: ignore[attr-defined]


# --- the drop rule -----------------------------------------------------------------------------------------


class Nft:
    """The command, with the fate it is to have."""

    def __init__(self, fate: Exception | None = None) -> None:
        self.fate = fate
        self.rules: list[str] = []

    def __call__(self, argv: list[str], **how: Any) -> None:
        assert argv[0] == "nft"
        assert how["timeout"]
        self.rules.append(how.get("input", " ".join(argv)))
        if self.fate is not None:
            raise self.fate


def test_a_flushed_ruleset_is_restored_and_only_backups_are_closed_again(
    kernel: PaperKernel, vmac: VirtualMac, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft = Nft()
    monkeypatch.setattr(subprocess, "run", nft)
    other = create(kernel, "lan0", 2, {2: "carp lan@2"})[2]
    other.open(kernel, [V4])
    assert not datapath.restore_drop_rule(kernel, [vmac, other])
    assert nft.rules == []
    kernel.filter.there = False
    kernel.filter.closed.clear()
    assert datapath.restore_drop_rule(kernel, [vmac, other])
    (rules,) = nft.rules
    assert "iifname @closed counter drop" in rules
    assert kernel.filter.closed == {"lan0.v1"}


@pytest.mark.parametrize(
    ("fate", "message"),
    [
        (FileNotFoundError("nft"), "nft is not installed"),
        (subprocess.CalledProcessError(1, "nft", stderr="Operation not permitted"), "Operation not permitted"),
    ],
)
def test_without_the_drop_rule_the_service_does_not_start(
    monkeypatch: pytest.MonkeyPatch, fate: Exception, message: str
) -> None:
    monkeypatch.setattr(subprocess, "run", Nft(fate))
    with pytest.raises(KernelError, match=message) as caught:
        datapath.install_drop_rule()
    assert caught.value.hint


def test_addresses_keep_the_prefix_length_they_were_placed_with(kernel: PaperKernel, vmac: VirtualMac) -> None:
    vmac.open(kernel, [ip_interface("10.9.0.1/24"), ip_interface("fe80::1/64")])
    assert [line for line in kernel.journal if line.startswith("address")] == [
        "address + 10.9.0.1/24 lan0.v1",
        "address + fe80::1/64 lan0.v1",
    ]


def test_two_gates_do_not_touch_each_other(kernel: PaperKernel, vmac: VirtualMac) -> None:
    other = create(kernel, "lan0", 2, {2: "carp lan@2"})[2]
    kernel.journal.clear()
    vmac.open(kernel, [V4])
    assert all(line.endswith(("lan0.v1", "=0", "=1")) and "v2" not in line for line in kernel.journal)
    assert (other.is_open, "lan0.v2" in kernel.filter.closed) == (False, True)
