"""Contributions are frozen, keyword-only values with room to grow."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from appliance.events import Health
from appliance.plugin import Finding, Service, contributions

KINDS = [
    kind
    for kind in vars(contributions).values()
    if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind.__module__ == contributions.__name__
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_contributions_are_frozen_slotted_and_named(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)
    parameters = list(inspect.signature(kind).parameters.values())
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters)


def test_equal_services_are_left_alone_by_a_reload() -> None:
    async def run(ctx: object, started: object) -> None: ...

    assert Service(key="a", run=run, config=(1, 2)) == Service(key="a", run=run, config=(1, 2))
    assert Service(key="a", run=run, config=(1, 2)) != Service(key="a", run=run, config=(1, 3))


@pytest.mark.parametrize("health", [Health.WARN, Health.FAIL])
def test_a_complaint_needs_a_remedy(health: Health) -> None:
    with pytest.raises(ValueError, match="needs a fix"):
        Finding(health=health, what="it is broken")
    assert Finding(health=health, what="it is broken", fix="mend it").fix == "mend it"


def test_a_good_finding_needs_none() -> None:
    assert Finding(health=Health.OK, what="all is well").fix == ""
