"""What `rules` measured, as Markdown. Medians of the runs; losses are of all runs together."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import rules_forward
import rules_reload
from rules import Results


def text(found: Results) -> str:
    """All tables for which there is something."""
    tables = ((found.loads, _loads), (found.forwarding, _forwarding), (found.reloading, _reloading),
              (found.commits, _commits))  # fmt: skip
    return "\n\n".join(make(found) for is_there, make in tables if is_there)


def _loads(found: Results) -> str:
    rows = [
        f"From the file to the kernel, milliseconds, medians of {found.options.runs} runs. *Equal* rules differ in one "
        "address and become a map, *unlike* ones stay linear. By hand: `nft -f` with one linear rule for each, into an "
        "empty kernel / with `flush ruleset` in front. *Commit* is everything after one rule was changed; (x): times "
        "`nft` by hand.", "",
        "| rules | file | rules in the kernel | check | compile | nft, first | nft, one changed | commit "
        "| by hand, first / again |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for (shape, count), loads in found.loads.items():

        def ms(name: str, loads: Sequence[object] = loads) -> float:
            return _middle(getattr(load, name) for load in loads) * 1000

        rows.append(
            f"| {count:,} {shape} | {loads[0].file_bytes / 1e6:.1f} MB | {loads[0].rules:,} | {ms('check'):,.0f} "
            f"| {ms('compile'):,.0f} | {ms('first'):,.0f} ({ms('first') / ms('hand_first'):.1f} x) "
            f"| {ms('again'):,.0f} ({ms('again') / ms('hand_again'):.1f} x) "
            f"| **{ms('commit'):,.0f}** ({ms('commit') / ms('hand_again'):.1f} x) "
            f"| {ms('hand_first'):,.0f} / {ms('hand_again'):,.0f} |"
        )
    return "\n".join(rows)


def _forwarding(found: Results) -> str:
    options = found.options
    rows = [
        f"New connections (UDP) from as many networks as there are entries, forwarded on one processor that also sends "
        f"and receives them: {options.flows:,} at full speed, then {options.pairs:,} questions with their answers; "
        f"medians of {options.runs} runs. *Rules alone*: what is more than without rules.", "",
        "| ruleset | entries | connections/s | us each | rules alone, us | question and answer, median / p99 us "
        "| lost |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    base = found.forwarding.get("none", [])
    bare = _middle(one.each_us for one in base) if base else 0.0
    for name, runs in found.forwarding.items():
        each = _middle(one.each_us for one in runs)
        rows.append(
            f"| {rules_forward.SYSTEMS[name].name} | {runs[0].entries:,} | {1e6 / each:,.0f} | {each:.2f} "
            f"| {f'{each - bare:.2f}' if base and name != 'none' else '-'} "
            f"| {_middle(one.median_us for one in runs):.0f} / {_middle(one.p99_us for one in runs):.0f} "
            f"| {sum(one.lost + one.unanswered for one in runs)} |"
        )
    rows += ["", *_ratios(found)]
    return "\n".join(rows)


def _ratios(found: Results) -> list[str]:
    ours = found.forwarding.get("ours")
    if not ours:
        return []
    mine = _middle(one.each_us for one in ours)
    lines = []
    for name, runs in found.forwarding.items():
        if name not in ("ours", "none"):
            system = rules_forward.SYSTEMS[name].name
            ratio = mine / _middle(one.each_us for one in runs)
            lines.append(f"- {system}, {runs[0].entries:,} entries: {ratio:.2f} times as many connections as ours.")
    return lines


def _reloading(found: Results) -> str:
    options = found.options
    rows = [
        f"Reloads of {options.reloaded:,} rules and an alias of {options.entries:,} networks, one rule changed each "
        f"time, while {rules_reload.NEW_PER_S:,} connections begin in a second, one goes on with "
        f"{rules_reload.STEADY_PER_S:,} packets/s and {rules_reload.FORBIDDEN_PER_S:,} packets/s come that no rule "
        f"passes. Sums of {options.runs} runs. Gap: how much further apart two packets of that flow arrived than they "
        "were sent; gap and delay are the worst of all.", "",
        "| reload | reloads | each, ms | connections/s | first packets lost | packets of the flow lost "
        "| forbidden packets that passed | longest gap / delay, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, runs in found.reloading.items():
        rows.append(
            f"| {rules_reload.SYSTEMS[name][0]} | {sum(one.reloads for one in runs)} "
            f"| {_middle(one.took_s for one in runs) * 1000:.0f} | {_middle(one.new_per_s for one in runs):,.0f} "
            f"| {sum(one.new_lost for one in runs)} | {sum(one.steady_lost for one in runs)} "
            f"| {sum(one.leaked for one in runs)} of {sum(one.forbidden for one in runs):,} "
            f"| {max(one.gap_ms for one in runs):.1f} / {max(one.delay_ms for one in runs):.1f} |"
        )
    return "\n".join(rows)


def _commits(found: Results) -> str:
    rows = [
        "`appliance config reload` on the master of the example cluster, one firewall rule changed; medians.", "",
        "| rules | commits | command, median / max ms | unchanged file, ms | CPU of the node, ms | CPU of nft, ms |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    rows += [
        f"| {each.rules:,} | {each.count} | {each.wall_ms:.0f} / {each.wall_max_ms:.0f} | {each.idle_ms:.0f} "
        f"| {each.node_ms:.0f} | {each.nft_ms:.0f} |"
        for each in found.commits
    ]
    return "\n".join(rows)


def _middle(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)
