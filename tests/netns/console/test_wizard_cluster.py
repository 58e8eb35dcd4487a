"""The two files of the wizard become a cluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.console.commands.wizard import wizard
from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.lab import unique_name
from appliance.lab.pairing import in_sync, introduce
from appliance.lab.waiting import is_all, wait_until

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ANSWERS = """
[network.wan]
device = "wan0"
gateway = "198.51.100.1"

[network.lan]
device = "lan0"

[network.sync]
device = "sync0"
"""
FIND = """
import os
from appliance.console.wizard.links import find_plugged

nobody, _ = os.pipe()
find_plugged("wan", os.fdopen(nobody), lambda text: print(text, flush=True))
"""
UP = """
from appliance.console.wizard.links import all_up, devices

def show():
    print(*((each.name, each.is_up) for each in devices() if each.name == "x0").__next__())

show()
with all_up():
    show()
show()
"""
LISTEN = """
import socket, threading, time
from appliance.console.wizard import adverts
from appliance.console.wizard.ports import Port

listening = adverts.Listening(Port(members=("x0",)), is_down=["x0"])
tagged = adverts.Listening(Port(members=("x0",), vlan=20), is_down=["x0"])
other = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
other.bind(("x1", 0))

def advert(vhid, tag=b""):
    payload = bytes((0x21, vhid, 100, 7, 0, 1)) + bytes(30)
    addresses = socket.inet_aton("192.0.2.9") + socket.inet_aton("224.0.0.18")
    header = bytes((0x45, 0, 0, 20 + len(payload), 0, 0, 0, 0, 255, 112, 0, 0)) + addresses
    return bytes.fromhex("01005e00001200005e000107") + tag + bytes((8, 0)) + header + payload

def speak():
    while True:
        other.send(advert(7))
        other.send(advert(8, bytes((0x81, 0, 0, 20))))
        time.sleep(0.3)

threading.Thread(target=speak, daemon=True).start()
print(listening(), tagged())
print(adverts.Listening(Port(members=("x9",)))())
"""
MENU = """
import io, os, sys
from functools import partial
from appliance.console.menu.menu import Menu
from appliance.console.shell import node
from appliance.console.wizard.askers import Terminal

asker = Terminal(io.StringIO("0\\n"), sys.stdout)
Menu(asker=asker, run=print, data=partial(node.data, os.environ["APPLIANCE_SOCKET"])).loop()
"""
SETTLE_S = 40.0
"""Far more than it takes on a machine that is busy."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose nodes run what the wizard wrote, paired as it says."""
    folder = tmp_path_factory.mktemp("wizard")
    (folder / "answers.toml").write_text(ANSWERS)
    made = wizard(config=str(folder / "none"), answers=str(folder / "answers.toml"), output=str(folder), dry_run=False)
    settings = {name: NodeSettings(text=Path(path).read_text()) for name, path in made["files"].items()}
    with Lab(Topology(name=unique_name("w")), settings=settings) as lab:
        lab.wait_for(lambda seen: seen.keys() >= settings.keys(), "both nodes answer", SETTLE_S)
        introduce(lab, "fw2")
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        yield lab


def test_the_primary_becomes_master_with_the_passwords_of_the_pairing(cluster: Lab) -> None:
    shown = cluster.wait_settled("fw1")
    vips = shown["fw1"]["vips"]
    assert isinstance(vips, list)
    assert {(vip["name"], vip["vhid"], *vip["addresses"]) for vip in vips} == {
        ("wan", 200, "198.51.100.200/24"),
        ("lan", 1, "192.168.1.1/24"),
    }
    wait_until(lambda: in_sync(cluster), "fw2 has the configuration of fw1", SETTLE_S)


def test_the_secondary_takes_over_and_clients_go_on(cluster: Lab) -> None:
    cluster.request("fw1", "ha", "maintenance", "on")
    cluster.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 took over")
    with cluster.probe("udp", seconds=0.5) as probe:
        assert probe.result().survived


def test_the_menu_of_a_node_shows_its_role_and_interfaces(cluster: Lab) -> None:
    shown = cluster.exec("fw2", sys.executable, "-c", MENU).stdout
    assert ": fw2 is MASTER of all 2 virtual hosts" in shown
    assert "  wan   wan0 up           198.51.100.202/24" in shown


def test_a_cable_that_is_plugged_in_names_its_device(cluster: Lab) -> None:
    cluster.pull("fw2", "wan")
    looking = cluster.popen("fw2", sys.executable, "-c", FIND)
    try:
        assert looking.stdout is not None
        assert "Plug in the cable of wan" in looking.stdout.readline()
        cluster.plug("fw2", "wan")
        assert looking.stdout.readline() == "wan is wan0.\n"
        assert looking.wait(SETTLE_S) == 0
    finally:
        looking.kill()
        looking.wait()
        if looking.stdout is not None:
            looking.stdout.close()


def test_who_speaks_on_a_network_is_heard_without_its_vlans_and_on_them() -> None:
    links = "ip link add x0 type veth peer name x1 && ip link set x1 up"
    lines = subprocess.run(
        ["unshare", "-n", "sh", "-c", f'{links} && exec {sys.executable} -c "$0"', LISTEN],
        capture_output=True,
        text=True,
        check=True,
        timeout=SETTLE_S,
    ).stdout.splitlines()
    assert lines == ["{7: '192.0.2.9'} {8: '192.0.2.9'}", "{}"]


def test_looking_for_a_cable_sets_devices_up_and_down_again() -> None:
    lines = subprocess.run(
        ["unshare", "-n", "sh", "-c", f"ip link add x0 type veth peer name x1 && exec {sys.executable} -c '{UP}'"],
        capture_output=True,
        text=True,
        check=True,
        timeout=SETTLE_S,
    ).stdout.splitlines()
    assert lines == ["x0 False", "x0 True", "x0 False"]
