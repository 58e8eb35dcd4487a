"""What `states` measured, as Markdown. Ratios are those of one run on one machine, which is what they are good for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from replicators import Ours
from states import LOADS, Bulk, Cost, Lag, Results


def text(found: Sequence[Results]) -> str:
    """All tables for which there is something."""
    tables = [(any(r.costs for r in found), _costs), (any(r.flood for r in found), _floods),
              (any(r.lags for r in found), _lags), (any(r.bulk for r in found), _bulk),
              (any(r.overrun for r in found), _overruns)]  # fmt: skip
    return "\n\n".join(make(found) for is_there, make in tables if is_there)


def middle(values: Iterable[float]) -> float:
    """The median; not a number of nothing."""
    return statistics.median(found) if (found := list(values)) else math.nan


def _costs(found: Sequence[Results]) -> str:
    rows = ["CPU per flow in us, sender + receiver = both (times ours); flows/s of the generator; replicated:", ""]
    rows += ["| replicator | " + " | ".join(map(str, LOADS)) + " |", "|---" * (1 + len(LOADS)) + "|"]
    ours = next((r for r in found if r.name == Ours.name), Results(name=""))
    for results in found:
        cells = [_cost(results.costs.get(str(load), []), ours.costs.get(str(load), [])) for load in LOADS]
        rows.append(f"| {results.name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cost(costs: Sequence[Cost], ours: Sequence[Cost]) -> str:
    if not costs:
        return "-"
    sender, receiver = (middle(getattr(c, name) for c in costs) for name in ("sender_us", "receiver_us"))
    achieved, replicated = middle(c.achieved for c in costs), middle(c.replicated for c in costs)
    ratio = _times(middle(c.total_us for c in costs), middle(c.total_us for c in ours))
    return f"{sender:.0f} + {receiver:.0f} = **{sender + receiver:.0f}**{ratio}; {achieved:.0f}/s; {replicated:.1%}"


def _times(theirs: float, ours: float) -> str:
    return "" if math.isnan(ours) or theirs == ours or not ours else f" ({theirs / ours:.1f} x)"


def _floods(found: Sequence[Results]) -> str:
    rows = ["Datagrams of new flows without any pace:", "",
            "| replicator | flows/s sent | states/s taken by fw2 | missing |", "|---|---|---|---|"]  # fmt: skip
    for results in found:
        if (flood := results.flood) is not None:
            rows.append(f"| {results.name} | {flood.offered:.0f} | {flood.carried:.0f} | {flood.missing} |")
    return "\n".join(rows)


def _lags(found: Sequence[Results]) -> str:
    rows = [
        "Lag in milliseconds from the packet that makes a flow to its entry in the kernel of fw2 (a conntrackd with "
        "external cache makes none before a takeover):", "",
        "| replicator | 10 k flows/s: p50 / p99 | half of what it carries: p50 / p99 |", "|---|---|---|",
    ]  # fmt: skip
    for results in found:
        if results.lags:
            common, half = results.lags[::2], results.lags[1::2]
            rows.append(f"| {results.name} | {_lag(common)} | {_lag(half)} at {middle(x.rate for x in half):.0f}/s |")
    return "\n".join(rows)


def _lag(lags: Sequence[Lag]) -> str:
    lost = sum(x.lost for x in lags)
    return f"{middle(x.p50 for x in lags):.2f} / {middle(x.p99 for x in lags):.2f}" + (f", {lost} lost" if lost else "")


def _bulk(found: Sequence[Results]) -> str:
    rows = ["A standby that comes back without a state (ours: started is the whole node, conntrackd: the request):", "",
            "| replicator | seconds until it has all | from 1 % to all | memory fw1 + fw2, MB PSS |",
            "|---|---|---|---|"]  # fmt: skip
    for results in found:
        if results.bulk:
            value = _of(results.bulk)
            rows.append(
                f"| {results.name} | {value(lambda b: b.started_s):.2f} | {value(lambda b: b.transfer_s):.2f} "
                f"| {value(lambda b: b.memory_mb[0]):.0f} + {value(lambda b: b.memory_mb[1]):.0f} |"
            )
    return "\n".join(rows)


def _of(bulk: Sequence[Bulk]) -> Callable[[Callable[[Bulk], float]], float]:
    return lambda pick: middle(pick(each) for each in bulk)


def _overruns(found: Sequence[Results]) -> str:
    rows = ["Events of fw1 lost (its replicator stood still during a burst):", "",
            "| replicator | events lost | states behind | seconds until fw2 has 99.9 % | missing in the end |",
            "|---|---|---|---|---|"]  # fmt: skip
    for results in found:
        if (over := results.overrun) is not None:
            took = "never" if over.seconds is None else f"{over.seconds:.1f}"
            rows.append(f"| {results.name} | {over.dropped} | {over.behind} | {took} | {over.missing} |")
    return "\n".join(rows)
