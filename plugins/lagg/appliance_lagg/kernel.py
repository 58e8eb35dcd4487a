"""Carries out the operations of a plan, and reads what only text files and ioctls tell."""

from __future__ import annotations

import fcntl
import re
import socket
import struct
from array import array
from pathlib import Path
from typing import NamedTuple, assert_never

import trio

from appliance.net.rtnl import Rtnl
from appliance_lagg import plan as p

REBUILD_MAX_S = 10.0
"""A bond is never left half rebuilt, however the service ends; each step takes milliseconds."""

_SIOCETHTOOL = 0x8946
_ETHTOOL_GSET = 0x00000001
_SETTINGS = struct.Struct("=IIIHBBBBBBIIHBBI8x")  # struct ethtool_cmd, linux/ethtool.h
_IFREQ = struct.Struct("16sP16x")
_SPEED_UNKNOWN = 0xFFFFFFFF
_DUPLEX = {0: "half", 1: "full"}
# Per thread: a service may live in another network namespace than its process.
_BONDING = Path("/proc/thread-self/net/bonding")


async def execute(rtnl: Rtnl, operation: p.Operation) -> None:
    """One operation.

    Raises:
        SystemCallError: The kernel refused it.
    """
    match operation:
        case p.CreateBond(lagg=name, options=options, mtu=mtu):
            await rtnl.add_bond(name, options, mtu=mtu)
        case p.DeleteBond(index=index):
            await rtnl.delete_link(index)
        case p.MarkBond(index=index):
            await rtnl.set_link(index, alias=p.MARK)
        case p.SetOptions(index=index, options=options):
            await rtnl.set_bond(index, options)
        case p.Rebuild():
            with trio.move_on_after(REBUILD_MAX_S, shield=True):
                await _rebuild(rtnl, operation)
        case p.AddMember(index=index, member_index=member):
            await _join(rtnl, member, index)
        case p.RemoveMember(member_index=member):
            await rtnl.set_link(member, master_index=0)
        case p.SetMtu(index=index, mtu=mtu):
            await rtnl.set_link(index, mtu=mtu)
        case p.SetUp(index=index):
            await rtnl.set_link(index, up=True)
        case _:
            assert_never(operation)


async def _join(rtnl: Rtnl, member: int, index: int) -> None:
    await rtnl.set_link(member, up=False)  # the kernel takes only members that are down
    await rtnl.set_link(member, master_index=index)


async def _rebuild(rtnl: Rtnl, operation: p.Rebuild) -> None:
    await rtnl.set_link(operation.index, up=False)
    try:
        for member in operation.members:
            await rtnl.set_link(member, master_index=0)
        await rtnl.set_bond(operation.index, operation.options)
    finally:
        if operation.members:
            # Without members a bond gets a random address; neighbours know the one that it had.
            await rtnl.set_link(operation.index, mac=operation.mac)
        for member in operation.members:
            await _join(rtnl, member, operation.index)
        if operation.was_up:
            await rtnl.set_link(operation.index, up=True)


def describe(operation: p.Operation) -> str:
    """For the log: ``add eth1``."""
    match operation:
        case p.CreateBond():
            return "create"
        case p.DeleteBond():
            return "delete"
        case p.MarkBond():
            return "mark as ours"
        case p.SetOptions():
            return "set options"
        case p.Rebuild():
            return "take down, change, take up"
        case p.AddMember(member=member):
            return f"add {member}"
        case p.RemoveMember(member=member):
            return f"remove {member}"
        case p.SetMtu(device=device, mtu=mtu):
            return f"set MTU {mtu} of {device}"
        case p.SetUp():
            return "set up"
        case _:
            assert_never(operation)


class Churn(NamedTuple):
    """Whether one port keeps being out of step with its partner (IEEE 802.1AX, 6.4.17)."""

    actor: str
    """``none``, ``monitoring`` or ``churned``."""
    partner: str
    times: int
    """How often it has been declared churned, at either end."""


def churn(lagg: str) -> dict[str, Churn]:
    """By member; netlink does not tell. Empty when it cannot be read."""
    try:
        return parse_churn((_BONDING / lagg).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}


def parse_churn(text: str) -> dict[str, Churn]:
    """Of the kernel's text about one bond (drivers/net/bonding/bond_procfs.c)."""
    found: dict[str, Churn] = {}
    for block in text.split("Slave Interface: ")[1:]:
        name = block.partition("\n")[0].strip()
        states = dict(re.findall(r"^(Actor|Partner) Churn State: (\w+)$", block, re.MULTILINE))
        counts = re.findall(r"^(?:Actor|Partner) Churned Count: (\d+)$", block, re.MULTILINE)
        if states:
            found[name] = Churn(states.get("Actor", ""), states.get("Partner", ""), sum(int(each) for each in counts))
    return found


def speed(sock: socket.socket, device: str) -> tuple[int | None, str]:
    """Mbit/s and duplex of a device in the namespace of the socket; unknown without a link, or for a virtual one."""
    buffer = array("B", _SETTINGS.pack(_ETHTOOL_GSET, *(0,) * 15))
    try:
        fcntl.ioctl(sock, _SIOCETHTOOL, _IFREQ.pack(device.encode(), buffer.buffer_info()[0]))
    except OSError:
        return None, ""
    values = _SETTINGS.unpack(buffer)
    mbit = values[3] | values[12] << 16
    return (None if mbit in (0, _SPEED_UNKNOWN) else mbit), _DUPLEX.get(values[4], "")
