"""Composes the fragments of all plugins into the one nftables table, and writes the transaction that loads it.

Pure. A load is one transaction: declare, flush, delete what is no longer wanted, fill again. The kernel switches from
the old rules to the new ones between two packets. Base chains, named counters and sets that services fill are never
replaced while they are wanted, so hits go on counting and no hook is ever missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
Kind = Literal["chain", "set", "map", "counter"]


def base_chain(hook: Hook) -> str:
    """Name of a base chain."""
    return f"hook_{hook.value}"


@dataclass(frozen=True, slots=True)
class _Object:
    kind: Kind
    name: str
    declaration: str
    """Without contents; an object whose declaration changes is made anew."""
    owner: str = field(compare=False)
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A whole table. Equal ones load the same."""

    lines: tuple[str, ...]
    """What stands inside of ``table inet appliance { … }``."""
    objects: tuple[_Object, ...]
    rules: int
    origins: tuple[KeyPath, ...] = field(compare=False, default=())
    """The key of `appliance.toml` that each line comes from; empty where none."""

    @property
    def text(self) -> str:
        """For people: what is loaded."""
        return "\n".join((f"table inet {TABLE} {{", *(f"    {line}" for line in self.lines), "}", ""))


@dataclass(frozen=True, slots=True)
class Transaction:
    """What `nft -f -` gets."""

    text: str
    first: int
    """Number of the line, from 1, at which the ruleset's own lines begin."""

    def origin(self, ruleset: Ruleset, line: int) -> KeyPath:
        """The key that a line of the text comes from."""
        index = line - self.first
        return ruleset.origins[index] if 0 <= index < len(ruleset.origins) else ()


class _Composer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.origins: list[KeyPath] = []
        self.objects: dict[str, _Object] = {}
        self.rules = 0

    def declare(self, kind: Kind, name: str, declaration: str, owner: str, *, kept: bool = False) -> None:
        # One name space for all kinds: sets and maps share theirs in the kernel, and people read them all.
        known = self.objects.get(name)
        if known is not None:
            raise PluginError(
                f"two plugins declare {name!r} in the ruleset: {known.owner} ({known.kind}) and {owner} ({kind})",
                hint="Report it to their authors: names begin with what belongs to the plugin alone.",
            )
        self.objects[name] = _Object(kind, name, declaration, owner, kept)

    def write(self, line: str, origin: KeyPath = ()) -> None:
        self.lines.append(line)
        self.origins.append(origin)

    def counter(self, name: str, owner: str) -> None:
        self.declare("counter", name, "", owner)
        self.write(f"counter {name} {{ }}")

    def set(self, each: Set, owner: str) -> None:
        kind: Kind = "map" if each.value else "set"
        type_ = f"type {each.key} : {each.value};" if each.value else f"type {each.key};"
        declaration = type_ + (f" flags {each.flags};" if each.flags else "")
        self.declare(kind, each.name, declaration, owner, kept=each.kept)
        if not each.elements or each.kept:
            self.write(f"{kind} {each.name} {{ {declaration} }}", each.origin)
            return
        self.write(f"{kind} {each.name} {{ {declaration} elements = {{", each.origin)
        for element in each.elements:
            self.write(f"    {element},", each.origin)
        self.write("}; }", each.origin)

    def chain(self, name: str, base: str, rules: Iterable[Rule], owner: str) -> None:
        self.declare("chain", name, base, owner)
        self.write(f"chain {name} {{")
        if base:
            self.write(f"    {base} policy accept;")
        for rule in rules:
            if "\n" in rule.text:
                raise PluginError(
                    f"a rule of {owner} has more than one line: {rule.text[:60]!r}",
                    hint="Report it to the author of the plugin: a rule is one line.",
                )
            self.rules += 1
            self.write(f"    {rule.text}", rule.origin)
        self.write("}")


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
    for owner, fragment in fragments:
        for each in fragment.sets:
            composer.set(each, owner)
    for owner, fragment in fragments:
        for chain in fragment.chains:
            composer.chain(chain.name, "", chain.rules, owner)
    for hook, base in BASES.items():
        rules = [rule for _, rules in sorted(_hooked(fragments, hook), key=lambda item: item[0]) for rule in rules]
        if rules:
            composer.chain(base_chain(hook), base, rules, "core")
    return Ruleset(tuple(composer.lines), tuple(composer.objects.values()), composer.rules, tuple(composer.origins))


def _hooked(fragments: Sequence[tuple[str, Fragment]], hook: Hook) -> Iterator[tuple[int, tuple[Rule, ...]]]:
    for _, fragment in fragments:
        for each in fragment.hooked:
            if each.hook is hook:
                yield int(each.stage), each.rules


def transaction(wanted: Ruleset, before: Ruleset | None) -> Transaction:
    """The text that turns the table of an earlier ruleset into this one.

    Args:
        wanted: What is to be.
        before: What this process loaded last; ``None``: whatever is there is replaced as a whole.
    """
    table = f"inet {TABLE}"
    head = [f"add table {table}"]
    if before is None:
        head.append(f"delete table {table}")
    else:
        head += [f"flush table {table}", *_clear(wanted, before)]
    head.append(f"table {table} {{")
    return Transaction("\n".join((*head, *wanted.lines, "}", "")), len(head) + 1)


def _clear(wanted: Ruleset, before: Ruleset) -> Iterator[str]:
    stays = {(each.kind, each.name): each for each in wanted.objects}
    table = f"inet {TABLE}"
    collections = [each for each in before.objects if each.kind in ("set", "map")]
    # Maps first: their elements refer to chains and counters.
    for each in collections:
        if not each.kept or stays.get((each.kind, each.name)) != each:
            yield f"flush {each.kind} {table} {each.name}"
    for kind in ("set", "map", "chain", "counter"):
        for each in before.objects:
            if each.kind == kind and stays.get((each.kind, each.name)) != each:
                yield f"delete {each.kind} {table} {each.name}"
