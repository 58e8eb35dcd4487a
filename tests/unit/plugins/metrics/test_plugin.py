"""What the plugin contributes, and whether what it ships speaks of metrics that exist."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from appliance.plugin import SyncSection
from appliance.testing import check_plugin
from appliance_metrics.plugin import Metrics
from tests.meta.source import CORE, PLUGINS, ROOT, parsed, python_files
from tests.unit.plugins.metrics.nodes import LOOPBACK

NAME = re.compile(r"\bappliance_[a-z0-9_]+\b")
SHIPPED = files("appliance_metrics")
README = ROOT / "plugins" / "metrics" / "README.md"


def declared() -> dict[str, str]:
    """Every metric of the bundled plugins and of the core: name and help, from their source."""
    found: dict[str, str] = {}
    for package in (*PLUGINS, CORE):
        for path in python_files(package):
            for node in ast.walk(parsed(path)):
                found.update(_declaration(package.name, node))
    return found


def _declaration(package: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Call(
            func=ast.Attribute(value=owner, attr="counter" | "gauge" as kind),
            args=[ast.Constant(value=str() as name), ast.Constant(value=str() as text), *_],
        ) if "metrics" in ast.unparse(owner):
            scope = "supervisor" if package == "appliance" else package.removeprefix("appliance_")
            yield f"appliance_{scope}_{_full(name, kind)}", text
        case ast.Call(
            func=ast.Name(id="counter" | "gauge" as kind), args=[ast.Constant(value=str() as name), text, *_]
        ) if package == "appliance_metrics":
            yield f"appliance_{_full(name, kind)}", ast.unparse(text)


def _full(name: str, kind: str) -> str:
    return f"{name.removesuffix('_total')}_total" if kind == "counter" else name


def dashboard() -> dict[str, Any]:
    loaded = json.loads((SHIPPED / "dashboard.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def expressions() -> list[str]:
    """What the panels and the rules ask Prometheus."""
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    rules = re.findall(r"^ +expr: (.+)$", (SHIPPED / "alerts.yml").read_text(), re.M)
    return [*panels, *rules]


def test_it_is_a_good_citizen() -> None:
    check_plugin(Metrics, config={"listen": ["lo"]}, tables=LOOPBACK, start=False)


def test_it_is_configured_once_for_all_nodes() -> None:
    assert Metrics().appliance_sync_sections() == [SyncSection(name="metrics", keys=(("metrics",),))]


def test_declarations_are_found() -> None:
    expected = {
        "appliance_supervisor_service_crashes_total",
        "appliance_carp_events_total",
        "appliance_pfsync_states",
        "appliance_gateways_up",
        "appliance_xmlrpc_sync_in_sync",
        "appliance_firewall_logged_total",
        "appliance_notify_sent_total",
        "appliance_ha_role",
        "appliance_metrics_scrapes_total",
    }
    assert expected - set(declared()) == set()


def test_the_dashboard_and_the_alert_rules_ask_for_metrics_that_exist() -> None:
    asked = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(asked) > 12
    assert asked - set(declared()) == set()


def test_every_metric_is_in_the_readme_and_no_other() -> None:
    told = set(NAME.findall(README.read_text())) - {"appliance_metrics"}
    assert told == set(declared())


def test_brackets_of_the_expressions_are_closed() -> None:
    for expression in expressions():
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), expression


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = dashboard()
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(board)
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert all(target["datasource"]["uid"] == "${source}" for target in panel.get("targets", ()))
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    rules = (SHIPPED / "alerts.yml").read_text().split("- alert: ")[1:]
    assert len(rules) >= 8
    for rule in rules:
        for key in ("expr", "for", "severity", "summary", "description"):
            assert re.search(rf"^ +{key}: \S", rule, re.M), (key, rule)
