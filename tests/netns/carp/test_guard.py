"""The guard on a real device: whatever the forked copy knew, no address and no open gate outlives its ward."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.netns

SCRIPT = """
import os, subprocess, sys, time
from ipaddress import ip_interface
from pathlib import Path
from appliance.net import fastpath
from appliance_carp import datapath, guard
from appliance_carp.ledger import Ledger

def ip(line):
    return subprocess.run(["ip", *line.split()], check=True, capture_output=True, text=True).stdout

ip("link add lan0 type veth peer name far")
ip("link set far up")
ip("link set lan0 up")
kernel = datapath.Kernel()
datapath.install_drop_rule()
index = next(link.index for link in kernel.route.dump_links() if link.name == "lan0")
vmac = datapath.create(kernel, "lan0", index, {1: "carp lan@1"})[1]
placed = (ip_interface("192.168.1.1/32"), ip_interface("10.20.0.1/16"), ip_interface("2001:db8::1/128"))
said = os.pipe()

def bow_out(sequence):
    return [lambda: os.write(said[1], f"{sequence} ".encode())]

ledger = Ledger()
ledger.beat(time.monotonic())
ward = guard.Ward(slot=0, vmac=vmac, addresses=placed, bow_out=bow_out)
started = guard.start(ledger, [ward], ["lan0"], [*vmac.filenos(), said[1]])
# Only now MASTER: the guard's copy of the device does not know.
vmac.open(kernel, placed)
ledger.record(0, master=True)
ledger.stamp(0, 41)
assert ip("-o addr show dev lan0.v1 scope global").count("inet") == 3
began = time.monotonic()
started.abandon()
os.waitpid(started.pid, 0)
took_ms = (time.monotonic() - began) * 1000
assert ip("-o addr show dev lan0.v1") == "", ip("-o addr show dev lan0.v1")
assert Path("/proc/sys/net/ipv4/conf/lan0.v1/forwarding").read_text().strip() == "0"
assert "lan0.v1" in subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
assert os.read(said[0], 100) == b"42 43 ", "two bow-outs, newer than the last advert"
print(took_ms)
"""


def test_a_guard_that_was_forked_as_backup_takes_a_masters_addresses_away() -> None:
    argv = ["unshare", "--net", "--mount-proc", "--fork", "--pid", sys.executable, "-c", SCRIPT]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 500, "20 ms of hold time, and a busy machine"
