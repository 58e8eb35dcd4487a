"""The report of a drill: a table for the terminal, and one HTML page that needs nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from appliance.lab.demo import table
from appliance.lab.measure import SLICE_MS, ProbeKind, ProbeResult
from appliance.lab.report import Outcome, Phase, Report

WIDTH, HEIGHT = 720, 64
"""Of a plot, in pixels of the page; it scales with the window."""
BAR_MIN = 3
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #59636e; --paper: #fff; --card: #f6f8fa; --line: #d0d7de;
  --loss: #c62828; --ok: #1a7f37; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --dim: #9198a1; --paper: #0d1117; --card: #151b23; --line: #30363d; --loss: #ff7b72;
    --ok: #3fb950; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin: 2rem 0 .5rem; font-size: 1.2rem; }
.when, .said { color: var(--dim); margin: .2rem 0; }
.verdict { border-left: .3rem solid; background: var(--card); padding: .6rem 1rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: right; white-space: nowrap; }
th { color: var(--dim); font-weight: 600; font-size: .85em; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child, .looked td { text-align: left; } .looked td { white-space: normal; }
tr.more td { color: var(--dim); } tr.more td:first-child { padding-left: 1.5rem; }
.passed { color: var(--ok); } .failed, .aborted { color: var(--loss); font-weight: 600; }
.skipped { color: var(--dim); }
.step { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .6rem 1rem; margin: .6rem 0; }
.step h3 { font-size: 1rem; margin: 0 0 .2rem; } .step p { margin: .1rem 0; }
svg { width: 100%; height: auto; display: block; margin-top: .3rem; } figure { margin: .4rem 0 .8rem; }
figcaption, .step p { font-size: .9em; }
"""
UNKNOWN = "-"
"""Nobody measured it."""
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
    lines = [f"{each.title}: {each.result}; {each.why}" for each in report.outcomes if each.looked_at]
    lines += [table([COLUMNS, *_rows(report)])]
    lines += [f"{each.title}: {each.why}" for each in report.outcomes if each.why and not each.looked_at]
    lines += [f"Losses measured by {report.client}."] if report.client else []
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
        if outcome.looked_at:
            continue
        if not outcome.phases:
            yield (outcome.title, outcome.result, *[""] * 6)
        for number, phase in enumerate(outcome.phases):
            yield _row(outcome, phase, is_first=number == 0)


def _row(outcome: Outcome, phase: Phase, *, is_first: bool) -> tuple[str, ...]:
    found = {probe.kind: probe for probe in phase.probes}
    udp, asked = found.get(ProbeKind.UDP), found.get(ProbeKind.INTERACTIVE)
    gaps = [found.get(kind) for kind in (ProbeKind.UDP, ProbeKind.PING, ProbeKind.DOWNLOAD)]
    return (
        outcome.title if is_first else f"  {phase.title}",
        outcome.result if is_first else "",
        f"{phase.took_s:.2f} s",
        f"{udp.lost} of {udp.sent}" if udp else UNKNOWN,
        *(f"{each.longest_gap_ms:.0f} ms" if each else UNKNOWN for each in gaps),
        f"{asked.slowest_ms or asked.longest_gap_ms:.0f} ms" if asked else UNKNOWN,
    )


def html(report: Report) -> str:
    """One page, without scripts and without anything from elsewhere."""
    title = f"Drill of {escape(report.place)}"
    head = "".join(f"<th>{escape(each)}</th>" for each in COLUMNS)
    rows = "".join(_html_row(row) for row in _rows(report))
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f'<h1>{title}</h1><p class="when">{escape(report.started)}</p>',
        f'<p class="verdict {"passed" if report.passed else "failed"}">{escape(_verdict(report))}</p>',
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>',
    ]
    if report.client:
        parts.append(f'<p class="said">Losses measured by {escape(report.client)}.</p>')
    parts += _looked_at([each for each in report.outcomes if each.looked_at])
    for outcome in report.outcomes:
        if not outcome.looked_at:
            parts += _rehearsed(outcome)
    return "\n".join([*parts, "</body></html>", ""])


def _looked_at(outcomes: Sequence[Outcome]) -> Iterator[str]:
    if not outcomes:
        return
    yield '<h2>Looked at</h2><table class="looked"><tbody>'
    for each in outcomes:
        cells = f'<td class="{escape(each.result)}">{escape(each.result)}</td><td>{escape(each.why)}</td>'
        yield f"<tr><td>{escape(each.title)}</td>{cells}</tr>"
    yield "</tbody></table>"


def _rehearsed(outcome: Outcome) -> Iterator[str]:
    result = f'<span class="{escape(outcome.result)}">{escape(outcome.result)}</span>'
    yield f"<h2>{escape(outcome.title)}: {result}</h2>"
    if outcome.why:
        yield f"<p>{escape(outcome.why)}</p>"
    for phase in outcome.phases:
        yield f'<div class="step"><h3>{escape(phase.title)}: roles settled after {phase.took_s:.2f} s</h3>'
        if phase.said:
            yield f'<p class="said">{escape(phase.said)}</p>'
        for probe in phase.probes:
            said = escape(f"{probe.kind}: {probe.sentence()}")
            yield _plot(phase, probe) if any(probe.loss_percent) else f"<p>{said}</p>"
        yield "</div>"


def _html_row(row: tuple[str, ...]) -> str:
    first, result, *rest = row
    cells = "".join(f"<td>{escape(each)}</td>" for each in rest)
    more = ' class="more"' if first.startswith(" ") else ""
    return f'<tr{more}><td>{escape(first.strip())}</td><td class="{escape(result)}">{escape(result)}</td>{cells}</tr>'


def _plot(phase: Phase, probe: ProbeResult) -> str:
    """Loss over time: one bar for each slice."""
    count = len(probe.loss_percent)
    width = WIDTH / count
    bars = "".join(_bar(number, share, width) for number, share in enumerate(probe.loss_percent) if share)
    seconds = count * SLICE_MS / 1000
    said = f"{probe.kind}: {probe.sentence()}"
    label = escape(f"{phase.title}, {said}", quote=True)
    return (
        f'<figure><figcaption>{escape(said)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT + 18}" role="img" '
        f'aria-label="{label}"><g fill="var(--loss)">{bars}</g>'
        f'<path d="M0 {HEIGHT}H{WIDTH}M0 0.5H{WIDTH}" stroke="var(--line)" fill="none"/>'
        '<g fill="var(--dim)" font-size="11"><text x="2" y="12">100 % lost</text>'
        f'<text x="0" y="{HEIGHT + 14}">0 s</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end">{seconds:.1f} s</text></g></svg></figure>'
    )


def _bar(number: int, share: int, width: float) -> str:
    """One slice in which something was lost; a single datagram is seen as well."""
    height = max(share * HEIGHT / 100, BAR_MIN)
    place = f'x="{number * width:.1f}" y="{HEIGHT - height:.1f}" width="{max(width - 0.5, 0.5):.1f}"'
    return f'<rect {place} height="{height:.1f}"><title>{number * SLICE_MS} ms: {share} % lost</title></rect>'
