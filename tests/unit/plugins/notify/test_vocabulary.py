"""The words of the plugin."""

from __future__ import annotations

from appliance_notify.config import ClassName
from appliance_notify.vocabulary import DeliveryError, Kind, Severity


def test_operators_may_choose_every_class_but_tests() -> None:
    assert set(ClassName.__args__) == {str(kind) for kind in Kind} - {"test"}


def test_severities_are_in_order_and_have_names() -> None:
    assert [str(each) for each in sorted(Severity)] == ["info", "warning", "critical"]


def test_a_failure_is_taken_for_passing() -> None:
    assert DeliveryError("x").lasting is False
