"""The exporter on a node, asked over the loopback."""

from __future__ import annotations

import trio
from prometheus_client.parser import text_string_to_metric_families

from appliance.errors import KernelError
from appliance.events import Count, GetCounters, Health, NodeStarted, Request, Role, RoleChanged, Status
from appliance_metrics import service
from appliance_metrics.plugin import Metrics
from tests.unit.plugins.metrics.nodes import LOOPBACK, Run, exporting, scrape
from tests.unit.plugins.notify.servers import free_port


def values(body: str) -> dict[tuple[str, ...], float]:
    return {
        (each.name, *(text for _, text in sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(body)
        for each in family.samples
    }


async def test_everything_is_in_one_page(run_service: Run) -> None:
    async def counters(_: Request[object]) -> dict[str, Count]:
        return {"fw_default_in": Count(packets=7, bytes=420)}

    async with exporting(run_service) as (node, port):
        node.publish(RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason=""))
        node.publish(NodeStarted(node="fw1", version="1.2"))
        node.metrics.scoped("carp").counter("events", "Events", ("event",)).advance(12, event="sent")
        with node.bus.serve(GetCounters, counters, source="test"):
            await node.settled()
            status, body = await scrape(port)
    found = values(body)
    assert status == 200
    assert found["appliance_ha_role", "lan", "MASTER", "1"] == 1
    assert found["appliance_carp_events_total", "sent"] == 12
    assert found["appliance_ruleset_packets_total", "fw_default_in"] == 7
    assert found["appliance_build_info", "fw1", "1.2"] == 1
    assert found["appliance_metrics_scrape_failures_total", "ruleset"] == 0


async def test_a_part_that_fails_is_missing_and_counted_and_the_rest_is_there(run_service: Run) -> None:
    async def refuse(_: Request[object]) -> dict[str, Count]:
        raise KernelError("nft says no", hint="x")

    async with exporting(run_service) as (node, port):
        with node.bus.serve(GetCounters, refuse, source="test"):
            assert (await scrape(port))[0] == 200
            await trio.sleep(service.KEEP_S)
            assert values((await scrape(port))[1])["appliance_metrics_scrape_failures_total", "ruleset"] == 2


async def test_many_who_ask_at_once_cost_one_collection(run_service: Run) -> None:
    async with exporting(run_service) as (node, port):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(scrape, port)
        assert "appliance_metrics_scrapes_total 1" in node.metrics.exposition()
        assert (await scrape(port, "application/openmetrics-text"))[1].endswith("# EOF\n")


async def test_there_is_nothing_else_and_it_says_where_it_listens(run_service: Run) -> None:
    async with exporting(run_service) as (node, port):
        assert await scrape(port, path="/") == (404, "There is nothing here; there is /metrics.\n")
        await scrape(port)
        (row,) = await node.command("show metrics")
        assert row == {
            "interface": "lo",
            "url": f"http://127.0.0.1:{port}/metrics",
            "listening": True,
            "waiting_for": None,
            "readers": ["127.0.0.0/8"],
            "served": 1,
            "refused": 1,
        }
        assert (await node.check("metrics-listening")).health is Health.OK


async def test_a_port_that_is_taken_is_reported_and_taken_when_it_is_free(run_service: Run) -> None:
    port = free_port()
    config = {"listen": ["lo"], "port": port}
    with trio.socket.socket() as holder:
        await holder.bind(("127.0.0.1", port))
        holder.listen()
        async with run_service(Metrics, config=config, tables=LOOPBACK) as node:
            assert [status.health for status in node.retained(Status)] == [Health.WARN]
            finding = await node.check("metrics-listening")
            assert (finding.health, "Address already in use" in finding.what) == (Health.WARN, True)


async def test_without_the_registry_the_rest_is_there(run_service: Run) -> None:
    async with exporting(run_service, registry=False) as (node, port):
        status, body = await scrape(port)
        assert (status, "appliance_start_time_seconds" in body) == (200, True)
        assert 'appliance_metrics_scrape_failures_total{part="registry"} 1' in node.metrics.exposition()
