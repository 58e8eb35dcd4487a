"""What `appliance doctor` looks at for the exporter, with its remedy."""

from __future__ import annotations

from appliance.events import Health
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_metrics.events import GetExporter


async def listening(probe: Probe) -> Finding:
    """Whether it listens wherever it should."""
    rows = await ask_if_running(probe, GetExporter(), within_s=1)
    if rows is None:
        return Finding(
            health=Health.WARN,
            what="the metrics service does not answer",
            why="Prometheus takes this node for dead",
            fix="See 'appliance show services' for the error.",
        )
    missing = [row for row in rows if not row["listening"]]
    if missing:
        return Finding(
            health=Health.WARN,
            what="; ".join(f"not listening on {row['url']}: {row['waiting_for']}" for row in missing),
            fix="Compare with 'appliance show interfaces': the address has to be there, and the port free.",
        )
    return Finding(health=Health.OK, what=f"listening on {len(rows)} addresses")


CHECKS = (Check(name="metrics-listening", help="Numbers can be read wherever they should.", run=listening),)
