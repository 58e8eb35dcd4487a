"""The base of every table's pydantic model, and the whole validated configuration.

Pydantic stays at this edge: models are validated once, are frozen, and services get plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from appliance.plugin.node import Node

M = TypeVar("M", bound="Model")
P = TypeVar("P")


class Scope(StrEnum):
    """Whether a field travels to the other nodes with configuration synchronization."""

    SHARED = "shared"
    """The same on all nodes."""
    MIRRORED = "mirrored"
    """Travels, transformed for the receiver (advskew + 100, peers flipped)."""
    LOCAL = "local"
    """Never travels (devices, addresses, names)."""


class Model(BaseModel):
    """Base of all tables: strict types, unknown keys refused, frozen.

    The docstring under a field is its description, see `description_of`.

    A field says its scope with ``Annotated[int, Scope.MIRRORED]``; the default is SHARED.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
    )


def scope_of(model: type[Model], field: str) -> Scope:
    """The scope declared for a field."""
    for item in model.model_fields[field].metadata:
        if isinstance(item, Scope):
            return item
    return Scope.SHARED


class NodeTable(Model):
    """``[node]``: who this node is."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"), Scope.LOCAL]
    """Host name of the node, unique in the cluster."""
    role: Annotated[Literal["primary", "secondary"], Scope.LOCAL] = "primary"
    """Who owns the shared configuration: ``primary`` or ``secondary``. Not who is active."""
    formats: Annotated[dict[str, Annotated[int, Field(ge=1)]], Scope.LOCAL] = {}
    """The format of tables that have had more than one, by table; written by the appliance when it migrates them."""
    console_login: Annotated[bool, Scope.LOCAL] = False
    """Whether the consoles of an image ask for name and password of an operator before their menu."""


class PluginsTable(Model):
    """``[plugins]``: which installed plugins may load and which must."""

    blocked: Annotated[list[str], Scope.LOCAL] = []
    """Installed plugins that are not loaded, whatever tables are present."""
    required: Annotated[list[str], Scope.SHARED] = []
    """Plugins without which this node stays demoted."""


class Config:
    """One whole, validated configuration. Immutable; compare tables with ``==``."""

    def __init__(
        self,
        tables: Mapping[str, Model],
        *,
        node: NodeTable,
        plugins: PluginsTable | None = None,
        text: str = "",
        path: str = "appliance.toml",
    ) -> None:
        self._tables = dict(tables)
        self.node = node
        self.plugins = plugins or PluginsTable()
        self.text = text
        self.path = path

    def __getitem__(self, model: type[M]) -> M:
        """The table of this model; `KeyError` when it is not present."""
        found = self.get(model)
        if found is None:
            raise KeyError(f"no table of type {model.__qualname__}")
        return found

    def get(self, model: type[M]) -> M | None:
        """The table of this model, or ``None``."""
        for table in self._tables.values():
            if isinstance(table, model):
                return table
        return None

    def providing(self, protocol: Callable[..., P]) -> P | None:
        """The first table whose model satisfies a runtime-checkable protocol.

        This is how a plugin depends on a capability (`ProvidesInterfaces`), not on another plugin.
        """
        # Declared as Callable because mypy refuses protocols where type[P] is expected.
        kind = cast("type[P]", protocol)
        return next((table for table in self._tables.values() if isinstance(table, kind)), None)

    def all_providing(self, protocol: Callable[..., P]) -> tuple[P, ...]:
        """Every table whose model satisfies a runtime-checkable protocol, in file order."""
        kind = cast("type[P]", protocol)
        return tuple(table for table in self._tables.values() if isinstance(table, kind))

    @property
    def tables(self) -> Mapping[str, Model]:
        """Plugin tables by name, in file order."""
        return dict(self._tables)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def identity(self) -> Node:
        """The node as services see it."""
        return Node(name=self.node.name, role=self.node.role)

    def dump(self) -> dict[str, Any]:
        """Everything as plain JSON-able data, secrets redacted."""
        head: dict[str, Any] = {"node": self.node.model_dump(mode="json")}
        return head | {name: table.model_dump(mode="json") for name, table in self._tables.items()}
