"""What a failing test says: one exception instead of a tree, and the last events of every node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from appliance.bus import Envelope

SHOWN = 50
"""Envelopes shown per node: a screen or two, enough to see what led to a failure."""

_recorded: ContextVar[list[object] | None] = ContextVar("appliance_testing_nodes", default=None)


class HasTrace(Protocol):
    """A node whose bus can be looked at after the fact."""

    name: str

    @property
    def envelopes(self) -> tuple[Envelope, ...]: ...


@contextlib.contextmanager
def recording() -> Iterator[list[object]]:
    """Collect the nodes that start while the block lasts."""
    nodes: list[object] = []
    token = _recorded.set(nodes)
    try:
        yield nodes
    finally:
        _recorded.reset(token)


def record(node: HasTrace) -> None:
    """Remember a node for the report, if somebody reports."""
    nodes = _recorded.get()
    if nodes is not None:
        nodes.append(node)


def last_events(nodes: Iterable[object]) -> str:
    """The last envelopes of these nodes, interleaved by time."""
    lines: list[tuple[float, int, str]] = []
    for node in nodes:
        envelopes: tuple[Envelope, ...] = getattr(node, "envelopes", ())
        for envelope in envelopes[-SHOWN:]:
            name = getattr(node, "name", "?")
            text = f"{envelope.monotonic:12.3f} {name} #{envelope.seq} {envelope.source}: {envelope.event!r}"
            lines.append((envelope.monotonic, envelope.seq, text))
    return "\n".join(text for _, _, text in sorted(lines))


@contextlib.contextmanager
def single_failure() -> Iterator[None]:
    """Raise the only exception of a group instead of the group.

    Every nursery wraps what fails inside it; a test that fails in the body of ``async with`` would
    otherwise report a tree with one leaf.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaf: BaseException = group
        while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
            leaf = leaf.exceptions[0]
        if leaf is group:
            raise
        raise leaf from leaf.__cause__
