"""What `appliance doctor` says about the exporter; the rest is in `test_service.py`."""

from __future__ import annotations

from appliance.events import Health
from tests.unit.plugins.metrics.nodes import Run, exporting


async def test_a_service_that_is_not_there_is_named(run_service: Run) -> None:
    async with exporting(run_service) as (node, _):
        await node.supervisor.stop("for the test")
        finding = await node.check("metrics-listening")
        assert (finding.health, finding.what) == (Health.WARN, "the metrics service does not answer")
