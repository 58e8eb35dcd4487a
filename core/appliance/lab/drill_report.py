"""The report of a drill: a table for the terminal, and one HTML page that needs nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from appliance.lab.demo import table
from appliance.lab.drill import Outcome, Phase, Report
from appliance.lab.measure import SLICE_MS, ProbeKind, ProbeResult

WIDTH, HEIGHT = 720, 90
"""Of a plot, in pixels of the page; it scales with the window."""
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #d0d7de; --loss: #c62828; --ok: #1a7f37; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --line: #30363d; --loss: #ff7b72; --ok: #3fb950; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.passed { color: var(--ok); } .failed, .aborted { color: var(--loss); font-weight: 600; }
svg { width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { font-size: .9em; }
"""
COLUMNS = (
    "",
    "result",
    "settled after",
    "datagrams lost",
    "longest gap",
    "ping gap",
    "download pause",
    "slowest answer",
)


def text(report: Report) -> str:
    """For the terminal."""
    lines = [table([COLUMNS, *_rows(report)])]
    lines += [f"{each.title}: {each.why}" for each in report.outcomes if each.why]
    lines.append(_verdict(report))
    return "\n".join(lines)


def _verdict(report: Report) -> str:
    if not report.restored:
        return f"The cluster is NOT as it was: {report.error}"
    if report.passed:
        return "All that was rehearsed went well; the cluster is as it was."
    return "Not everything went well; the cluster is as it was."


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    for outcome in report.outcomes:
        if not outcome.phases:
            yield (outcome.title, outcome.result, *[""] * 6)
        for number, phase in enumerate(outcome.phases):
            yield _row(outcome, phase, is_first=number == 0)


def _row(outcome: Outcome, phase: Phase, *, is_first: bool) -> tuple[str, ...]:
    found = {probe.kind: probe for probe in phase.probes}
    udp = found[ProbeKind.UDP]
    return (
        outcome.title if is_first else f"  {phase.title}",
        outcome.result if is_first else "",
        f"{phase.took_s:.1f} s",
        f"{udp.lost} of {udp.sent}",
        *(f"{found[kind].longest_gap_ms:.0f} ms" for kind in (ProbeKind.UDP, ProbeKind.PING, ProbeKind.DOWNLOAD)),
        f"{found[ProbeKind.INTERACTIVE].slowest_ms or found[ProbeKind.INTERACTIVE].longest_gap_ms:.0f} ms",
    )


def html(report: Report) -> str:
    """One page, without scripts and without anything from elsewhere."""
    head = "".join(f"<th>{escape(each)}</th>" for each in COLUMNS)
    rows = "".join(_html_row(row) for row in _rows(report))
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>Drill of {escape(report.lab)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f"<h1>Drill of {escape(report.lab)}</h1><p>{escape(report.started)}</p>",
        f'<p class="{"passed" if report.passed else "failed"}">{escape(_verdict(report))}</p>',
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>",
    ]
    for outcome in report.outcomes:
        parts.append(f'<h2>{escape(outcome.title)}: <span class="{outcome.result}">{outcome.result}</span></h2>')
        if outcome.why:
            parts.append(f"<p>{escape(outcome.why)}</p>")
        for phase in outcome.phases:
            parts += [_plot(phase, probe) for probe in phase.probes if probe.loss_percent]
    return "\n".join([*parts, "</body></html>", ""])


def _html_row(row: tuple[str, ...]) -> str:
    first, result, *rest = row
    cells = "".join(f"<td>{escape(each)}</td>" for each in rest)
    return f'<tr><td>{escape(first)}</td><td class="{escape(result)}">{escape(result)}</td>{cells}</tr>'


def _plot(phase: Phase, probe: ProbeResult) -> str:
    """Loss over time: one bar for each slice."""
    count = len(probe.loss_percent)
    width = WIDTH / count
    bars = "".join(
        f'<rect x="{number * width:.1f}" y="{HEIGHT - percent * HEIGHT / 100:.1f}" width="{max(width - 0.5, 0.5):.1f}" '
        f'height="{percent * HEIGHT / 100:.1f}"><title>{number * SLICE_MS} ms: {percent} % lost</title></rect>'
        for number, percent in enumerate(probe.loss_percent)
        if percent
    )
    seconds = count * SLICE_MS / 1000
    said = f"{phase.title}: {probe.kind}, {probe.sentence()}"
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT + 18}" role="img" aria-label="{escape(said, quote=True)}">'
        f'<g fill="var(--loss)">{bars}</g>'
        f'<path d="M0 {HEIGHT}H{WIDTH}M0 0H{WIDTH}" stroke="var(--line)" fill="none"/>'
        '<g fill="var(--ink)" font-size="11"><text x="0" y="11">100 % lost</text>'
        f'<text x="0" y="{HEIGHT + 14}">0 s</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end">{seconds:.1f} s</text></g></svg>'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )
