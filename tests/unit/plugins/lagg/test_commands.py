"""What `show lagg` prints, and how it fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.plugin import NoProvider
from appliance_lagg import commands
from tests.unit.plugins.lagg.shown import broken, lacp


class Answers:
    """A command's context whose service answers with a document, or is absent."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        self._answer = answer

    async def call(self, request: object) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if self._answer is None:
            raise NoProvider
        return self._answer


def test_people_see_partner_members_and_switches() -> None:
    assert commands.render(lacp()) == "\n".join(
        [
            "lagg0: up, lacp, hash l4, rate slow, MTU 1500, 02:00:00:00:00:01",
            "partner: 02:00:00:00:00:99, key 5, ports 2",
            "MEMBER  STATE   SPEED      FLAPS  LACP    CHURN     NEIGHBOUR",
            "eth0    active  1000 full  0      in use  none (0)  sw-a 1",
            "eth1    active  1000 full  0      in use  none (0)  02::bb 1",
        ]
    )


def shape(data: Any) -> Any:
    """Names and nesting, without values."""
    if isinstance(data, dict):
        return {key: shape(value) for key, value in data.items()}
    return [shape(data[0])] if isinstance(data, list) and data else None


def test_the_shape_that_is_documented_is_printed() -> None:
    text = (Path(__file__).parents[4] / "docs" / "cli.md").read_text()
    (block,) = re.findall(r"^```json show lagg\n(.*?)^```", text, re.M | re.S)
    assert shape(json.loads(block)) == shape(lacp())


def test_people_see_what_is_wrong() -> None:
    text = commands.render(broken())
    assert "active: eth1\n" in text
    assert "eth0    down    -      0      -     -      -\n" in text
    assert "lagg0 runs on eth1 alone: eth0 has no link\n  Check the cable and the other end's port." in text
    assert text.endswith("lagg1: missing, none, MTU -, no address")
    assert "partner: nobody answers" in commands.render(lacp(partner="00:00:00:00:00:00"))
    assert "aggregator 2 not selected" in commands.render(lacp(aggregators=(1, 2)))
    assert commands.render({"laggs": []}) == "no aggregations are configured"


def test_one_of_them_can_be_asked_for() -> None:
    async def main() -> None:
        context: Any = Answers(broken())
        assert [each["name"] for each in (await commands.show_lagg(context, name="lagg1"))["laggs"]] == ["lagg1"]
        assert len((await commands.show_lagg(context))["laggs"]) == 2
        with pytest.raises(ApplianceError, match="no aggregation 'lagg9'") as caught:
            await commands.show_lagg(context, name="lagg9")
        assert caught.value.hint == "Configured are: lagg0, lagg1."
        absent: Any = Answers(None)
        with pytest.raises(ApplianceError, match="is not running"):
            await commands.show_lagg(absent)

    trio.run(main)
