"""What the types of the keys cannot see."""

from __future__ import annotations

import importlib.util

import pytest

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces
from appliance_metrics.config import MetricsConfig
from appliance_metrics.verify import verify

INTERFACES = LogicalInterfaces.of(lan="192.168.1.2/24", wan=[])


def problems(*listen: str) -> list[tuple[tuple[str | int, ...], str]]:
    model = MetricsConfig(listen=list(listen))
    config = Config({"interfaces": INTERFACES, "metrics": model}, node=NodeTable(name="fw1"))
    return [(each.path, each.message) for each in verify(config)]


def test_a_good_table_has_none() -> None:
    assert problems("lan") == []


@pytest.mark.parametrize(
    ("listen", "index", "said"),
    [
        (("lan", "lan"), 1, "lan is there twice"),
        (("dmz",), 0, "there is no interface 'dmz'; there are: lan, wan"),
        (("lan", "wan"), 1, "wan has no address of its own"),
    ],
)
def test_each_mistake_is_named_at_its_key(listen: tuple[str, ...], index: int, said: str) -> None:
    ((path, message),) = problems(*listen)
    assert path == ("metrics", "listen", index)
    assert said in message


def test_a_missing_library_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ((path, message),) = problems("lan")
    assert (path, "pip install 'ha-appliance[metrics]'" in message) == (("metrics",), True)
