"""A receiving node on a real network: pairing by command lines, an independent client, and power that fails."""

from __future__ import annotations

import random
import ssl
import threading
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from typing import Any

import pytest

from appliance.lab import Lab, Topology
from appliance.lab.lab import unique_name
from appliance.lab.waiting import wait_until
from tests.netns.sync.receiving import (
    PORT,
    SETTINGS,
    aliases,
    answers,
    in_force,
    introduce,
    is_reachable,
    offer,
    outsider,
    push,
    talk,
    with_users,
)

KILLS = 5
"""Seeded moments; many more are in `tests/unit/plugins/xmlrpc_sync/test_kills.py`."""
PUSH_S = 0.15
"""A push with its confirmation takes half of this, so every moment of it is met, and some after it."""
BACK_S = 30.0


pytestmark = [pytest.mark.netns, pytest.mark.slow]

Paired = tuple[Lab, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def paired() -> Iterator[Paired]:
    """Two firewalls that are paired, and what the commands printed; fw1 is MASTER of everything."""
    with Lab(Topology(name=unique_name("y")), settings=SETTINGS) as lab:
        lab.wait_settled("fw1")
        assert not is_reachable(lab, PORT), "a node that is paired with nobody does not listen"
        said = introduce(lab)
        wait_until(lambda: answers(lab), "fw2 answers", BACK_S)
        yield lab, said


@pytest.fixture
def lab(paired: Paired) -> Lab:
    """The paired nodes."""
    return paired[0]


def test_each_operator_sees_the_fingerprint_that_the_other_node_shows(paired: Paired) -> None:
    lab, (shown, given, result) = paired
    assert (given["peer"], given["fingerprint"]) == ("fw2", shown["fingerprint"])
    assert (result["peer"], result["fingerprint"]) == ("fw1", given["own_fingerprint"])
    assert lab.request("fw2", "pair", "list")["listening"] is False


def test_the_firewall_lets_the_peer_in_on_the_sync_interface_and_nobody_elsewhere(lab: Lab) -> None:
    assert is_reachable(lab, PORT)
    client = lab.exec("client", "timeout", "1", "bash", "-c", f"</dev/tcp/192.168.1.3/{PORT}", check=False)
    assert client.returncode != 0


def test_the_client_of_the_standard_library_pushes_a_section(lab: Lab) -> None:
    begun = time.monotonic()
    push(lab, aliases(1), reason="test")
    print(f"restore, new connection, confirm: {(time.monotonic() - begun) * 1000:.0f} ms")
    assert in_force(lab) == {"192.0.2.1"}
    assert "192.0.2.1" in lab.config_path("fw2").read_text()
    listed = lab.exec("fw2", "nft", "list", "set", "inet", "appliance", "alias_list_0_v4").stdout
    assert "192.0.2.1" in listed


def test_a_client_of_another_language_calls_the_methods_and_gets_faults(lab: Lab) -> None:
    push(lab, aliases(7, size=1))
    with with_users(lab, admin="sync", eye="viewer"):
        wait_until(lambda: "error" not in outsider(lab, user="admin", password="admin"), "it is let in", BACK_S)
        said = outsider(lab, user="admin", password="admin")
        hello = said["host_firmware_version"]
        assert (hello["product"], hello["node"], hello["role"]) == ("ha-appliance", "fw2", "secondary")
        assert said["config_digest"]["sections"]["aliases"] == said["sync_status"]["sections"]["aliases"]["digest"]
        assert abs(said["ping"]["skew"]) < 1.0
        assert said["aliases"] == aliases(7, size=1)
        assert said["fault"] == [-20, "fw2 knows no section 'no such'"]
        assert "401" in outsider(lab, user="admin", password="wrong")["error"]
        refused = outsider(lab, user="eye", password="eye")
        assert "the user eye may not change or read the configuration of this node" in refused["error"]
        assert "digest" in str(refused["sync_status"]), "looking is allowed"


def test_a_client_without_a_pinned_certificate_gets_nothing(lab: Lab) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, OSError, HTTPException)):
        talk(lab, lambda fw2: fw2.config_digest(), tls=stranger)


def test_what_the_receiver_refuses_changes_nothing(lab: Lab) -> None:
    push(lab, aliases(2))
    wrong = {"firewall": {"alias": {"bad": {"type": "hosts", "entries": ["not an address"]}}}}
    with pytest.raises(xmlrpc.client.Fault) as refused:
        push(lab, wrong)
    assert refused.value.faultCode == -40
    assert "not an address" in refused.value.faultString
    assert in_force(lab) == {"192.0.2.2"}


def test_without_a_confirmation_the_old_rules_come_back_by_themselves(lab: Lab) -> None:
    push(lab, aliases(3))
    talk(lab, lambda fw2: fw2.restore_config_section(offer(aliases(4)), {"confirm_timeout": 2}))
    assert in_force(lab) == {"192.0.2.4"}
    assert "192.0.2.4" not in lab.config_path("fw2").read_text(), "power lost now would bring the old ones back"
    wait_until(lambda: in_force(lab) == {"192.0.2.3"}, "the old ones are back", BACK_S)


def test_killed_at_any_moment_the_node_has_the_old_or_the_new_configuration_and_takes_the_next(lab: Lab) -> None:
    push(lab, aliases(100))
    moments = random.Random(5)
    met = {"old": 0, "new": 0}
    old = 100
    for number in range(101, 101 + KILLS):
        killer = threading.Timer(moments.uniform(0.0, PUSH_S), lambda: lab.kill("fw2"))
        killer.start()
        with suppress(OSError, xmlrpc.client.Error, HTTPException):
            push(lab, aliases(number))
        killer.join()
        if lab.init_facts("fw2")["state"] != "running":
            lab.start("fw2")
        wait_until(lambda: answers(lab), "fw2 answers again", BACK_S)
        found = in_force(lab)
        assert found in ({f"192.0.2.{old}"}, {f"192.0.2.{number}"}), f"a mixture after kill {number - 100}"
        met["new" if found == {f"192.0.2.{number}"} else "old"] += 1
        push(lab, aliases(number))
        old = number
        drift = talk(lab, lambda fw2: fw2.config_digest())["drift"]
        assert drift == {}, "the node knows where its configuration is from"
    print(f"killed {KILLS} times: {met['old']} times the old configuration was there, {met['new']} times the new one")
