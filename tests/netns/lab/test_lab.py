"""A laboratory is built, works, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from appliance.errors import RefusedError, UnreachableError
from appliance.lab import Lab, Software, Topology, netns
from appliance.lab.lab import LABS_DIR, unique_name

pytestmark = pytest.mark.netns

VARIANTS = {
    "example": {},
    "ipv4": {"ipv6": False},
    "everything": {"nodes": 3, "second_wan": True, "dmz": True, "second_switch": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_client_reaches_the_server_at_once_and_nothing_is_left_afterwards(variant: str) -> None:
    topology = Topology(name=unique_name("t"), **VARIANTS[variant])  # type: ignore[arg-type]
    with Lab(topology, software=Software.ROUTER) as lab:
        lab.exec("client", "ping", "-c", "1", "-W", "2", "198.51.100.1")
        if topology.ipv6:
            lab.exec("client", "ping", "-c", "1", "-W", "2", "2001:db8:ffff::1")
        if topology.dmz:
            lab.exec("dmzhost", "ping", "-c", "1", "-W", "2", "198.51.100.1")
        assert len(lab.namespaces()) == len((*topology.machines, *topology.switches))
        sleeper = lab.popen("server", "sleep", "60")
        running = lab.processes()
        assert sleeper.pid in running
        assert len(lab.remains(running)) == len(lab.namespaces()) + 2
    assert lab.remains(running) == ()
    sleeper.wait(timeout=5)
    assert sleeper.stdout is not None
    sleeper.stdout.close()


def test_labs_live_side_by_side_and_only_the_named_one_is_removed() -> None:
    name = unique_name("t")
    first = Lab(Topology(name=name), software=Software.ROUTER)
    # Its namespaces begin like the first one's, which must not matter.
    second = Lab(Topology(name=f"{name}-fw1"), software=Software.ROUTER)
    with second:
        with first:
            assert len(first.namespaces()) == len(second.namespaces()) == 7
        assert first.namespaces() == ()
        assert len(second.namespaces()) == 7
        second.exec("client", "ping", "-c", "1", "-W", "2", "198.51.100.1")


def test_a_lab_cannot_be_built_twice_and_the_first_is_not_harmed(lab: Lab) -> None:
    with pytest.raises(RefusedError, match="there already"):
        Lab(lab.topology).up()
    assert len(lab.namespaces()) == 7


def test_a_lab_is_opened_by_name_from_elsewhere(lab: Lab) -> None:
    other = Lab.open(lab.name)
    assert (other.topology, other.software) == (lab.topology, Software.ROUTER)
    with pytest.raises(UnreachableError, match="no lab 'nowhere'"):
        Lab.open("nowhere")


def test_a_build_that_fails_halfway_removes_what_it_had_made() -> None:
    topology = Topology(name=unique_name("t"))
    lab = Lab(topology, software=Software.ROUTER)
    in_the_way = topology.namespace("fw2")

    def occupied(plan: object) -> None:
        netns.batch("ip", None, [f"netns add {topology.namespace('client')}", f"netns add {in_the_way}"])
        netns.batch("ip", topology.namespace("client"), ["link add nonsense type nonsense"])

    lab.execute = occupied  # type: ignore[method-assign,assignment]
    with pytest.raises(Exception, match="nonsense"):
        lab.up()
    assert lab.namespaces() == ()
    assert not lab.directory.exists()


def test_down_removes_what_a_killed_builder_left() -> None:
    name = unique_name("t")
    program = (
        "import os, signal\n"
        "from appliance.lab import Lab, Software, Topology\n"
        f"lab = Lab(Topology(name={name!r}), software=Software.ROUTER, pcap=True)\n"
        "lab.up()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == -9
    lab = Lab(Topology(name=name))
    captures = [pid for namespace in lab.namespaces() for pid in netns.pids(namespace)]
    assert len(captures) == 8, "the captures outlived their builder"
    lab.down()
    assert lab.namespaces() == ()
    assert not [pid for pid in captures if netns.is_alive(pid)]
    assert not (LABS_DIR / name).exists()
    lab.down()


def test_commands_in_a_lab_know_their_node(lab: Lab) -> None:
    said = lab.exec("fw2", "sh", "-c", "echo $APPLIANCE_SOCKET $APPLIANCE_LAB").stdout.split()
    assert said == [str(lab.socket("fw2")), lab.name]


def test_a_failing_command_says_what_it_printed(lab: Lab) -> None:
    with pytest.raises(RefusedError, match="status 3") as failed:
        lab.exec("client", "sh", "-c", "echo sorry >&2; exit 3")
    assert failed.value.hint == "sorry"


def test_without_root_the_reason_is_said() -> None:
    program = (
        "import os\n"
        "from appliance.errors import KernelError\n"
        "from appliance.lab import netns\n"
        "os.setuid(65534)\n"
        "try: netns.require_tools()\n"
        "except KernelError as error: print(error.message, '|', error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert "needs root" in done.stdout, done.stderr
    assert "sudo" in done.stdout


def test_the_nodes_share_a_secret_that_nobody_else_reads(lab: Lab) -> None:
    path = lab.directory / "pfsync.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"lab = [0-9a-f]{64}\n", path.read_text())
