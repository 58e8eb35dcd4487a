"""Clients of a healthy cluster: what they are told, and what both nodes know of them."""

from __future__ import annotations

import json
import re

import pytest

from appliance.lab import Lab
from tests.netns.dhcp import clients
from tests.netns.dhcp.clients import CLIENT, DEVICE, NODES, VIP

pytestmark = [pytest.mark.netns]


def test_a_client_gets_the_virtual_address_as_gateway_and_both_nodes_know_it(cluster: Lab) -> None:
    got = clients.udhcpc(cluster, name="printer", number=1)
    assert got is not None
    assert (got["router"], got["dns"], got["server"]) == (VIP, VIP, VIP)
    assert (got["lease"], got["tftp"]) == ("3600", "192.168.1.9")
    assert re.fullmatch(r"192\.168\.1\.1[0-9][0-9]", got["address"])
    for node in NODES:  # at once: the client did not hear of it before both had it
        lease = clients.leases(cluster, node)[got["address"]]
        assert (lease["hostname"], lease["client_id"], lease["granted_by"]) == ("printer", "00:c1:00:01", "fw1")
    again = clients.udhcpc(cluster, name="printer", number=1)
    assert again is not None
    assert again["address"] == got["address"]


def test_dhclient_and_dhcpcd_get_leases_too(cluster: Lab) -> None:
    here = cluster.directory
    files = ("-lf", f"{here}/dhclient.leases", "-pf", f"{here}/dhclient.pid", "-sf", "/bin/true", "-cf", "/dev/null")
    done = cluster.exec(CLIENT, "timeout", "10", "dhclient", "-4", "-1", *files, DEVICE, check=False)
    written = (here / "dhclient.leases").read_text()
    assert f"option dhcp-server-identifier {VIP};" in written, done.stderr
    cluster.exec(CLIENT, "sh", "-c", f"kill $(cat {here}/dhclient.pid)", check=False)
    said = here / "dhcpcd.out"
    told = here / "dhcpcd.sh"
    told.write_text(f"#!/bin/sh\necho $reason $new_ip_address $new_dhcp_server_identifier >>{said}\n")
    told.chmod(0o755)
    # It writes below /var/lib and /run, so it gets its own.
    own = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib/dhcpcd"
    how = f"dhcpcd -4 -1 -B --noarp --noconfigure -t 10 -f /dev/null -c {told} {DEVICE}"
    # The directory of the script is below /run as well, so it is kept in sight.
    keep = f"mkdir -p /mnt/lab && mount --bind {here} /mnt/lab"
    run = f"{keep} && {own} && mkdir -p {here} && mount --bind /mnt/lab {here} && exec timeout 15 {how}"
    cluster.exec(CLIENT, "unshare", "-m", "sh", "-c", run, check=False)
    bound = [line.split() for line in said.read_text().splitlines() if line.startswith("BOUND")]
    assert [server for _, _, server in bound] == [VIP]
    assert bound[0][1] in clients.leases(cluster, "fw2")


def test_an_operator_finds_and_releases_a_lease_on_all_nodes(cluster: Lab) -> None:
    got = clients.udhcpc(cluster, name="camera-7", number=2)
    assert got is not None
    found = cluster.request("fw2", "dhcp", "lease", "find", "CAMERA")
    assert [row["address"] for row in found["leases"]] == [got["address"]]  # type: ignore[union-attr,call-overload,index]
    refused = cluster.exec("fw2", "appliance", "dhcp", "lease", "release", got["address"], check=False)
    assert refused.returncode == 1
    assert "does not serve lan" in refused.stderr
    said = cluster.exec("fw1", "appliance", "dhcp", "lease", "release", got["address"], "--json").stdout
    assert "is free" in json.loads(said)["result"]
    for node in NODES:
        assert got["address"] not in clients.leases(cluster, node)


def test_kea_that_refuses_a_configuration_keeps_the_last_good_one(cluster: Lab) -> None:
    path = cluster.config_path("fw1")
    good = path.read_text()
    # Kea knows option 2 as a number of four bytes; to us it is only an option.
    path.write_text(good + '\n[[dhcp_failover.interface.lan.options]]\ncode = 2\nvalue = "x"\n')
    try:
        cluster.request("fw1", "config", "reload")
        clients.wait_until(lambda: bool(clients.pool(cluster, "fw1").get("refused")), "Kea has refused it", 10)
        assert clients.udhcpc(cluster, number=3) is not None
    finally:
        path.write_text(good)
        cluster.request("fw1", "config", "reload")
    clients.wait_until(lambda: not clients.pool(cluster, "fw1").get("refused"), "it is in force again", 10)
    clients.wait_state(cluster, "fw1", "serving")
