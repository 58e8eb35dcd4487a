"""The capability of declaring logical interfaces is recognised by shape."""

from __future__ import annotations

from appliance.config import LogicalInterface, Model, ProvidesInterfaces


class Silent(Model):
    pass


class Speaking(Model):
    def logical_interfaces(self) -> dict[str, LogicalInterface]:
        return {}


def test_only_a_table_with_the_method_provides_interfaces() -> None:
    assert isinstance(Speaking(), ProvidesInterfaces)
    assert not isinstance(Silent(), ProvidesInterfaces)


def test_logical_interfaces_compare_by_value() -> None:
    assert LogicalInterface(name="lan", device="eth0") == LogicalInterface(name="lan", device="eth0")
    assert LogicalInterface(name="lan", device="eth0") != LogicalInterface(name="lan", device="eth1")
