"""Names of existing things, by kind, for completion: interfaces, virtual hosts, aliases, gateways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from appliance.config import Config, Model
from appliance.config.document import Document

Names = Mapping[str, tuple[str, ...]]
SMALL = 64 << 10
"""Characters of a candidate whose tables are read for each completion; of a larger one, what is in force has to do."""

_KINDS = (
    ("interface", "logical_interfaces"),
    ("vip", "virtual_hosts"),
    ("alias", "aliases"),
    ("gateway", "gateways"),
    ("gateway", "policies"),
    ("user", "users"),
)
"""What is called how, and the method by which tables offer it (see `appliance.config.vocabulary`)."""


def existing_names(
    config: Config, candidate: Document | None = None, models: Mapping[str, type[Model]] | None = None
) -> Names:
    """What is there, in the order of the configuration.

    Args:
        config: The configuration in force.
        candidate: Where somebody edits, what is new there counts too, if its tables are right by themselves.
        models: The models of its tables.
    """
    tables: list[Model] = list(config.tables.values())
    if candidate is not None and len(candidate.text) <= SMALL:
        tables += _read(candidate, models or {})
    found: dict[str, dict[str, None]] = {}
    for kind, method in _KINDS:
        for table in tables:
            if hasattr(table, method):
                found.setdefault(kind, {}).update(dict.fromkeys(getattr(table, method)()))
    return {kind: tuple(names) for kind, names in found.items()}


def _read(candidate: Document, models: Mapping[str, type[Model]]) -> Iterator[Model]:
    for name, data in candidate.data.items():
        model = models.get(name)
        if model is not None and any(hasattr(model, method) for _, method in _KINDS):
            try:
                yield model.model_validate(data)
            except ValueError:  # half of an edit: what is in force has to do
                continue
