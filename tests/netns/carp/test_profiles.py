"""The profile ``fast``: heartbeats of 100 ms between nodes that both speak it, and of 1 s otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import median

import pytest

from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.config import node_toml
from appliance.lab.lab import unique_name
from appliance.lab.measure import ProbeResult
from appliance.lab.waiting import is_all, wait_until
from tests.netns.carp.conftest import SETTLE_S
from tests.netns.carp.scenes import one_master, said, wait_moved
from tests.netns.carp.wires import Frame, Wire, tapped
from tests.netns.carp.words import carp, undisturbed

pytestmark = [pytest.mark.netns, pytest.mark.slow]

FAST = NodeSettings(profile="fast")
BOOK = NodeSettings()
DEATH_GAP_MS = 1000
"""Three heartbeats of 100 ms; the book's profile needs 2000 to 3400."""


@pytest.fixture(scope="module")
def both_fast() -> Iterator[Lab]:
    with Lab(Topology(name=unique_name("c")), settings=FAST) as lab:
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        yield lab


@pytest.fixture
def lab(both_fast: Lab) -> Iterator[Lab]:
    """A cluster that speaks fast, before and after a test."""
    one_master(both_fast)
    yield both_fast
    both_fast.undo_all()
    for node in ("fw2", "fw1"):
        reload_with(both_fast, node, FAST)
    one_master(both_fast)


def reload_with(lab: Lab, node: str, settings: NodeSettings) -> None:
    lab.config_path(node).write_text(node_toml(lab.topology, node, settings))
    said(lab, node, "config", "reload")


def is_advert(frame: Frame) -> bool:
    return frame.is_advert and frame.family == 4 and not frame.outgoing and not frame.advert.is_bow_out


def interval_ms(wire: Wire, count: int) -> float:
    """The usual time between IPv4 adverts on a wire, of so many that come from now on."""
    wire.forget()
    wire.wait(is_advert, f"{count} adverts", count=count, deadline_s=10)
    times = [frame.at for frame in wire.listen() if is_advert(frame)]
    return 1000 * median(later - earlier for earlier, later in pairwise(times))


def speaks_at(lab: Lab, node: str, advbase: int) -> None:
    wait_until(lambda: {each["advbase"] for each in carp(lab, node)["vips"]} == {advbase}, f"{node} speaks so", 15)


def test_two_fast_nodes_send_every_100_ms_in_openbsds_form(lab: Lab) -> None:
    speaks_at(lab, "fw1", 0)
    with tapped(lab, "lansw", "fw1") as wire:
        assert 90 < interval_ms(wire, 10) < 130
        last = [frame for frame in wire.listen() if is_advert(frame)][-1].advert
    assert (last.advbase, last.advskew) == (0, 26)


def test_a_node_that_is_not_fast_is_spoken_to_slowly(lab: Lab) -> None:
    with undisturbed(lab):
        reload_with(lab, "fw2", BOOK)
        speaks_at(lab, "fw1", 1)
        with tapped(lab, "lansw", "fw1") as wire:
            assert 900 < interval_ms(wire, 3) < 1300
            last = [frame for frame in wire.listen() if is_advert(frame)][-1].advert
        assert (last.advbase, last.advskew) == (1, 0)
        # And fast again when it is.
        reload_with(lab, "fw2", FAST)
        speaks_at(lab, "fw1", 0)


def test_a_dead_node_is_found_within_a_second_without_a_sync_cable(lab: Lab) -> None:
    speaks_at(lab, "fw1", 0)
    lab.pull("fw1", "sync")

    def death() -> ProbeResult:
        with lab.probe("udp", seconds=90) as probe:
            probe.wait_flowing()
            lab.power_off("fw1")
            lab.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 took over")
            assert {each["reason"] for each in carp(lab, "fw2")["vips"]} == {"master timed out"}
            result = probe.stop()
        lab.power_on("fw1")
        one_master(lab)
        return result

    result = death()
    assert result.survived
    assert result.longest_gap_ms <= DEATH_GAP_MS, result.sentence()


def test_planned_handovers_work_the_same(lab: Lab) -> None:
    said(lab, "fw1", "ha", "switchover")
    wait_moved(lab, "fw2", "fw1")
    speaks_at(lab, "fw2", 0)
    said(lab, "fw1", "ha", "enable")
    one_master(lab)
