"""Names of nodes: what ``[node] name`` accepts, because they become file names and subjects of certificates."""

from __future__ import annotations

import re

from appliance.errors import ApplianceError

NAME_MAX = 63
"""Characters of a node's name: one label of a host name."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def is_name(value: object) -> bool:
    """Whether this is the name of a node: letters, digits and inner hyphens, at most 63 characters."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def check_name(name: str) -> str:
    """Return the name.

    Raises:
        ApplianceError: A node cannot be called so.
    """
    if not is_name(name):
        raise ApplianceError(
            f"{name[: NAME_MAX + 1]!r} is not the name of a node",
            hint=f"Use letters, digits and inner hyphens, at most {NAME_MAX} characters.",
        )
    return name


def same_name(one: str, other: str) -> bool:
    """Whether two names are one to an operator: host names do not distinguish capitals."""
    return one.lower() == other.lower()
