"""What a client measured gets into the report where it belongs, and nothing that is no report is taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, UsageError
from appliance.lab.client import Measured, kinds_of, merge, read, report_from
from appliance.lab.measure import ProbeKind, ProbeResult
from appliance.lab.report import Outcome, Phase, Report

BEGAN = 1000.0
UDP = ProbeResult(
    kind=ProbeKind.UDP,
    sent=3000,
    lost=30,
    survived=True,
    seconds=30.0,
    began=BEGAN,
    slices=tuple((100, 30 if number == 100 else 0) for number in range(300)),
    pauses=((10_000.0, 30.0),),
)
SHELL = ProbeResult(kind=ProbeKind.INTERACTIVE, sent=9, lost=0, survived=False, seconds=10.2, began=BEGAN)


def report(*times: tuple[float, float]) -> Report:
    phases = [Phase(title="it happens", took_s=0.1, probes=(), begun=begun, ended=ended) for begun, ended in times]
    return Report(lab="", node="fw1", started="-", outcomes=[Outcome(name="x", title="x", phases=phases)])


def test_losses_are_counted_in_the_step_in_which_they_happened() -> None:
    found = merge(report((1010.0, 1015.0), (1015.0, 1020.0)), Measured(client="pc", target="t", probes=(UDP,)))
    first, second = (phase.probes[0] for phase in found.outcomes[0].phases)
    assert (first.sent, first.lost, first.longest_gap_ms, first.survived) == (5000, 30, 30.0, True)
    assert max(first.loss_percent) == 30
    assert (second.lost, second.longest_gap_ms) == (0, 0.0)
    assert (found.passed, found.client) == (True, "pc to t")


def test_a_connection_that_breaks_fails_its_step_and_is_not_counted_afterwards() -> None:
    measured = Measured(client="pc", target="t", probes=(UDP, SHELL))
    found = merge(report((1005.0, 1008.0), (1010.0, 1015.0), (1016.0, 1020.0)), measured)
    assert [[probe.survived for probe in phase.probes] for phase in found.outcomes[0].phases] == [
        [True, True],
        [True, False],
        [True],
    ]
    assert (found.passed, found.outcomes[0].why) == (False, "interactive of pc did not survive")


def test_another_time_is_an_error() -> None:
    with pytest.raises(ApplianceError, match="pc measured at another time"):
        merge(report((2000.0, 2010.0)), Measured(client="pc", target="t", probes=(UDP,)))


def test_both_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    measured = Measured(client="pc", target="t", probes=(UDP, SHELL))
    file = tmp_path / "client.json"
    file.write_text(json.dumps(measured.to_json()))
    assert Measured.from_json(read(str(file))) == measured
    merged = merge(report((1010.0, 1015.0)), measured)
    file.write_text(json.dumps(merged.to_json()))
    assert report_from(read(str(file))) == merged


@pytest.mark.parametrize(
    "text", ["[]", "{", "{}", '{"rehearsals": [{}], "lab": "", "started": ""}', '{"rehearsals": 7}']
)
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(UsageError):
        report_from(read(str(file)))
    with pytest.raises(UsageError, match="cannot read"):
        read(str(tmp_path / "gone.json"))


def test_traffic_has_names() -> None:
    assert kinds_of("ping,udp,ping") == [ProbeKind.PING, ProbeKind.UDP]
    for text in ("", "carrier-pigeon"):
        with pytest.raises(UsageError, match="there is no traffic"):
            kinds_of(text)
