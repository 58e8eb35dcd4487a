"""Many rules of one shape become one lookup. Pure.

The kernel asks rules one after the other: fifty thousand of them cost a packet milliseconds, as a map the same as one.
Rules are merged where they stand next to each other and differ only in exact addresses and ports, or in one address
or port range each. A packet has one value of each, so at most one of them can match, or else the first one that does
is in the map. What all of them have in common is compared before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from appliance.plugin import Set
from appliance.plugin.ruleset import KeyPath
from appliance_firewall.aliases import Range
from appliance_firewall.matching import Condition, Field, Pool, Step, conditions_text, value_text

RUN_MIN = 8
"""Fewer rules are no slower than a lookup, and easier to read."""
MERGED_VERDICTS = frozenset({"accept", "drop", "return", "goto fw_reject"})

Key = tuple[Range, ...]
Shape = tuple[tuple[Field, ...], tuple[Condition, ...], bool]
"""What steps have to share: fields in whose values they may differ, other conditions, and whether they count."""
_END = 1 << 128
"""After every address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Steps that became one."""

    conditions: tuple[Condition, ...]
    """What all of them have in common."""
    key: tuple[Field, ...]
    elements: tuple[tuple[Key, Step], ...]
    """The value of each field, and the step it stands for."""
    has_ranges: bool
    origin: KeyPath


def merge(steps: Sequence[Step]) -> tuple[Step | Lookup, ...]:
    """The same decisions in fewer rules."""
    out: list[Step | Lookup] = []
    pairs = zip(steps, map(_shape, steps), strict=True)
    for shape, group in groupby(pairs, key=lambda pair: pair[1][0]):
        # Not a list of the pairs: a shape for each step would be kept, and looked through by the garbage collector.
        alike = [(step, key) for step, (_, key) in group]
        if shape is None or len(alike) < RUN_MIN:
            out += [step for step, _ in alike]
            continue
        for run in _runs(shape, alike):
            lookup = run.lookup()
            out += [lookup] if lookup is not None else run.steps
    return tuple(out)


@dataclass(slots=True)
class _Run:
    """Neighbours of one shape. Which fields are looked up shows as they come: those in which one differs."""

    shape: Shape
    first: Key
    steps: list[Step] = field(default_factory=list)
    elements: dict[Key, Step] = field(default_factory=dict)
    varying: tuple[int, ...] = ()
    """Places of the fields in which any two of them differ."""
    has_ranges: bool = False
    """Whether a value of these is more than one address or port: the kernel looks that up in one field only."""
    _sorted: list[Range] = field(default_factory=list)
    """With ranges: the values of the only varying field."""

    def take(self, step: Step, key: Key) -> bool:
        """Add a step unless its values make that impossible."""
        if key in self.elements:
            self.steps.append(step)  # never reached: an equal one comes before it
            return True
        varying = tuple(
            [place for place, value in enumerate(key) if place in self.varying or value != self.first[place]]
        )
        has_ranges = self.has_ranges or any(_is_range(key[place]) for place in varying)
        if varying != self.varying:
            has_ranges |= any(_is_range(self.first[place]) for place in varying)
        if has_ranges and len(varying) > 1:
            return False
        if has_ranges:
            place, value = varying[0], key[varying[0]]
            known = self._sorted if self.has_ranges else sorted([each[place] for each in self.elements])
            at = bisect_right(known, (value[0], _END))
            if at and value[1] <= known[at - 1][1]:
                self.steps.append(step)  # never reached: it is part of one before it
                return True
            if (at and known[at - 1][1] >= value[0]) or (at < len(known) and known[at][0] <= value[1]):
                return False
            known.insert(at, value)
            self._sorted = known
        self.varying, self.has_ranges = varying, has_ranges
        self.steps.append(step)
        self.elements[key] = step
        return True

    def lookup(self) -> Lookup | None:
        if len(self.elements) < RUN_MIN:
            return None
        fields = tuple(self.shape[0][place] for place in self.varying)
        first = self.steps[0]
        return Lookup(
            conditions=tuple(condition for condition in first.conditions if condition.field not in fields),
            key=fields,
            elements=tuple([(tuple([key[at] for at in self.varying]), step) for key, step in self.elements.items()]),
            has_ranges=self.has_ranges,
            origin=first.origin,
        )


def _is_range(value: Range) -> bool:
    return value[0] != value[1]


def _runs(shape: Shape, steps: Sequence[tuple[Step, Key]]) -> Iterator[_Run]:
    """Steps of one shape, divided where one of them does not fit to those before it."""
    run = _Run(shape, steps[0][1])
    for step, key in steps:
        if not run.take(step, key):
            yield run
            run = _Run(shape, key)
            run.take(step, key)
    yield run


def _shape(step: Step) -> tuple[Shape | None, Key]:
    """The shape of a step and its values; no shape: it is not to be merged."""
    if step.log or step.verdict not in MERGED_VERDICTS:
        return None, ()
    fields, values, rest = [], [], []
    for each in step.conditions:
        if each.inverted or (each.sets and each.field is Field.FAMILY):
            return None, ()
        if each.field.is_exact and len(each.ranges) == 1 and not each.sets:
            fields.append(each.field)
            values.append(each.ranges[0])
        else:
            rest.append(each)
    if not fields:
        return None, ()
    return (tuple(fields), tuple(rest), bool(step.counter)), tuple(values)


def lookup_text(lookup: Lookup, tag: str, pool: Pool) -> str:
    """The rule that looks up: it counts and decides."""
    key = " . ".join(each.text for each in lookup.key)
    parts = [conditions_text(lookup.conditions, pool)]
    if any(step.counter for _, step in lookup.elements):
        parts.append(f"counter name {key} map @{_counters(tag)}")
    return " ".join(part for part in (*parts, f"{key} vmap @{_verdicts(tag)}") if part)


def lookup_sets(lookup: Lookup, tag: str) -> tuple[Set, ...]:
    """The maps of a lookup."""
    type_ = " . ".join(each.key for each in lookup.key)
    flags = "interval" if lookup.has_ranges else ""
    keys = [
        " . ".join(value_text(each, numbers) for each, numbers in zip(lookup.key, key, strict=True))
        for key, _ in lookup.elements
    ]
    steps = [step for _, step in lookup.elements]
    verdicts = Set(
        name=_verdicts(tag),
        key=type_,
        value="verdict",
        flags=flags,
        elements=tuple(f"{key} : {step.verdict}" for key, step in zip(keys, steps, strict=True)),
        origin=lookup.origin,
    )
    if not any(step.counter for step in steps):
        return (verdicts,)
    counters = Set(
        name=_counters(tag),
        key=type_,
        value="counter",
        flags=flags,
        elements=tuple(f'{key} : "{step.counter}"' for key, step in zip(keys, steps, strict=True)),
        origin=lookup.origin,
    )
    return counters, verdicts


def _counters(tag: str) -> str:
    return f"fw_counters_{tag}"


def _verdicts(tag: str) -> str:
    return f"fw_verdicts_{tag}"
