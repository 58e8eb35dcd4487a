"""A reload is a difference: what did not change is not touched, and two nodes are changed one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.config import Vip, node_toml, standard_vips
from appliance.lab.lab import unique_name
from appliance.lab.waiting import wait_until
from tests.netns.carp.conftest import SETTLE_S
from tests.netns.carp.scenes import (
    ALL_VIPS,
    NODES,
    SWITCH,
    VIRTUAL_MAC,
    answers,
    appliance,
    held,
    one_master,
    said,
    wait_moved,
)
from tests.netns.carp.test_split_brain import announces
from tests.netns.carp.wires import tapped
from tests.netns.carp.words import alarms, carp, heartbeat, standing, undisturbed

pytestmark = [pytest.mark.netns, pytest.mark.slow]

CROWD = 255
"""Every VHID of one interface."""
NEW4, NEW6, ALIAS = "192.168.1.51", "2001:db8:1::51", "192.168.9.1"


def text_of(lab: Lab, node: str, settings: NodeSettings | None = None) -> str:
    return node_toml(lab.topology, node, settings)


def change(lab: Lab, node: str, text: str) -> dict[str, Any]:
    """Writes a node's file and reloads it; what the reload says it did."""
    lab.config_path(node).write_text(text)
    return dict(lab.request(node, "config", "reload"))


def touched(report: dict[str, Any]) -> dict[str, list[str]]:
    """The services that a reload did not leave alone."""
    return {how: names for how, names in report["services"].items() if how != "unchanged" and names}


@contextmanager
def unmoved(lab: Lab) -> Iterator[None]:
    """No role moves and no heartbeat process is started again, whatever else is told."""
    before = standing(lab)
    yield
    now = standing(lab)
    assert {key: now[key] for key in before if key in now} == {key: before[key] for key in before if key in now}


# ------------------------------------------------------------------------------------------------- a crowd


def crowd(count: int) -> NodeSettings:
    vips = tuple(
        Vip(name=f"v{vhid}", interface="lan", vhid=vhid, addresses=(f"2001:db8:1::{vhid:x}:1/64",))
        for vhid in range(1, count + 1)
    )
    return NodeSettings(vips=vips)


@pytest.fixture(scope="module")
def crowded() -> Iterator[Lab]:
    """254 virtual hosts on the LAN."""
    with Lab(Topology(name=unique_name("c")), settings=crowd(CROWD - 1)) as lab:
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        yield lab


def test_adding_and_removing_one_of_255_virtual_hosts_disturbs_no_other(crowded: Lab) -> None:
    with unmoved(crowded):
        for node in ("fw2", "fw1"):
            assert touched(change(crowded, node, text_of(crowded, node, crowd(CROWD)))) == {
                "reloaded": ["carp/heartbeat"]
            }
        crowded.wait_settled("fw1")
        assert "2001:db8:1::ff:1" in held(crowded, "fw1")
        assert len(held(crowded, "fw1")) == CROWD
    with unmoved(crowded):
        for node in ("fw1", "fw2"):
            change(crowded, node, text_of(crowded, node, crowd(CROWD - 1)))
        crowded.wait_settled("fw1")
        assert "lan0.v255" not in crowded.exec("fw1", "ip", "-brief", "link").stdout
        assert len(held(crowded, "fw1")) == CROWD - 1


def test_an_unchanged_configuration_with_255_virtual_hosts_touches_nothing(crowded: Lab) -> None:
    for node in ("fw2", "fw1"):
        change(crowded, node, text_of(crowded, node, crowd(CROWD)))
    crowded.wait_settled("fw1")
    with undisturbed(crowded):
        for node in NODES:
            report = dict(crowded.request(node, "config", "reload"))
            assert (report["changed"], touched(report)) == (False, {})
            # Another text with the same meaning.
            report = change(crowded, node, "# written differently\n\n" + text_of(crowded, node, crowd(CROWD)))
            assert touched(report) == {}
        sent = carp(crowded, "fw1")["vips"][-1]["counters"]["sent"]
        wait_until(
            lambda: carp(crowded, "fw1")["vips"][-1]["counters"]["sent"] > sent, "another advert of the last one"
        )


def test_a_flapping_link_of_255_virtual_hosts_ends_without_demotion(crowded: Lab) -> None:
    crowded.pull("fw1", "lan")
    wait_moved(crowded, "fw2", "fw1", states=("INIT",))
    assert carp(crowded, "fw1")["demotion"] == 240, "one cable, one reason, however many virtual hosts it carries"
    crowded.plug("fw1", "lan")
    for _ in range(3):
        crowded.pull("fw1", "lan")
        crowded.plug("fw1", "lan")
    crowded.wait_settled("fw1", deadline_s=SETTLE_S)
    for node in NODES:
        wait_until(lambda node=node: carp(crowded, node)["reasons"] == [], f"{node} is not demoted")  # type: ignore[misc]
        assert carp(crowded, node)["demotion"] == 0


# ----------------------------------------------------------------------------------------------- addresses


@pytest.fixture
def original(cluster: Lab) -> Iterator[Lab]:
    """The example cluster; its files are as they were afterwards."""
    yield cluster
    for node in NODES:
        change(cluster, node, text_of(cluster, node))
    one_master(cluster)
    assert held(cluster, "fw1") == ALL_VIPS


def changed_lan(lab: Lab, **changes: Any) -> NodeSettings:
    """The example's virtual hosts with another one on the LAN."""
    lan, *others = standard_vips(lab.topology)
    return NodeSettings(vips=(replace(lan, **changes), *others))


@pytest.mark.parametrize("order", [("fw2", "fw1"), ("fw1", "fw2")])
def test_new_addresses_on_one_node_after_the_other_keep_all_roles_and_are_announced_and_served(
    original: Lab, order: tuple[str, str]
) -> None:
    lan = standard_vips(original.topology)[0].addresses
    more = changed_lan(original, addresses=(*lan, f"{NEW4}/24", f"{NEW6}/64"), aliases=(f"{ALIAS}/24",))
    new = {NEW4, NEW6, ALIAS}
    with undisturbed(original), tapped(original, SWITCH["lan"], "fw1") as wire:
        wire.forget()
        for node in order:
            assert touched(change(original, node, text_of(original, node, more))) == {"reloaded": ["carp/heartbeat"]}
        for address in new:
            wire.wait(lambda frame, address=address: announces(frame, address), f"an announcement of {address}")  # type: ignore[misc]
        assert held(original, "fw1") == ALL_VIPS | new
        assert held(original, "fw2") == frozenset()
        with tapped(original, "client", "eth0") as client:
            for address in new:
                assert answers(original, client, address) == [VIRTUAL_MAC["lan"]]
        wait_agreed(original)
        # And away again.
        for node in order:
            change(original, node, text_of(original, node))
        assert held(original, "fw1") == ALL_VIPS
        with tapped(original, "client", "eth0") as client:
            for address in new:
                assert answers(original, client, address) == []
        wait_agreed(original)


def wait_agreed(lab: Lab) -> None:
    """Until fw2 has heard two further adverts of fw1, none of which was wrong; no alarm stands."""
    before = {each["name"]: each["counters"] for each in carp(lab, "fw2")["vips"]}

    def heard() -> bool:
        now = {each["name"]: each["counters"] for each in carp(lab, "fw2")["vips"]}
        return all(now[name]["received"] >= before[name]["received"] + 4 for name in before)

    wait_until(heard, "fw2 hears fw1")
    assert all(each["counters"]["bad_auth"] == 0 for node in NODES for each in carp(lab, node)["vips"])
    assert [key for node in NODES for key in alarms(lab, node) if key.startswith("carp/")] == []


def test_an_address_that_moves_roles_after_a_change_is_served_there_too(original: Lab) -> None:
    more = changed_lan(original, aliases=(f"{ALIAS}/24",))
    for node in ("fw2", "fw1"):
        change(original, node, text_of(original, node, more))
    said(original, "fw1", "ha", "switchover")
    wait_moved(original, "fw2", "fw1")
    assert held(original, "fw2") == ALL_VIPS | {ALIAS}
    said(original, "fw1", "ha", "enable")


# -------------------------------------------------------------------------------------------------- timing


def test_another_advskew_of_the_backup_moves_nothing(original: Lab) -> None:
    vips = tuple(replace(each, advskew=150) for each in standard_vips(original.topology))
    with undisturbed(original):
        report = change(original, "fw2", text_of(original, "fw2", NodeSettings(vips=vips)))
        assert touched(report) == {"reloaded": ["carp/heartbeat"]}
        assert [each["advskew"] for each in carp(original, "fw2")["vips"]] == [150, 150]


def test_a_master_that_becomes_the_less_preferred_one_is_relieved_without_a_loss(original: Lab) -> None:
    pid = heartbeat(original, "fw1")["pid"]
    vips = tuple(replace(each, advskew=200) for each in standard_vips(original.topology))
    with original.probe("udp", seconds=60) as probe:
        probe.wait_flowing()
        change(original, "fw1", text_of(original, "fw1", NodeSettings(vips=vips)))
        one_master(original, "fw2")
        change(original, "fw1", text_of(original, "fw1"))
        one_master(original)
        result = probe.stop()
    assert result.survived
    assert result.longest_gap_ms < 200, result.sentence()
    assert heartbeat(original, "fw1")["pid"] == pid


# ------------------------------------------------------------------------------------------------- refused


def refused_reload(lab: Lab, node: str, text: str) -> str:
    """What is said about a file that cannot be; the file stays as it was written."""
    lab.config_path(node).write_text(text)
    revision = lab.request(node, "show", "ha")["config"]["revision"]  # type: ignore[index,call-overload]
    done = appliance(lab, node, "config", "reload")
    assert (done.returncode, done.stdout) == (2, ""), done
    assert lab.config_path(node).read_text() == text
    assert lab.request(node, "show", "ha")["config"]["revision"] == revision  # type: ignore[index,call-overload]
    return done.stderr


def test_a_refused_configuration_names_the_places_and_leaves_everything_running(original: Lab) -> None:
    lan, wan = standard_vips(original.topology)
    twice = NodeSettings(vips=(lan, replace(lan, name="again"), replace(wan, interface="wan7")))
    with undisturbed(original):
        text = text_of(original, "fw1", twice)
        said_about_it = refused_reload(original, "fw1", text)
        for what in (
            "VHID 1 is already used on lan",
            "192.168.1.1 is already a virtual address",
            "no interface 'wan7'",
        ):
            assert what in said_about_it
        line = text.splitlines().index('interface = "wan7"') + 1
        assert f"{original.config_path('fw1')}:{line}:" in said_about_it
        assert 'interface = "wan7"' in said_about_it, "the line itself is shown"
        assert held(original, "fw1") == ALL_VIPS


def test_a_syntax_error_is_reported_with_file_line_and_column(original: Lab) -> None:
    text = text_of(original, "fw1")
    lines = text.splitlines()
    place = lines.index("[carp]") + 1
    lines[place] = 'password = "unfinished'
    with undisturbed(original):
        said_about_it = refused_reload(original, "fw1", "\n".join(lines) + "\n")
    column = len(lines[place]) + 1
    assert f"{original.config_path('fw1')}:{place + 1}:{column}: " in said_about_it
