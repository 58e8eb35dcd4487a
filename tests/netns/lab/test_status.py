"""What `appliance lab status` says."""

from __future__ import annotations

from typing import Any, cast

import pytest

from appliance.lab import Lab, netns
from appliance.lab.status import collect, text
from appliance.lab.waiting import wait_until

pytestmark = pytest.mark.netns


def test_status_shows_links_power_and_faults_as_they_are(lab: Lab) -> None:
    lab.pull("fw1", "wan")
    lab.power_off("fw2")
    facts = cast(dict[str, Any], collect(lab))
    fw1, fw2 = facts["nodes"]
    assert {row["device"]: row["carrier"] for row in fw1["links"]} == {"lan0": True, "wan0": False, "sync0": False}
    assert (fw1["power"], fw2["power"], fw2["links"]) == (True, False, [])
    assert facts["faults"] == [{"name": "pull fw1 wan", "effect": "wan0 of fw1 has no carrier"}]
    shown = text(facts)
    assert "fw2        no power" in shown
    assert "pull fw1 wan: wan0 of fw1 has no carrier" in shown
    lab.power_on("fw2")


def test_status_shows_frozen_processes(lab: Lab) -> None:
    process = lab.popen("fw1", "sleep", "60")
    wait_until(lambda: netns.command_line(process.pid) == "sleep 60", "the command runs")
    lab.freeze("fw1")
    wait_until(lambda: netns.process_state(process.pid) == "T", "it is stopped")
    fw1 = cast(dict[str, Any], collect(lab))["nodes"][0]
    assert fw1["frozen"]
    assert [entry["command"] for entry in fw1["processes"]] == ["sleep 60"]
    lab.thaw("fw1")
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
