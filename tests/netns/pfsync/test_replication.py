"""What operators see and do: states on both nodes, their commands, keys, and a replicator that falls behind."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.lab import Lab, Topology, netns
from appliance.lab.config import NodeSettings, key_path
from appliance.lab.lab import unique_name
from appliance.lab.waiting import LabTimeoutError, wait_until
from appliance_pfsync.native.header import DATA, HELLO
from tests.netns.pfsync import flows, natrules
from tests.netns.pfsync.connections import answers, idle_connection, opened, pfsync, replicated

pytestmark = pytest.mark.netns

NODES = ("fw1", "fw2")
COUNT = 500
PACE = 5000
"""Flows a second: all at once, some packets find no room on a machine that does much else."""
AUDIT_S = 5
SOON_S = 20.0


def said(lab: Lab, node: str, *argv: str) -> str:
    done = lab.exec(node, "appliance", *argv, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.strip()


def states(lab: Lab, node: str, *words: str) -> list[dict[str, Any]]:
    return list(lab.request(node, "show", "states", *words)["states"])


def wait_replicated(lab: Lab, node: str, count: int) -> None:
    try:
        wait_until(lambda: replicated(lab, node) == count, f"{node} has {count} replicated states", SOON_S)
    except LabTimeoutError as error:
        shown = "\n".join(said(lab, each, "show", "states", "--limit", "20") for each in NODES)
        raise AssertionError(f"{error}\n{shown}\n{pfsync(lab, node)}") from error


def alarms(lab: Lab, node: str) -> dict[str, str]:
    shown = json.loads(said(lab, node, "show", "alarms", "--json"))
    return {each["key"]: each["what"] for each in shown}


def is_answering(lab: Lab, node: str) -> bool:
    try:
        return bool(pfsync(lab, node)["peer"])
    except ApplianceError:  # being started
        return False


@pytest.fixture
def empty(cluster: Lab) -> Lab:
    """The cluster without replicated states."""
    flows.sink(cluster)
    said(cluster, "fw1", "states", "flush")
    for node in NODES:
        wait_replicated(cluster, node, 0)
    return cluster


def test_a_connection_is_on_both_nodes_with_its_translation(empty: Lab) -> None:
    with idle_connection(empty) as connection:
        port = connection.getsockname()[1]
        wait_replicated(empty, "fw2", 1)
        (there,), (here,) = states(empty, "fw2", f":{port}"), states(empty, "fw1", f":{port}")
        for row in (here, there):
            assert (row["proto"], row["state"]) == ("tcp", "ESTABLISHED")
            assert row["orig"] == {"src": natrules.CLIENT4, "sport": port, "dst": natrules.SERVER4, "dport": 7002}
            assert row["reply"]["dst"] == natrules.VIP4
    with idle_connection(empty):
        pass
    # Once closed, both say so.
    wait_until(lambda: {row["state"] for row in states(empty, "fw2", "tcp")} == {"TIME_WAIT"}, "closed", SOON_S)


def test_what_ends_at_a_node_itself_stays_there(empty: Lab) -> None:
    for address in ("192.168.1.2", "192.168.1.1"):  # fw1's own, and the virtual one it holds
        assert empty.exec("client", "ping", "-c1", "-W2", address).returncode == 0
    empty.exec("fw1", "ping", "-c1", "-W2", natrules.SERVER4)
    flows.run(empty, "udp", 10)
    wait_replicated(empty, "fw2", 10)
    assert states(empty, "fw1", "icmp"), "they exist"
    assert states(empty, "fw2", "icmp") == []


def documented(words: str) -> dict[str, Any]:
    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    found = re.search(rf"^```json {words}\n(.*?)^```", text, re.M | re.S)
    assert found
    shape: dict[str, Any] = json.loads(found[1])
    return shape


def test_what_is_documented_is_what_is_printed(empty: Lab) -> None:
    with idle_connection(empty):
        wait_replicated(empty, "fw2", 1)
        shown, wanted = pfsync(empty, "fw1"), documented("show pfsync")
        assert shown.keys() == wanted.keys()
        assert shown["peers"][0].keys() == wanted["peers"][0].keys()
        assert shown["audit"].keys() == wanted["audit"].keys()
        (row,), (example,) = states(empty, "fw1", "tcp"), documented("show states")["states"]
        assert row.keys() == example.keys()
        assert row["orig"].keys() == example["orig"].keys()
        assert empty.request("fw1", "states", "count").keys() == documented("states count").keys()


def test_the_second_node_says_how_far_it_is(empty: Lab) -> None:
    flows.run(empty, "udp", COUNT, rate=PACE)
    wait_replicated(empty, "fw2", COUNT)
    shown = pfsync(empty, "fw1")
    assert (shown["peer"], shown["version"], shown["secured"], shown["bulk"]) == ("fw2", "native", True, "done")
    assert shown["active"] is True
    assert 0 < shown["lag_ms"] < 1000
    assert pfsync(empty, "fw2")["active"] is False
    assert "authenticated and encrypted" in said(empty, "fw2", "show", "pfsync")


def test_datagrams_fit_a_sync_interface_with_a_small_mtu() -> None:
    with Lab(Topology(name=unique_name("p")), settings=NodeSettings(pfsync={})) as lab:
        lab.wait_settled("fw1")
        for node in NODES:
            natrules.load(lab, node)
            lab.stop(node)
            lab.exec(node, "ip", "link", "set", "sync0", "mtu", "1280")
            lab.start(node)
        lab.wait_settled("fw1")
        flows.sink(lab)
        flows.run(lab, "udp", COUNT, rate=PACE)
        wait_replicated(lab, "fw2", COUNT)  # many to a datagram
        lab.stop("fw2")
        lab.exec("fw2", "conntrack", "-F", check=False)
        lab.start("fw2")
        wait_replicated(lab, "fw2", COUNT)  # and a bulk update
        for node in NODES:
            assert pfsync(lab, node)["counters"].get("oerrors", 0) == 0


def test_killed_and_flushed_states_are_gone_on_both_nodes(empty: Lab) -> None:
    flows.run(empty, "udp", COUNT, rate=PACE)
    with idle_connection(empty) as connection:
        wait_replicated(empty, "fw2", COUNT + 1)
        assert said(empty, "fw1", "states", "kill", "udp") == f"{COUNT} states removed here and on the peers"
        for node in NODES:
            wait_replicated(empty, node, 1)
        assert answers(connection), "it was not meant"
        said(empty, "fw2", "states", "flush")
        for node in NODES:
            wait_replicated(empty, node, 0)


def test_a_replicator_that_was_dead_catches_up_on_either_node(empty: Lab) -> None:
    done = 0
    for node in NODES:
        empty.kill(node, "replicator")
        flows.run(empty, "udp", COUNT, first=done)
        done += COUNT
        wait_until(lambda node=node: is_answering(empty, node), f"{node} replicates", SOON_S)  # type: ignore[misc]
        for each in NODES:
            wait_replicated(empty, each, done)


def test_resync_brings_back_what_a_node_has_lost(empty: Lab) -> None:
    flows.run(empty, "udp", COUNT, rate=PACE)
    wait_replicated(empty, "fw2", COUNT)
    with stopped(empty, "fw2"):
        empty.exec("fw2", "conntrack", "-F")
        assert natrules.entries(empty, "fw2") < COUNT
        # What others delete by a command is meant, and replicated. Here nobody reads what happened.
        empty.kill("fw2", "replicator")
    wait_until(lambda: is_answering(empty, "fw2"), "fw2 replicates", SOON_S)
    wait_replicated(empty, "fw2", COUNT)
    assert "asked for all states" in said(empty, "fw2", "states", "resync")
    wait_until(lambda: pfsync(empty, "fw2")["bulk"] == "done", "the bulk update has come", SOON_S)
    assert replicated(empty, "fw1") == replicated(empty, "fw2") == COUNT


def replicator(lab: Lab, node: str) -> int:
    (pid,) = [pid for pid in netns.pids(lab.topology.namespace(node)) if "replicator" in netns.title(pid)]
    return pid


@contextmanager
def stopped(lab: Lab, node: str) -> Iterator[None]:
    """The replicator of a node stands still."""
    pid = replicator(lab, node)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # the test may have killed it
            os.kill(pid, signal.SIGCONT)


def test_keys_are_changed_under_traffic_without_a_loss(empty: Lab) -> None:
    path = key_path(empty.topology)
    old = path.read_text().strip()
    new = f"next = {secrets.token_hex(32)}"
    try:
        with opened(empty) as connections:
            for text in (f"{old}\n{new}\n", f"{new}\n{old}\n", f"{new}\n"):
                path.write_text(text)
                flows.run(empty, "udp", COUNT, rate=COUNT / 2)  # two looks at the file
            wait_until(lambda: replicated(empty, "fw1") == replicated(empty, "fw2"), "both have all", SOON_S)
            empty.exec("fw1", "appliance", "ha", "switchover")
            connections.stop()
        assert connections.lost == []
        for node in NODES:
            assert all(peer["losses"] == 0 and peer["alive"] for peer in pfsync(empty, node)["peers"])
            assert not [name for name in alarms(empty, node) if name.startswith("pfsync/")]
    finally:
        path.write_text(f"{new}\n{old}\n")
        empty.exec("fw2", "appliance", "ha", "switchover", check=False)


def test_whatever_else_arrives_changes_nothing_and_is_counted(empty: Lab) -> None:
    """Somebody on the sync network, who may even take the address of the other node."""
    node, peer = empty.topology.namespace("fw2"), empty.topology.namespace("fw1")
    with ThreadPoolExecutor(1) as pool:
        capture = pool.submit(captured_datagrams, node)
        flows.run(empty, "udp", COUNT, rate=COUNT / 2)
        captured = capture.result()
    wait_replicated(empty, "fw2", COUNT)
    before = pfsync(empty, "fw2")["counters"]
    # With a counter that has not been seen: the others are refused as replayed before anybody decrypts them.
    forged = [each[:8] + bytes((0, 1)) + each[10:] for each in captured if each[1] == DATA]
    clear_all = struct.pack("!BBH16s", 5, 0, 48, bytes(16)) + struct.pack("!BBH", 0, 0, 1) + bytes(24)
    send_datagrams(peer, [*captured, *forged, *(each[:20] for each in captured), clear_all, b"", b"N", bytes(9000)])
    wanted = {"badver", "forged", "malformed", "replayed"}
    wait_until(
        lambda: all(pfsync(empty, "fw2")["counters"].get(name, 0) > before.get(name, 0) for name in wanted),
        f"all of {wanted} are counted",
        SOON_S,
    )
    assert replicated(empty, "fw2") == COUNT
    with idle_connection(empty):
        wait_replicated(empty, "fw2", COUNT + 1)
    assert pfsync(empty, "fw2")["peers"][0]["alive"]


def captured_datagrams(namespace: str) -> list[bytes]:
    """What the peer sends: hellos, once a second, and states."""

    def listen() -> list[bytes]:
        found: list[bytes] = []
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 240) as wire:
            wire.settimeout(SOON_S)
            while {each[1] for each in found} < {HELLO, DATA}:
                found.append(wire.recv(65535)[20:])
        return found[-20:]

    return netns.inside(namespace, listen)


def send_datagrams(namespace: str, datagrams: list[bytes]) -> None:
    """As the peer would, from its own namespace."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 240) as wire:
            wire.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
            for datagram in datagrams:
                wire.sendto(datagram, ("172.16.1.3", 0))

    netns.inside(namespace, send)


def test_another_key_is_refused_in_words_and_carp_goes_on() -> None:
    topology = Topology(name=unique_name("p"))
    other = key_path(topology).with_name("other.key")
    settings = {"fw1": NodeSettings(pfsync={}), "fw2": NodeSettings(pfsync={"key_file": str(other)})}
    with Lab(topology, settings=settings) as lab:
        lab.wait_settled("fw1")
        wait_until(lambda: "pfsync/key" in alarms(lab, "fw2"), "fw2 says that it has no key", SOON_S)
        said(lab, "fw2", "pfsync", "key", str(other))
        wait_until(lambda: "pfsync/key" not in alarms(lab, "fw2"), "fw2 has a key", SOON_S)
        for node, peer in (("fw1", "fw2"), ("fw2", "fw1")):
            name = f"pfsync/refused/{peer}"
            wait_until(lambda node=node, name=name: name in alarms(lab, node), f"{node} refuses", SOON_S)  # type: ignore[misc]
            assert "none of the secrets of this node" in alarms(lab, node)[name]
        flows.sink(lab)
        flows.run(lab, "udp", 10)
        time.sleep(0.5)
        assert replicated(lab, "fw2") == 0
        other.write_text(key_path(topology).read_text())
        wait_replicated(lab, "fw2", 10)
        for node in NODES:
            wait_until(
                lambda node=node: not [a for a in alarms(lab, node) if a.startswith("pfsync/")],  # type: ignore[misc]
                f"{node} is content",
                SOON_S,
            )


def test_lost_kernel_events_are_found_by_the_audit() -> None:
    """The reader stands still until the kernel drops events: for real, with more flows than its buffer holds."""
    count = 50_000  # each of them six events
    settings = NodeSettings(pfsync={"audit": AUDIT_S})
    with Lab(Topology(name=unique_name("p")), settings=settings) as lab:
        lab.wait_settled("fw1")
        flows.sink(lab)
        wait_until(lambda: is_answering(lab, "fw1"), "both replicate", SOON_S)
        for node in NODES:
            natrules.load(lab, node)
        with stopped(lab, "fw1"):
            flows.run(lab, "tcp", count)
        wait_until(lambda: pfsync(lab, "fw1")["counters"].get("overruns", 0) > 0, "events were lost", SOON_S)
        wait_until(
            lambda: replicated(lab, "fw2") >= 0.99 * replicated(lab, "fw1") > 0.8 * count, "fw2 has all of them", 60.0
        )
        lab.wait_settled("fw1")
