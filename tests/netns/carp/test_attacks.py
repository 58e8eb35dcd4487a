"""What an attacker, a mistake or a broken switch can do to a settled cluster: be noticed, and nothing else."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping

import pytest

from appliance.lab import Lab, faults
from appliance.lab.config import PASSWORD
from appliance.lab.waiting import JsonObject, is_all, wait_until
from tests.netns.carp.wires import (
    ATTACKER_MAC,
    Frame,
    Wire,
    advert,
    arp,
    internet_checksum,
    mac,
    packet,
    summed,
    tapped,
    with_payload,
)
from tests.netns.carp.words import alarms, counter, heartbeat, neighbour, pings, undisturbed, vip, wait_alarm

pytestmark = [pytest.mark.netns, pytest.mark.slow]

NODES = ("fw1", "fw2")
VIPS = ("192.168.1.1", "2001:db8:1::1")
VIRTUAL_MAC = "00:00:5e:00:01:01"
ROGUE_MAC = "02:fc:00:01:05:01"
ATTACKER = {4: "192.168.1.66", 6: "fe80::66"}


@pytest.fixture
def attacker(cluster: Lab) -> Iterator[Wire]:
    """A hand on the LAN: the client's cable."""
    with tapped(cluster, "client", "eth0") as wire:
        yield wire


def wait_counted(lab: Lab, node: str, key: str, at_least: int, deadline_s: float = 5.0) -> None:
    wait_until(lambda: counter(lab, node, key) >= at_least, f"{node} counts {at_least} {key}", deadline_s)


def is_regular_advert(frame: Frame) -> bool:
    return frame.is_advert and not frame.advert.is_bow_out


def regular(family: int) -> Callable[[Frame], bool]:
    return lambda frame: is_regular_advert(frame) and frame.family == family


# ------------------------------------------------------------------------------------------------ forged adverts


@pytest.mark.parametrize("family", [4, 6])
def test_an_advert_with_a_wrong_password_is_counted_and_named_and_changes_nothing(
    cluster: Lab, attacker: Wire, family: int
) -> None:
    before = {node: counter(cluster, node, "bad_auth") for node in NODES}
    with undisturbed(cluster):
        for skew in (0, 254, 255):
            base = 255 if skew == 255 else 1
            forged = advert("guessed", 1, VIPS, advbase=base, advskew=skew)
            attacker.send(packet(forged, ATTACKER[family]))
        for node in NODES:
            wait_counted(cluster, node, "bad_auth", before[node] + 3)
            said = wait_alarm(cluster, node, f"carp/lan/1/bad-auth/{ATTACKER[family]}")
            assert said["health"] == "fail"
            assert ATTACKER[family] in said["what"]
            assert "password" in said["fix"]
    assert {node: counter(cluster, node, "bad_auth") - before[node] for node in NODES} == dict.fromkeys(NODES, 3)


def test_an_advert_that_claims_to_come_from_the_master_needs_the_password_too(cluster: Lab, attacker: Wire) -> None:
    with undisturbed(cluster):
        before = counter(cluster, "fw2", "bad_auth")
        farewell = advert("guessed", 1, VIPS, advbase=255, advskew=255)
        attacker.send(packet(farewell, "192.168.1.2", source_mac=VIRTUAL_MAC))
        wait_counted(cluster, "fw2", "bad_auth", before + 1)


def test_a_wrong_checksum_is_counted_as_such(cluster: Lab, attacker: Wire) -> None:
    with undisturbed(cluster):
        before = counter(cluster, "fw2", "bad_sum")
        right = advert(PASSWORD, 1, VIPS, advbase=255, advskew=255)
        attacker.send(packet(right[:6] + bytes((right[6] ^ 1,)) + right[7:], "192.168.1.2"))
        wait_counted(cluster, "fw2", "bad_sum", before + 1)


@pytest.mark.parametrize("family", [4, 6])
def test_an_advert_that_crossed_a_router_is_dropped_and_counted(cluster: Lab, attacker: Wire, family: int) -> None:
    with undisturbed(cluster):
        before = counter(cluster, "fw2", "bad_ttl")
        farewell = advert(PASSWORD, 1, VIPS, advbase=255, advskew=255, counter=bytes(8))
        attacker.send(packet(farewell, ATTACKER[family], ttl=254))
        wait_counted(cluster, "fw2", "bad_ttl", before + 1)
        said = wait_alarm(cluster, "fw2", f"carp/lan/1/bad-ttl/{ATTACKER[family]}")
        assert "router" in said["what"]


# ---------------------------------------------------------------------------------------------- replayed adverts


@pytest.mark.parametrize("family", [4, 6])
def test_a_replayed_advert_of_the_master_is_counted_and_named(cluster: Lab, attacker: Wire, family: int) -> None:
    recorded = attacker.wait(regular(family), "an advert of fw1")
    with undisturbed(cluster):
        before = counter(cluster, "fw2", "replayed")
        attacker.send(*[recorded.raw] * 5)
        wait_counted(cluster, "fw2", "replayed", before + 5)
        said = wait_alarm(cluster, "fw2", f"carp/lan/1/replay/{recorded.source}")
        assert said["health"] == "warn"
        assert recorded.source in said["what"]


def test_a_replay_with_altered_fields_or_source_is_recognized(cluster: Lab, attacker: Wire) -> None:
    # Neither skew nor base nor the source address is under the digest: whoever records one advert can write there.
    recorded = attacker.wait(is_regular_advert, "an advert of fw1")
    body = recorded.payload
    with undisturbed(cluster):
        before = counter(cluster, "fw2", "replayed")
        farewell = summed(body[:2] + b"\xff" + body[3:5] + b"\xff" + body[6:])
        slow = summed(body[:2] + b"\xfe" + body[3:])
        attacker.send(with_payload(recorded, farewell), with_payload(recorded, slow))
        attacker.send(packet(body, "192.168.1.66"), packet(farewell, "192.168.1.66"))
        wait_counted(cluster, "fw2", "replayed", before + 4)


def test_our_own_advert_sent_back_to_us_is_known_whatever_was_altered(cluster: Lab, attacker: Wire) -> None:
    recorded = attacker.wait(is_regular_advert, "an advert of fw1")
    body = recorded.payload
    with undisturbed(cluster):
        before = counter(cluster, "fw1", "looped")
        better = summed(body[:4] + b"\0" + body[5:])
        attacker.send(recorded.raw, with_payload(recorded, better), packet(body, "192.168.1.66"))
        wait_counted(cluster, "fw1", "looped", before + 3)


# ----------------------------------------------------------------------------------------------- the network itself


def test_a_loop_that_echoes_our_adverts_never_demotes_and_is_named(cluster: Lab) -> None:
    before = counter(cluster, "fw1", "looped")
    with undisturbed(cluster), cluster.during(faults.loop(cluster.topology, "fw1", "lan")):
        wait_counted(cluster, "fw1", "looped", before + 4)
        for source in ("192.168.1.2", "fe80::fc:ff:fe01:101"):
            said = wait_alarm(cluster, "fw1", f"carp/lan/1/loop/{source}")
            assert "come back" in said["what"]
            assert "spanning tree" in said["fix"]
        assert vip(cluster, "fw1")["advskew"] == 0
        assert not [key for key in alarms(cluster, "fw2") if "/loop/" in key]


def test_a_loop_at_the_backup_is_no_master_to_it(cluster: Lab) -> None:
    with undisturbed(cluster), cluster.during(faults.loop(cluster.topology, "fw2", "lan")):
        before = counter(cluster, "fw2", "received")
        wait_counted(cluster, "fw2", "received", before + 4)
        assert [each["address"] for each in vip(cluster, "fw2")["peers"]] == ["192.168.1.2", "fe80::fc:ff:fe01:101"]


KEEPALIVED = """
global_defs {{ router_id stranger
 vrrp_version {version} }}
vrrp_instance stranger {{
 state MASTER
 interface eth0
 mcast_src_ip 192.168.1.7{version}
 virtual_router_id 1
 priority 255
 advert_int 1
 virtual_ipaddress {{ 192.168.1.77 }}
}}
"""


@pytest.mark.parametrize("version", [2, 3])
def test_a_vrrp_speaker_with_our_vhid_is_named(cluster: Lab, version: int) -> None:
    run = cluster.directory / f"keepalived{version}"
    run.with_suffix(".conf").write_text(KEEPALIVED.format(version=version))
    options = (f"--pid={run}.pid", f"--vrrp_pid={run}-vrrp.pid", f"--checkers_pid={run}-check.pid")
    before = {node: counter(cluster, node, "foreign") for node in NODES}
    with undisturbed(cluster):
        argv = ("keepalived", "--dont-fork", "--vrrp", f"--use-file={run}.conf", *options)
        speaker = cluster.popen("client", *argv, stderr=subprocess.DEVNULL)
        try:
            for node in NODES:
                wait_counted(cluster, node, "foreign", before[node] + 1, deadline_s=10.0)
                said = wait_alarm(cluster, node, f"carp/lan/1/foreign/192.168.1.7{version}")
                assert f"VRRP version {version} at 192.168.1.7{version} uses VHID 1 on lan" in said["what"]
                assert VIRTUAL_MAC in said["fix"]
        finally:
            speaker.terminate()
            speaker.communicate(timeout=10)


def test_a_vrrp_speaker_over_ipv6_is_named(cluster: Lab, attacker: Wire) -> None:
    payload = struct.pack("!BBBBHH", 0x31, 1, 254, 1, 100, 0) + bytes(16)
    with undisturbed(cluster):
        attacker.send(packet(payload, "fe80::77"))
        for node in NODES:
            said = wait_alarm(cluster, node, "carp/lan/1/foreign/fe80::77")
            assert "VRRP version 3" in said["what"]


def wait_right(lab: Lab) -> None:
    """The client has the right MAC, and keeps it: Linux ignores a second change within a second."""
    wait_until(lambda: neighbour(lab, "client", "192.168.1.1") == VIRTUAL_MAC, "the client has the virtual MAC", 5.0)


def test_a_duplicate_host_that_announces_itself_is_named_and_the_client_ends_with_the_virtual_mac(
    cluster: Lab,
) -> None:
    assert pings(cluster, "client", "192.168.1.1")
    assert neighbour(cluster, "client", "192.168.1.1") == VIRTUAL_MAC
    with undisturbed(cluster), cluster.during(faults.duplicate(cluster.topology, "lan", "192.168.1.1/24")):
        for operation in (1, 2):
            with tapped(cluster, "rogue", "eth0") as rogue:

                def believed(rogue: Wire = rogue, operation: int = operation) -> bool:
                    rogue.send(arp(operation, ROGUE_MAC, "192.168.1.1", "192.168.1.1"))
                    return neighbour(cluster, "client", "192.168.1.1") == ROGUE_MAC

                wait_until(believed, "the client believes the duplicate", 5.0)
                wait_right(cluster)
                answer = rogue.wait(lambda frame: frame.source_mac == VIRTUAL_MAC and frame.ethertype == 0x0806, "it")
                assert answer.raw[22:32] == mac(VIRTUAL_MAC) + bytes((192, 168, 1, 1))
        said = wait_alarm(cluster, "fw1", f"carp/lan/1/duplicate/{ROGUE_MAC}")
        assert said["what"].startswith("192.168.1.1 is claimed on lan by 02:fc:00:01:05:01")
    assert pings(cluster, "client", "192.168.1.1")


def test_a_duplicate_host_that_only_asks_is_named_too(cluster: Lab, attacker: Wire) -> None:
    # Linux announces nothing when it gets an address; but with each question for a neighbour it claims the sender's.
    with undisturbed(cluster):
        attacker.send(arp(1, "02:55:55:55:55:55", "192.168.1.1", "192.168.1.100"))
        wait_alarm(cluster, "fw1", "carp/lan/1/duplicate/02:55:55:55:55:55")
        wait_right(cluster)


def test_two_stubborn_machines_do_not_shout_at_each_other_for_ever(cluster: Lab, attacker: Wire) -> None:
    with undisturbed(cluster):
        claim = arp(1, "02:77:77:77:77:77", "192.168.1.1", "192.168.1.1")
        for _ in range(60):
            attacker.send(claim)
            wait_until(lambda: heartbeat(cluster, "fw1")["state"] == "running", "it lives")
        wait_alarm(cluster, "fw1", "carp/lan/1/duplicate/02:77:77:77:77:77")
        replies = [
            frame for frame in attacker.listen() if frame.source_mac == VIRTUAL_MAC and frame.ethertype == 0x0806
        ]
        assert 20 <= len(replies) <= 25, "twenty at once, then one in a second"


# --------------------------------------------------------------------------------------------------------- garbage


def nonsense(dice: random.Random) -> Iterator[bytes]:
    """Protocol 112 with payloads of every length, truncated packets of every length, and what else is broken."""
    heads = (b"", b"\x21\x01", b"\x22", b"\x22\x01", b"\x31\x01", b"\x21\x01\x00\x07")
    for length in range(200):
        for head in heads:
            payload = (head + dice.randbytes(length))[:length]
            for source in ATTACKER.values():
                yield packet(payload, source)
                if length >= 8:
                    yield packet(summed(payload), source)
    for source in ATTACKER.values():
        whole = packet(advert("guessed", 1, VIPS), source)
        for length in range(14, len(whole)):
            yield whole[:length]
        for at in range(14, len(whole)):
            for _ in range(4):
                yield whole[:at] + dice.randbytes(1) + whole[at + 1 :]
    options = packet(advert("guessed", 1, VIPS), ATTACKER[4])
    for words in range(16):
        head = bytes((0x40 | words,)) + options[15:24] + b"\0\0" + options[26:34]
        yield options[:14] + head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:] + options[34:]
    claim = arp(2, ATTACKER_MAC, "192.168.1.99", "192.168.1.1")
    for length in range(14, len(claim)):
        yield claim[:length] + dice.randbytes(3)


def test_garbage_of_every_length_neither_crashes_nor_moves_anything(cluster: Lab, attacker: Wire) -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    with undisturbed(cluster):
        sent = 0
        for frame in nonsense(dice):
            attacker.send(frame)
            sent += 1
            if sent % 200 == 0:  # no faster than it is read: this is no test of the kernel's buffer
                assert heartbeat(cluster, "fw1")["state"] == heartbeat(cluster, "fw2")["state"] == "running", seed
        assert sent > 4000
        for node in NODES:
            assert counter(cluster, node, "bad_length") > 100, seed
            assert counter(cluster, node, "bad_sum") > 100, seed
            assert counter(cluster, node, "bad_auth") > 10, seed
            assert len(alarms(cluster, node)) <= 256
        before = counter(cluster, "fw2", "received")
        wait_counted(cluster, "fw2", "received", before + 2)


# ------------------------------------------------------------------------------------------ last: fw1 ends here


def test_replaying_the_adverts_of_a_dead_master_does_not_keep_the_backup_quiet(cluster: Lab, attacker: Wire) -> None:
    """The attack that silences BSD's CARP for ever. No sync cable, so that only the adverts count."""
    cluster.pull("fw1", "sync")
    with tapped(cluster, "server", "eth0") as outside:
        recorded = [(wire, wire.wait(regular(family), "one").raw) for wire in (attacker, outside) for family in (4, 6)]
        before = counter(cluster, "fw2", "replayed")
        cluster.power_off("fw1")

        def taken_over_under_fire(seen: Mapping[str, JsonObject]) -> bool:
            for wire, frame in recorded:
                wire.send(frame)
            return is_all(seen.get("fw2"), "MASTER")

        cluster.wait_for(taken_over_under_fire, "fw2 takes over", deadline_s=6.0)
        assert counter(cluster, "fw2", "replayed") > before + 20
        assert "timed out" in vip(cluster, "fw2")["reason"]
