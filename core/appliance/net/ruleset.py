"""Composes the fragments of all plugins into the one nftables table, and writes the transaction that loads it.

Pure. A load is one transaction: declare, flush, delete what is no longer wanted, fill again. The kernel switches from
the old rules to the new ones between two packets. Base chains, named counters, sets that services fill and sets whose
elements stay the same are left alone while they are wanted: hits go on counting and no hook is ever missing.

Sets with intervals need care. One that is made in the transaction that uses it matches nothing for a moment while the
kernel commits (measured with 6.18: thousands of new connections lost in twenty reloads of a large ruleset), and so does
an anonymous one, ``th dport { 80, 1000-2000 }``. So anonymous ones become named ones, and new ones are made and filled
by a transaction of their own just before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from appliance.errors import PluginError
from appliance.plugin.ruleset import TABLE, Fragment, Hook, KeyPath, Rule, Set

BASES: dict[Hook, str] = {
    Hook.POLICY: "type filter hook prerouting priority -99;",
    Hook.POLICY_LOCAL: "type route hook output priority mangle;",
    Hook.TRANSLATE_IN: "type nat hook prerouting priority dstnat;",
    Hook.TRANSLATE_OUT: "type nat hook postrouting priority srcnat;",
    Hook.INPUT: "type filter hook input priority filter;",
    Hook.FORWARD: "type filter hook forward priority filter;",
    Hook.OUTPUT: "type filter hook output priority filter;",
}
"""POLICY comes right after destination translation (-100), so that its rules see the same packet as the filter."""
MARKER = "loaded"
"""A set that exists as long as our rules do: somebody's ``flush ruleset`` takes it away."""
ELEMENTS_A_LINE = 1000
Kind = Literal["chain", "set", "map", "counter"]


def base_chain(hook: Hook) -> str:
    """Name of a base chain."""
    return f"hook_{hook.value}"


_ANONYMOUS = re.compile(r"\b(ip|ip6|th|tcp|udp|sctp) (saddr|daddr|sport|dport) (!= )?\{ ([^{}]*[-/][^{}]*) \}")
"""A match of addresses or ports with an anonymous set in which there is a range or a network."""
_TYPES = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
"""All others are ports."""


@dataclass(frozen=True, slots=True)
class _Object:
    """A chain, set, map or counter with everything in it."""

    kind: Kind
    name: str
    declaration: str
    """Without contents; an object whose declaration changes is made anew."""
    lines: tuple[str, ...]
    """As written in the table."""
    owner: str = field(compare=False)
    origins: tuple[KeyPath, ...] = field(compare=False)
    """The key of `appliance.toml` that each line comes from; empty where none."""
    kept: bool = False
    elements: tuple[str, ...] = ()

    @property
    def is_collection(self) -> bool:
        return self.kind in ("set", "map")

    def is_same_object(self, other: _Object | None) -> bool:
        """Only its contents may differ."""
        return other is not None and (self.kind, self.declaration, self.kept) == (
            other.kind,
            other.declaration,
            other.kept,
        )


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A whole table. Equal ones load the same."""

    objects: tuple[_Object, ...]
    rules: int

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands inside of ``table inet appliance { … }``."""
        return tuple(line for each in self.objects for line in each.lines)

    @property
    def text(self) -> str:
        """For people: what is loaded."""
        return "\n".join((f"table inet {TABLE} {{", *(f"    {line}" for line in self.lines), "}", ""))


@dataclass(frozen=True, slots=True)
class Transaction:
    """What `nft -f -` gets, one after the other."""

    prepare: str
    """Makes and fills new sets with intervals; nothing refers to them yet. Empty when there are none."""
    text: str
    undo: str
    """Removes what `prepare` made; for when `text` is refused."""
    first: int
    """Number of the line of `text`, from 1, at which the ruleset's own lines begin."""
    origins: tuple[KeyPath, ...]
    first_prepared: int
    origins_prepared: tuple[KeyPath, ...]

    def origin(self, line: int, *, prepared: bool = False) -> KeyPath:
        """The key that a line of `text`, or of `prepare`, comes from."""
        first, origins = (self.first_prepared, self.origins_prepared) if prepared else (self.first, self.origins)
        return origins[line - first] if 0 <= line - first < len(origins) else ()


class _Composer:
    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self.rules = 0
        self._ranges: dict[str, Set] = {}

    def add(
        self,
        kind: Kind,
        name: str,
        declaration: str,
        lines: Sequence[tuple[str, KeyPath]],
        owner: str,
        *,
        kept: bool = False,
        elements: tuple[str, ...] = (),
    ) -> None:
        # One name space for all kinds: sets and maps share theirs in the kernel, and people read them all.
        known = self.objects.get(name)
        if known is not None:
            raise PluginError(
                f"two plugins declare {name!r} in the ruleset: {known.owner} ({known.kind}) and {owner} ({kind})",
                hint="Report it to their authors: names begin with what belongs to the plugin alone.",
            )
        texts, origins = tuple(line for line, _ in lines), tuple(origin for _, origin in lines)
        self.objects[name] = _Object(kind, name, declaration, texts, owner, origins, kept, elements)

    def counter(self, name: str, owner: str) -> None:
        self.add("counter", name, "", [(f"counter {name} {{ }}", ())], owner)

    def set(self, each: Set, owner: str) -> None:
        kind: Kind = "map" if each.value else "set"
        type_ = f"type {each.key} : {each.value};" if each.value else f"type {each.key};"
        declaration = type_ + (f" flags {each.flags};" if each.flags else "")
        elements = () if each.kept else each.elements
        lines = [(line, each.origin) for line in _collection(kind, each.name, declaration, elements)]
        self.add(kind, each.name, declaration, lines, owner, kept=each.kept, elements=elements)

    def chain(self, name: str, base: str, rules: Iterable[Rule], owner: str) -> None:
        lines: list[tuple[str, KeyPath]] = [(f"chain {name} {{", ())]
        if base:
            lines.append((f"    {base} policy accept;", ()))
        for rule in rules:
            if "\n" in rule.text:
                raise PluginError(
                    f"a rule of {owner} has more than one line: {rule.text[:60]!r}",
                    hint="Report it to the author of the plugin: a rule is one line.",
                )
            self.rules += 1
            lines.append((f"    {self._with_named_ranges(rule)}", rule.origin))
        self.add("chain", name, base, [*lines, ("}", ())], owner)

    def _with_named_ranges(self, rule: Rule) -> str:
        if "{ " not in rule.text:
            return rule.text

        def named(match: re.Match[str]) -> str:
            what, field_, negation, elements = match.groups()
            key = _TYPES.get(what, "inet_service")
            name = "range_" + hashlib.sha256(f"{key} {elements}".encode()).hexdigest()[:12]
            if name not in self._ranges:
                parts = tuple(part.strip() for part in elements.split(","))
                self._ranges[name] = Set(name=name, key=key, flags="interval", elements=parts, origin=rule.origin)
            return f"{what} {field_} {negation or ''}@{name}"

        return _ANONYMOUS.sub(named, rule.text)

    def finished(self) -> Ruleset:
        for each in self._ranges.values():
            self.set(each, "core")
        order: dict[Kind, int] = {"counter": 0, "set": 1, "map": 1, "chain": 2}
        return Ruleset(tuple(sorted(self.objects.values(), key=lambda each: order[each.kind])), self.rules)


def _collection(kind: Kind, name: str, declaration: str, elements: Sequence[str]) -> list[str]:
    if not elements:
        return [f"{kind} {name} {{ {declaration} }}"]
    return [f"{kind} {name} {{ {declaration} elements = {{", *(f"    {each}," for each in elements), "}; }"]


def compose(fragments: Sequence[tuple[str, Fragment]]) -> Ruleset:
    """One table of what all plugins contribute.

    Args:
        fragments: Each with its owner, in the order of the plugins.

    Raises:
        PluginError: Two of them declare the same name.
    """
    composer = _Composer()
    composer.set(Set(name=MARKER, key="mark"), "core")
    for owner, fragment in fragments:
        for counter in fragment.counters:
            composer.counter(counter, owner)
        for each in fragment.sets:
            composer.set(each, owner)
        for chain in fragment.chains:
            composer.chain(chain.name, "", chain.rules, owner)
    for hook, base in BASES.items():
        rules = [rule for _, rules in sorted(_hooked(fragments, hook), key=lambda item: item[0]) for rule in rules]
        if rules:
            composer.chain(base_chain(hook), base, rules, "core")
    return composer.finished()


class Composer:
    """Composes anew only when a fragment is another one."""

    def __init__(self) -> None:
        self._last: tuple[list[tuple[str, Fragment]], Ruleset] | None = None

    def compose(self, fragments: Sequence[tuple[str, Fragment]]) -> Ruleset:
        """As the function `compose`."""
        if self._last is None or self._last[0] != list(fragments):
            self._last = list(fragments), compose(fragments)
        return self._last[1]


def _hooked(fragments: Sequence[tuple[str, Fragment]], hook: Hook) -> Iterator[tuple[int, tuple[Rule, ...]]]:
    for _, fragment in fragments:
        for each in fragment.hooked:
            if each.hook is hook:
                yield int(each.stage), each.rules


def transaction(wanted: Ruleset, before: Ruleset | None) -> Transaction:
    """The texts that turn the table of an earlier ruleset into this one.

    Args:
        wanted: What is to be.
        before: What this process loaded last; ``None``: whatever is there is replaced as a whole.
    """
    table = f"inet {TABLE}"
    if before is None:
        head = [f"add table {table}", f"delete table {table}", f"table {table} {{"]
        return _assembled(head, wanted.objects, (), ())
    old = {each.name: each for each in before.objects}
    prepared = tuple(each for each in wanted.objects if _is_new_with_intervals(each, old))
    known = {each.name for each in prepared}
    written = [_to_write(each, old.get(each.name)) for each in wanted.objects if each.name not in known]
    head = [f"add table {table}", f"flush table {table}", *_clear(wanted, before), f"table {table} {{"]
    helpers = [
        each
        for each in wanted.objects
        if each.name not in old and each.kind in ("counter", "chain") and not _is_base(each)
    ]
    return _assembled(head, [each for each in written if each], prepared, helpers if prepared else ())


def _to_write(each: _Object, old: _Object | None) -> _Object | None:
    """What is written of an object: of a set that is there only what comes to it, of an equal one nothing."""
    if old is None or not each.is_collection:
        return each
    if each == old:
        return None
    if not each.is_same_object(old):
        return each
    here = set(old.elements)
    lines = tuple(
        _collection(each.kind, each.name, each.declaration, [new for new in each.elements if new not in here])
    )
    return replace(each, lines=lines, origins=each.origins[:1] * len(lines))


def _is_new_with_intervals(each: _Object, old: dict[str, _Object]) -> bool:
    return each.is_collection and not each.kept and each.name not in old and "interval" in each.declaration


def _is_base(each: _Object) -> bool:
    return each.kind == "chain" and bool(each.declaration)


def _assembled(
    head: Sequence[str], written: Iterable[_Object], prepared: Sequence[_Object], helpers: Iterable[_Object]
) -> Transaction:
    table = f"inet {TABLE}"
    lines, origins = _flat(written)
    prepare, undo = "", ""
    first_lines: list[str] = []
    first_origins: tuple[KeyPath, ...] = ()
    if prepared:
        # Their elements may refer to counters and chains: those are made too, the chains empty.
        made = list(helpers)
        first_lines = [
            f"add table {table}",
            *(f"add {each.kind} {table} {each.name}" for each in made),
            f"table {table} {{",
        ]
        inner, first_origins = _flat(prepared)
        prepare = "\n".join((*first_lines, *inner, "}", ""))
        undo = "\n".join((*(f"delete {each.kind} {table} {each.name}" for each in (*prepared, *made)), ""))
    text = "\n".join((*head, *lines, "}", ""))
    return Transaction(prepare, text, undo, len(head) + 1, origins, len(first_lines) + 1, first_origins)


def _flat(objects: Iterable[_Object]) -> tuple[list[str], tuple[KeyPath, ...]]:
    chosen = list(objects)
    return [line for each in chosen for line in each.lines], tuple(key for each in chosen for key in each.origins)


def _clear(wanted: Ruleset, before: Ruleset) -> Iterator[str]:
    """Take away elements and objects that are no longer wanted, and nothing else."""
    stays = {each.name: each for each in wanted.objects}
    table = f"inet {TABLE}"
    # Maps first: their elements refer to chains and counters.
    for each in before.objects:
        new = stays.get(each.name)
        if each.is_collection and new != each:
            if new is None or not each.is_same_object(new):
                yield f"flush {each.kind} {table} {each.name}"
            else:
                wanted_there = set(new.elements)
                gone = [old for old in each.elements if old not in wanted_there]
                for start in range(0, len(gone), ELEMENTS_A_LINE):
                    part = ", ".join(gone[start : start + ELEMENTS_A_LINE])
                    yield f"delete element {table} {each.name} {{ {part} }}"
    for kind in ("set", "map", "chain", "counter"):
        for each in before.objects:
            if each.kind == kind and not each.is_same_object(stays.get(each.name)):
                yield f"delete {each.kind} {table} {each.name}"
