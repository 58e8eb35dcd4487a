"""The far end of the probes."""

from __future__ import annotations

import pytest

from appliance.lab import Lab, netns
from appliance.lab.probe_server import CHUNK, CHUNK_INTERVAL_S
from appliance.lab.probes import ensure_server

pytestmark = pytest.mark.netns


def servers(lab: Lab) -> list[str]:
    lines = [netns.command_line(pid) for pid in netns.pids(lab.topology.namespace("server"))]
    return [line for line in lines if "probe_server" in line]


def test_one_server_of_each_half_runs_however_often_it_is_asked_for(lab: Lab) -> None:
    for half in ("udp", "tcp", "udp", "tcp"):
        ensure_server(lab, "server", half)
    assert sorted(line.rpartition(" ")[2] for line in servers(lab)) == ["tcp", "udp"]


def test_the_download_is_steady_and_leaves_the_processor_free(lab: Lab) -> None:
    with lab.probe("download", seconds=1.0) as probe:
        result = probe.result()
    full_speed = len(CHUNK) / CHUNK_INTERVAL_S
    assert 0.2 * full_speed < result.received_bytes / result.seconds <= 1.1 * full_speed
