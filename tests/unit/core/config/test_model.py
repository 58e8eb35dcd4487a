"""Tables are strict, frozen values; a configuration is found by model and by capability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pytest
from pydantic import ValidationError

from appliance.config import Config, LogicalInterface, Model, ProvidesInterfaces, Scope, scope_of
from appliance.config.model import NodeTable, PluginsTable
from appliance.config.types import Secret


class Alpha(Model):
    shared: int = 0
    """What it is for."""
    mirrored: Annotated[int, Scope.MIRRORED] = 0
    local: Annotated[str, Scope.LOCAL] = ""
    password: Secret | None = None


class Wires(Model):
    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        return {"lan": LogicalInterface(name="lan", device="eth0")}


def config(**tables: Model) -> Config:
    return Config(tables, node=NodeTable(name="fw1"), text="x", path="y")


def test_tables_refuse_unknown_keys_other_types_and_changes() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Alpha.model_validate({"x": 1})
    with pytest.raises(ValidationError, match="valid integer"):
        Alpha.model_validate({"shared": "5"})
    with pytest.raises(ValidationError, match="frozen"):
        Alpha().shared = 5


def test_scopes_are_read_from_the_annotation_and_default_to_shared() -> None:
    assert [scope_of(Alpha, name) for name in ("shared", "mirrored", "local")] == [
        Scope.SHARED,
        Scope.MIRRORED,
        Scope.LOCAL,
    ]


def test_a_table_is_found_by_its_model() -> None:
    table = Alpha(shared=1)
    found = config(alpha=table)
    assert found[Alpha] is table
    assert found.get(Wires) is None
    with pytest.raises(KeyError, match="Wires"):
        found[Wires]


def test_a_capability_is_found_without_knowing_who_has_it() -> None:
    assert config(alpha=Alpha()).providing(ProvidesInterfaces) is None
    found = config(alpha=Alpha(), wires=Wires()).providing(ProvidesInterfaces)
    assert found is not None
    assert found.logical_interfaces()["lan"].device == "eth0"


def test_tables_keep_the_order_of_the_file_and_cannot_be_added_to() -> None:
    found = config(wires=Wires(), alpha=Alpha())
    assert list(found) == list(found.tables) == ["wires", "alpha"]
    found.tables["x"] = Alpha()  # type: ignore[index]  # a copy
    assert list(found) == ["wires", "alpha"]


def test_the_dump_is_plain_data_without_secrets() -> None:
    dumped = config(alpha=Alpha.model_validate({"password": "hunter2"})).dump()
    assert dumped["node"] == {"name": "fw1", "role": "primary", "formats": {}, "console_login": False}
    assert "hunter2" not in str(dumped)


def test_identity_is_what_services_see() -> None:
    identity = Config({}, node=NodeTable(name="fw2", role="secondary")).identity()
    assert (identity.name, identity.role) == ("fw2", "secondary")
    assert config().plugins == PluginsTable()


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a" * 64, "a b"])
def test_a_node_needs_a_host_name(name: str) -> None:
    with pytest.raises(ValidationError):
        NodeTable(name=name)
