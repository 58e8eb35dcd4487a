"""The report of a drill: everything that was measured is on it, and nothing that was said gets out of its place."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from appliance.lab.drill_report import html, text
from appliance.lab.measure import ProbeKind, ProbeResult
from appliance.lab.report import Outcome, Phase, Report

UDP = ProbeResult(
    kind=ProbeKind.UDP, sent=3000, lost=22, longest_gap_ms=22.4, survived=True, seconds=3.0, loss_percent=(0, 22, 0)
)
OTHERS = tuple(
    ProbeResult(kind=kind, sent=10, lost=0, longest_gap_ms=30.0, survived=True, seconds=3.0)
    for kind in (ProbeKind.PING, ProbeKind.DOWNLOAD, ProbeKind.INTERACTIVE)
)
PHASES = [Phase(title=title, took_s=0.156, probes=(UDP, *OTHERS)) for title in ("it happens", "it is put back")]


def report(*outcomes: Outcome, **values: object) -> Report:
    found = Report(lab="t", started="2026-01-01T00:00:00+00:00", outcomes=list(outcomes))
    for name, value in values.items():
        setattr(found, name, value)
    return found


def outcome(result: str = "passed", why: str = "", phases: list[Phase] | None = None) -> Outcome:
    return Outcome(name="power-off", title="power failure", result=result, why=why, phases=phases or [])


LOOKED = Outcome(name="status-before", title="status before", why="fw1 is well", looked_at=True)


class Page(HTMLParser):
    """Counts elements, and what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "path"):
            assert self.open.pop() == tag


def page(found: Report) -> Page:
    parsed = Page()
    parsed.feed(html(found))
    parsed.close()
    assert parsed.open == []
    return parsed


def test_the_terminal_shows_a_row_for_each_phase() -> None:
    lines = text(report(outcome(phases=PHASES))).splitlines()
    assert lines[0].split()[:2] == ["result", "settled"]
    assert " ".join(lines[1].split()) == "power failure passed 0.16 s 22 of 3000 22 ms 30 ms 30 ms 30 ms"
    assert lines[2].strip().startswith("it is put back")
    assert lines[3] == "All that was rehearsed went well; the cluster is as it was."


def test_the_page_has_a_plot_for_each_numbered_probe_and_needs_nothing_else() -> None:
    found = page(report(outcome(phases=PHASES)))
    assert (found.seen.count("svg"), found.seen.count("rect"), found.links) == (2, 2, [])
    assert "script" not in found.seen
    assert "100 ms: 22 % lost" in html(report(outcome(phases=PHASES)))


def test_what_went_wrong_is_text_on_the_page() -> None:
    found = report(outcome("failed", "<script>alert(1)</script> & more"))
    assert "script" not in page(found).seen
    assert "&lt;script&gt;" in html(found)


@pytest.mark.parametrize(
    ("found", "passed", "words"),
    [
        (report(outcome()), True, "went well"),
        (report(outcome("skipped", "not confirmed"), outcome()), True, "not confirmed"),
        (report(outcome("skipped")), False, "Not everything"),
        (report(), False, "Not everything"),
        (report(outcome("aborted", "interrupted")), False, "interrupted"),
        (report(LOOKED), False, "status before: passed; fw1 is well"),
        (report(LOOKED, outcome()), True, "went well"),
        (report(outcome("failed"), restored=False, error="fw1 is gone"), False, "NOT as it was: fw1 is gone"),
    ],
)
def test_a_drill_has_passed_when_something_was_rehearsed_and_all_of_it_went_well(
    found: Report, passed: bool, words: str
) -> None:
    assert found.passed is passed
    assert found.to_json()["passed"] is passed
    assert words in text(found)
    assert json.loads(json.dumps(found.to_json()))["rehearsals"] == [
        {
            "name": each.name,
            "title": each.title,
            "result": each.result,
            "why": each.why,
            "phases": [],
            "looked_at": each.looked_at,
        }
        for each in found.outcomes
    ]


def test_what_nobody_measured_is_not_a_zero() -> None:
    ping = ProbeResult(kind=ProbeKind.PING, sent=10, lost=0, survived=True)
    some = Phase(title="it happens", took_s=0.05, probes=(ping,), said="fw2 took over")
    found = report(outcome(phases=[some]), lab="", node="fw1", client="pc to 198.51.100.1")
    lines = text(found).splitlines()
    assert " ".join(lines[1].split()) == "power failure passed 0.05 s - - 0 ms - -"
    assert "Losses measured by pc to 198.51.100.1." in lines
    assert "Drill of the cluster, from fw1" in html(found)
    assert "fw2 took over" in html(found)
    assert page(found).seen.count("svg") == 0, "nothing was lost"


def test_what_was_looked_at_has_a_table_of_its_own() -> None:
    found = report(LOOKED, outcome(phases=PHASES))
    assert page(found).seen.count("table") == 2
    assert "fw1 is well" in html(found)
