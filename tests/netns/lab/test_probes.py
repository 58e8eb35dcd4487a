"""Probes measure a gap of known length, through a plain router."""

from __future__ import annotations

import time

import pytest

from appliance.lab import Lab, faults
from appliance.lab.measure import ProbeKind
from appliance.lab.probes import ProbeError

pytestmark = pytest.mark.netns

GAP_S = 0.4


@pytest.mark.parametrize("family", [4, 6])
def test_undisturbed_traffic_of_every_kind_loses_nothing(lab: Lab, family: int) -> None:
    running = [lab.probe(kind, seconds=20, family=family) for kind in ProbeKind]
    for probe in running:
        probe.wait_flowing()
    time.sleep(1.0)
    results = [probe.stop() for probe in running]
    assert [(result.kind, result.lost, result.survived) for result in results] == [
        (kind, 0, True) for kind in ProbeKind
    ]
    udp = results[0]
    assert udp.sent >= 500
    assert (udp.duplicates, udp.reordered) == (0, 0)
    assert next(result for result in results if result.kind is ProbeKind.DOWNLOAD).received_bytes > 1_000_000


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [ProbeKind.UDP, ProbeKind.PING, ProbeKind.CONNECTIONS])
def test_the_gap_is_as_long_as_the_fault(lab: Lab, kind: ProbeKind, family: int) -> None:
    with lab.probe(kind, seconds=20, family=family) as probe:
        probe.wait_flowing()
        start = time.monotonic()
        with lab.during(faults.lose(lab.topology, "fw1", "wan", "both")):
            time.sleep(GAP_S)
        end = time.monotonic()
        time.sleep(0.6)
        result = probe.stop()
    assert result.survived
    assert result.lost >= 1
    # A new connection waits 0.25 s for its answer before the next one is tried.
    slack_ms = 350 if kind is ProbeKind.CONNECTIONS else 100
    assert GAP_S * 1000 - 15 <= result.longest_gap_ms <= (end - start) * 1000 + slack_ms
    assert start - 0.1 <= result.gap_at <= end


@pytest.mark.parametrize("kind", [ProbeKind.DOWNLOAD, ProbeKind.INTERACTIVE])
def test_connections_survive_a_short_gap_and_tell_how_long_they_waited(lab: Lab, kind: ProbeKind) -> None:
    with lab.probe(kind, seconds=20) as probe:
        probe.wait_flowing()
        with lab.during(faults.lose(lab.topology, "fw1", "wan", "both")):
            time.sleep(GAP_S)
        time.sleep(1.5)
        result = probe.stop()
    assert result.survived
    assert result.longest_gap_ms >= GAP_S * 1000 - 20


def test_traffic_that_ends_for_good_does_not_survive(lab: Lab) -> None:
    running = [lab.probe(kind, seconds=2.0) for kind in ProbeKind]
    for probe in running:
        probe.wait_flowing()
    with lab.during(faults.lose(lab.topology, "fw1", "wan", "both")):
        results = [probe.result() for probe in running]
    assert [result.kind for result in results if result.survived] == []


def test_a_probe_without_any_answer_says_so(lab: Lab) -> None:
    loss = faults.lose(lab.topology, "fw1", "wan", "both")
    with lab.during(loss), lab.probe("udp", seconds=0.3) as probe, pytest.raises(ProbeError, match="no answer at all"):
        probe.wait_flowing()


def test_traffic_flows_in_the_other_direction_too(lab: Lab) -> None:
    with lab.probe("udp", seconds=0.3, source="server", target="client") as probe:
        result = probe.result()
    assert result.lost == 0
    assert result.sent == 300


def test_the_longest_probe_is_bounded(lab: Lab) -> None:
    with pytest.raises(ProbeError, match="not possible"):
        lab.probe("udp", seconds=1e9)
    with pytest.raises(ProbeError, match="no IPv6"):
        lab.probe("udp", seconds=1, target="wansw", family=6)
