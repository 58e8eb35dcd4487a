"""What has to be true of a peer before anything is sent to it."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.events.config import Hidden, Section
from appliance.plugin import API
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.preflight import (
    Hello,
    named_interfaces,
    read_digests,
    read_hello,
    refuse_circle,
    refuse_missing_interfaces,
    refuse_version,
)

SAID: dict[str, Any] = {
    "product": "ha-appliance",
    "version": "0.1.0",
    "api": [1, 0],
    "node": "fw2",
    "role": "secondary",
    "schemas": {"carp": "c" * 64},
    "addresses": {"lan": ["192.168.1.3/24"], "sync": ["172.16.1.3/24"]},
    "time": 1000.5,
    "fingerprint": "AAAA",
}


def section(name: str, data: dict[str, Any], owner: str = "carp") -> Section:
    return Section(name=name, owner=owner, digest="0" * 64, data=Hidden(data))


def hello(**other: Any) -> Hello:
    return read_hello({**SAID, **other})


# --- what it says -----------------------------------------------------------------------------------------------


def test_a_peer_introduces_itself() -> None:
    assert read_hello(SAID) == Hello(
        node="fw2",
        role="secondary",
        version="0.1.0",
        api=(1, 0),
        time=1000.5,
        schemas={"carp": "c" * 64},
        addresses={"lan": ("192.168.1.3/24",), "sync": ("172.16.1.3/24",)},
    )


def test_another_product_is_named() -> None:
    with pytest.raises(SyncError, match="the other side is pfSense, not ha-appliance") as refusal:
        hello(product="pfSense")
    assert refusal.value.cause is Cause.VERSION
    with pytest.raises(SyncError, match="an unknown product"):
        read_hello({})


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"api": [1]}, "api"),
        ({"api": ["1", "0"]}, "api"),
        ({"time": "noon"}, "time"),
        ({"schemas": {"carp": 1}}, "texts by name"),
        ({"schemas": []}, "a struct"),
        ({"addresses": 1}, "a struct"),
        ({"addresses": {str(n): [] for n in range(2000)}}, "a struct"),
    ],
)
def test_what_is_not_an_introduction_is_refused(other: dict[str, Any], what: str) -> None:
    with pytest.raises(SyncError, match=f"host_firmware_version is not what this version expects \\({what}\\)") as no:
        hello(**other)
    assert no.value.cause is Cause.NONSENSE


def test_a_struct_is_expected() -> None:
    with pytest.raises(SyncError, match="host_firmware_version"):
        read_hello("hello")


def test_what_a_peer_says_can_be_shown() -> None:
    assert hello(node="fw\x1b2").node == "fw?2"
    assert len(hello(version="v" * 9999).version) == 256


def test_digests_and_drift_are_read() -> None:
    read = read_digests(
        {"revision": 7, "sections": {"rules": "a"}, "drift": {"rules": {"who": "ann", "when": 1_700_000_000.0}}}
    )
    assert (read.revision, read.sections) == (7, {"rules": "a"})
    assert read.drift == {"rules": {"who": "ann", "when": "2023-11-14T22:13:20Z"}}


@pytest.mark.parametrize("when", [None, "today", -1.0, float("inf"), 1e300])
def test_a_time_that_is_none_is_left_out(when: object) -> None:
    read = read_digests({"revision": 7, "sections": {}, "drift": {"rules": {"who": "ann", "when": when}}})
    assert read.drift["rules"] == {"who": "ann", "when": ""}


@pytest.mark.parametrize(
    "said", [{}, {"revision": "7", "sections": {}}, {"revision": 7}, {"revision": 7, "sections": {"a": 1}}, []]
)
def test_what_are_no_digests_is_refused(said: object) -> None:
    with pytest.raises(SyncError, match="config_digest is not what this version expects"):
        read_digests(said)


# --- who it is --------------------------------------------------------------------------------------------------


def test_a_secondary_of_another_name_is_sent_to() -> None:
    refuse_circle(hello(), own_name="fw1")


def test_two_primaries_are_named() -> None:
    with pytest.raises(SyncError, match="fw2 is a primary too: nobody owns the shared configuration") as refusal:
        refuse_circle(hello(role="primary"), own_name="fw1")
    assert refusal.value.cause is Cause.LOOP
    assert 'role = "secondary"' in refusal.value.hint


def test_a_node_does_not_send_to_itself() -> None:
    with pytest.raises(SyncError, match="the peer calls itself fw1 as this node does") as refusal:
        refuse_circle(hello(node="fw1"), own_name="fw1")
    assert refusal.value.cause is Cause.LOOP


# --- versions ---------------------------------------------------------------------------------------------------


def test_equal_schemas_fit() -> None:
    refuse_version(hello(), {"carp": "c" * 64}, [section("virtual IPs", {"carp": {"vip": []}})])


def test_another_api_is_named_with_both_versions() -> None:
    with pytest.raises(SyncError, match=rf"fw2 has version 0\.1\.0 with API 9\.1, this node {API[0]}\.{API[1]}") as no:
        refuse_version(hello(api=[9, 1]), {}, [])
    assert (no.value.cause, no.value.hint) == (Cause.VERSION, "Upgrade the older node.")


def test_a_table_of_another_form_is_named() -> None:
    with pytest.raises(SyncError, match=r"fw2 \(version 0\.1\.0\) has another form of the tables of carp") as refusal:
        refuse_version(hello(), {"carp": "d" * 64}, [section("virtual IPs", {"carp": {"vip": []}})])
    assert refusal.value.cause is Cause.VERSION


def test_a_plugin_that_is_missing_there_is_named() -> None:
    sections = [section("gateways", {"gateways": {"kill_states": True}}, owner="gateways")]
    with pytest.raises(SyncError, match="fw2 lacks the plugin gateways"):
        refuse_version(hello(), {"gateways": "g"}, sections)


def test_tables_that_are_not_sent_may_differ() -> None:
    refuse_version(hello(), {"carp": "d" * 64}, [])
    refuse_version(hello(), {"gateways": "g"}, [section("gateways", {}, owner="gateways")])


# --- interfaces -------------------------------------------------------------------------------------------------


def test_interfaces_that_are_there_are_no_problem() -> None:
    refuse_missing_interfaces(
        hello(), ["lan", "sync"], [section("rules", {"firewall": {"rule": [{"interface": "lan"}]}})]
    )


def test_missing_interfaces_are_named_with_who_needs_them() -> None:
    sections = [
        section("firewall rules", {"firewall": {"rule": [{"interface": ["lan", "wan"]}, {"source": "!net:dmz"}]}}),
        section("gateways", {"gateways": {"gateway": {"gw": {"interface": "wan"}}}}),
    ]
    with pytest.raises(SyncError) as refusal:
        refuse_missing_interfaces(hello(), ["lan", "sync", "wan", "dmz"], sections)
    assert refusal.value.message == "fw2 has no interface wan (for firewall rules, gateways), dmz (for firewall rules)"
    assert refusal.value.cause is Cause.INTERFACES


def test_what_is_no_interface_here_is_left_to_the_validation_there() -> None:
    refuse_missing_interfaces(hello(), ["lan"], [section("rules", {"rule": [{"interface": "any", "source": "net:x"}]})])


def test_many_missing_interfaces_are_cut() -> None:
    names = [f"lan{number}" for number in range(30)]
    with pytest.raises(SyncError, match=r"lan19 \(for rules\) and 10 more\n"):
        refuse_missing_interfaces(hello(), names, [section("rules", {"interfaces": names})])


def test_interfaces_are_found_by_key_and_by_form() -> None:
    data = {
        "carp": {"sync_interface": "sync", "vip": [{"interface": "lan", "name": "wan"}]},
        "rule": [{"destination": ["address:wan", "! net:dmz", "10.0.0.1"], "description": "net", "port": 80}],
    }
    assert list(named_interfaces(data)) == ["sync", "lan", "wan", "dmz"]
