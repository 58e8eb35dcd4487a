"""Many rules of one shape become one lookup. Pure.

The kernel asks rules one after the other: fifty thousand of them cost a packet milliseconds, as a map the same as one.
Rules are merged where they stand next to each other and differ only in exact addresses and ports, or in one address
or port range each. A packet has one value of each, so at most one of them can match, or else the first one that does
is in the map.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.plugin import Set
from appliance.plugin.ruleset import KeyPath
from appliance_firewall.aliases import Range
from appliance_firewall.matching import EXACT, Condition, Field, Pool, Step, conditions_text, value_text

RUN_MIN = 8
"""Fewer rules are no slower than a lookup, and easier to read."""
MERGED_VERDICTS = frozenset({"accept", "drop", "return", "goto fw_reject"})

Key = tuple[Range, ...]


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
    for run in _runs(steps):
        lookup = run.lookup()
        out += [lookup] if lookup is not None else run.steps
    return tuple(out)


@dataclass(slots=True)
class _Run:
    """Neighbours of one shape."""

    shape: object
    fields: tuple[Field, ...]
    steps: list[Step] = field(default_factory=list)
    elements: dict[Key, Step] = field(default_factory=dict)
    has_ranges: bool = False
    _ranges: list[Range] = field(default_factory=list)
    """Sorted, when there is one field."""

    def take(self, step: Step, key: Key) -> bool:
        """Add a step unless its ranges make that impossible."""
        if len(self.fields) == 1:
            place = bisect_right(self._ranges, (key[0][0], 1 << 128))
            before = self._ranges[place - 1] if place else None
            after = self._ranges[place] if place < len(self._ranges) else None
            is_shadowed = before is not None and key[0][1] <= before[1]
            if is_shadowed:
                self.steps.append(step)
                return True
            if (before is not None and before[1] >= key[0][0]) or (after is not None and after[0] <= key[0][1]):
                return False
            self._ranges.insert(place, key[0])
            self.has_ranges |= key[0][0] != key[0][1]
        self.steps.append(step)
        self.elements.setdefault(key, step)
        return True

    def lookup(self) -> Lookup | None:
        if len(self.elements) < RUN_MIN:
            return None
        keys = list(self.elements)
        varying = [place for place in range(len(self.fields)) if len({key[place] for key in keys}) > 1]
        first = self.steps[0]
        common = tuple(
            condition
            for condition in first.conditions
            if condition.field not in {self.fields[place] for place in varying}
        )
        return Lookup(
            conditions=common,
            key=tuple(self.fields[place] for place in varying),
            elements=tuple((tuple(key[place] for place in varying), step) for key, step in self.elements.items()),
            has_ranges=self.has_ranges,
            origin=first.origin,
        )


def _runs(steps: Sequence[Step]) -> Iterator[_Run]:
    run = _Run(None, ())
    for step in steps:
        shape, fields, key = _shape(step)
        if shape is None or shape != run.shape or not run.take(step, key):
            if run.steps:
                yield run
            run = _Run(shape, fields)
            if shape is None:
                run.steps.append(step)
            else:
                run.take(step, key)
    if run.steps:
        yield run


def _shape(step: Step) -> tuple[object | None, tuple[Field, ...], Key]:
    """What steps have to share, the fields in which they may differ, and their values; no shape: not to be merged."""
    if step.log or step.verdict not in MERGED_VERDICTS or any(_is_special(each) for each in step.conditions):
        return None, (), ()
    single = [each for each in step.conditions if each.field in EXACT and len(each.ranges) == 1 and not each.sets]
    if len(single) > 1:  # the kernel looks up ranges of one field only
        single = [each for each in single if each.ranges[0][0] == each.ranges[0][1]]
    if not single:
        return None, (), ()
    fields = tuple(each.field for each in single)
    rest = tuple(each for each in step.conditions if each.field not in fields)
    return (rest, fields, bool(step.counter)), fields, tuple(each.ranges[0] for each in single)


def _is_special(condition: Condition) -> bool:
    return condition.inverted or (condition.field is Field.FAMILY and bool(condition.sets))


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
