"""The firewall's part of the ruleset. Pure.

Chains, all of them asked for the first packet of a connection only:

- ``fw_in``, from INPUT and FORWARD: floating rules, then ``fw_in_NAME`` of the interface the packet came in at.
- ``fw_out``, from OUTPUT, and from FORWARD before ``fw_in``: the same for the device by which it leaves. A pass there
  only means that no later `out` rule is asked.
- ``fw_policy_NAME``, from POLICY: the `in` rules of the interface up to the last one with a gateway. The rule that
  decides about a packet in the filter is the one that chooses its gateway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.config import Config
from appliance.plugin import Chain, Fragment, Hook, Hooked, Rule, Set, Stage
from appliance.plugin.ruleset import KeyPath
from appliance_firewall import identity
from appliance_firewall.aliases import Ranges, collapse, range_text
from appliance_firewall.automatic import Automatic, automatic, invalid, lockout, unroutable_sets
from appliance_firewall.config import FirewallConfig, RuleTable
from appliance_firewall.expand import Conditions
from appliance_firewall.matching import LIMIT, Condition, Field, Step, log_text, texts
from appliance_firewall.merge import Lookup, lookup_sets, lookup_text, merge
from appliance_firewall.reading import Meaning, Reading, reading_of
from appliance_firewall.resolve import World

REJECT = "fw_reject"
IN_VERDICTS = {"pass": "accept", "block": "drop", "reject": f"goto {REJECT}"}
OUT_VERDICTS = IN_VERDICTS | {"pass": "return"}


class Active(NamedTuple):
    """A rule that is not disabled."""

    rule: RuleTable
    meaning: Meaning
    counter: str
    origin: KeyPath


def active_rules(table: FirewallConfig, reading: Reading) -> tuple[Active, ...]:
    """All rules that are not disabled, in file order."""
    each = zip(table.rule, reading.meanings, reading.counters, strict=True)
    return tuple(
        Active(rule, meaning, counter, ("firewall", "rule", index))
        for index, (rule, meaning, counter) in enumerate(each)
        if not rule.disabled
    )


def floating_steps(rules: Iterable[Active], world: World, direction: str) -> tuple[Step, ...]:
    """Rules of several or all interfaces."""
    return tuple(
        step
        for active in rules
        if active.rule.direction == direction and active.meaning.is_floating
        for step in _steps(active, _device_condition(active.rule, world))
    )


def interface_steps(rules: Iterable[Active], direction: str) -> Mapping[str, tuple[Step, ...]]:
    """Rules of one interface only, by its name."""
    found: dict[str, list[Step]] = {}
    for active in rules:
        if active.rule.direction == direction and not active.meaning.is_floating:
            found.setdefault(active.meaning.interfaces[0], []).extend(_steps(active, ()))
    return {name: tuple(steps) for name, steps in found.items()}


def policy_steps(rules: Iterable[Active], interface: str, world: World) -> tuple[Step, ...]:
    """What chooses the gateway of connections that come in at an interface; empty when no rule does."""
    mine = [
        active
        for active in _in_order(rules)
        if active.rule.direction == "in"
        and (interface in active.meaning.interfaces or "any" in active.meaning.interfaces)
    ]
    while mine and not mine[-1].rule.gateway:
        mine.pop()
    chains = world.policies or {}
    return tuple(
        Step(
            conditions=conditions,
            verdict=f"goto {chains[active.rule.gateway]}" if active.rule.gateway in chains else "return",
            origin=active.origin,
        )
        for active in mine
        for conditions in active.meaning.matches
    )


def _in_order(rules: Iterable[Active]) -> Iterator[Active]:
    listed = tuple(rules)
    yield from (active for active in listed if active.meaning.is_floating)
    yield from (active for active in listed if not active.meaning.is_floating)


def _device_condition(rule: RuleTable, world: World) -> Conditions:
    if "any" in rule.interfaces:
        return ()
    known = [name for name in rule.interfaces if name in world.interfaces]
    if rule.direction == "in":
        devices = [device for name in known for device in world.devices(name)]
        return (Condition(Field.DEVICE_IN, names=tuple(dict.fromkeys(devices))),)
    devices = [world.interfaces[name].device for name in known]
    return (Condition(Field.DEVICE_OUT, names=tuple(dict.fromkeys(devices))),)


def _steps(active: Active, where: Conditions) -> Iterator[Step]:
    rule = active.rule
    verdicts = IN_VERDICTS if rule.direction == "in" else OUT_VERDICTS
    for conditions in active.meaning.matches:
        yield Step(
            conditions=where + conditions,
            verdict=verdicts[rule.action],
            counter=active.counter,
            log=identity.log_prefix(active.counter, rule.action) if rule.log else "",
            origin=active.origin,
        )


@dataclass(slots=True)
class _Builder:
    """Chains and sets in the making."""

    world: World
    chains: list[Chain] = field(default_factory=list)
    sets: dict[str, Set] = field(default_factory=dict)

    def pool(self, what: Field, ranges: Ranges, sets: tuple[str, ...]) -> str:
        """A set of all of this, shared by all rules that have the same."""
        whole = collapse([*ranges, *(each for name in sets for each in self._contents(name))])
        digest = hashlib.blake2s(repr((what.key, whole)).encode(), digest_size=6).hexdigest()
        name = f"fw_set_{digest}"
        if name not in self.sets:
            elements = tuple(range_text(what.version, each) for each in whole)
            self.sets[name] = Set(name=name, key=what.key, flags="interval", elements=elements)
        return name

    def _contents(self, set_name: str) -> Ranges:
        alias, _, which = set_name.removeprefix("alias_").rpartition("_")
        resolved = self.world.aliases[alias]
        return resolved.ports if which == "port" else resolved.of(int(which[1:]))

    def chain(
        self, name: str, steps: Sequence[Step], *, head: tuple[str, ...] = (), tail: tuple[str, ...] = ()
    ) -> None:
        """A chain of these steps, merged where they are of one shape."""
        rules = [Rule(text=line) for line in head]
        for number, step in enumerate(merge(steps)):
            if isinstance(step, Lookup):
                tag = f"{name.removeprefix('fw_')}_{number}"
                self.sets |= {each.name: each for each in lookup_sets(step, tag)}
                rules.append(Rule(text=lookup_text(step, tag, self.pool), origin=step.origin))
            else:
                rules += [Rule(text=line, origin=step.origin) for line in texts(step, self.pool)]
        self.chains.append(Chain(name=name, rules=(*rules, *(Rule(text=line) for line in tail))))


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What becomes of the rules of an operator."""

    has_in: bool
    has_out: bool
    policies: tuple[str, ...]
    chains: tuple[Chain, ...]
    sets: tuple[Set, ...]
    counters: tuple[str, ...]


@dataclass(slots=True)
class Compiler:
    """Compiles the rules again only when they do something else than before: most commits change other things."""

    _last: tuple[Reading, _Compiled] | None = None

    def fragment(self, config: Config, reading: Reading) -> Fragment:
        """Everything the firewall contributes.

        Args:
            config: With a ``[firewall]`` table.
            reading: Its rules.
        """
        if self._last is None or not _is_same(self._last[0], reading):
            self._last = reading, _compiled(active_rules(config[FirewallConfig], reading), reading.world)
        return _fragment(config, reading.world, self._last[1])


def _is_same(before: Reading, reading: Reading) -> bool:
    # What is in an alias is compiled, too, where a rule has it beside other addresses.
    return before.says_the_same(reading) and before.world.aliases == reading.world.aliases


def fragment(config: Config, reading: Reading | None = None) -> Fragment:
    """As `Compiler.fragment`, as if for the first time; `reading`: its rules, when they have been read."""
    return Compiler().fragment(config, reading or reading_of(config))


def _compiled(rules: Sequence[Active], world: World) -> _Compiled:
    builder = _Builder(world)
    builder.chains.append(Chain(name=REJECT, rules=_REJECT_RULES))
    return _Compiled(
        has_in=_direction(builder, rules, "in"),
        has_out=_direction(builder, rules, "out"),
        policies=_policies(builder, rules),
        chains=tuple(builder.chains),
        sets=tuple(builder.sets.values()),
        counters=tuple(active.counter for active in rules),
    )


def _fragment(config: Config, world: World, rules: _Compiled) -> Fragment:
    table = config[FirewallConfig]
    own = automatic(config, world)
    first = lockout(table, world)
    hooked = [
        *_never(first),
        *_state(own),
        *(_of(own, hook, Stage.AUTOMATIC) for hook in (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT)),
        *_user(has_in=rules.has_in, has_out=rules.has_out, policies=rules.policies),
        *_default(table),
    ]
    counters = [identity.INVALID, identity.DEFAULT_IN, identity.DEFAULT_FORWARD]
    counters += [each.counter for each in (*([first] if first else []), *own)]
    return Fragment(
        hooked=tuple(each for each in hooked if each.rules),
        chains=rules.chains,
        sets=(*_alias_sets(table), *_schedule_sets(table), *unroutable_sets(table), *rules.sets),
        counters=(*counters, *rules.counters),
    )


_REJECT_RULES = (
    Rule(text="meta l4proto 6 reject with tcp reset"),
    Rule(text="reject with icmpx admin-prohibited"),
)


def _direction(builder: _Builder, rules: Sequence[Active], direction: str) -> bool:
    """``fw_in`` or ``fw_out`` with the chains of interfaces below it; whether there is any rule."""
    world = builder.world
    floating = floating_steps(rules, world, direction)
    jumps = []
    for name, steps in interface_steps(rules, direction).items():
        if name not in world.interfaces or not steps:
            continue
        chain = f"fw_{direction}_{name}"
        builder.chain(chain, steps)
        devices = world.devices(name) if direction == "in" else (world.interfaces[name].device,)
        jumps += [f'"{device}" : goto {chain}' for device in devices]
    if not floating and not jumps:
        return False
    device = "iifname" if direction == "in" else "oifname"
    builder.chain(f"fw_{direction}", floating, tail=(f"{device} vmap {{ {', '.join(jumps)} }}",) if jumps else ())
    return True


_NOT_ELSEWHERE = (
    "ct state != new return",
    "fib daddr type != unicast return",
    "ip daddr @local_v4 return",
    "ip6 daddr @local_v6 return",
)
"""What never leaves by a gateway, whatever the rules say."""


def _policies(builder: _Builder, rules: Sequence[Active]) -> tuple[str, ...]:
    """The chains that choose gateways, as elements of the map that leads to them."""
    jumps: list[str] = []
    if not any(active.rule.gateway for active in rules):
        return ()
    for name in builder.world.interfaces:
        steps = policy_steps(rules, name, builder.world)
        if steps:
            builder.chain(f"fw_policy_{name}", steps, head=_NOT_ELSEWHERE)
            jumps += [f'"{device}" : jump fw_policy_{name}' for device in builder.world.devices(name)]
    return tuple(jumps)


def _never(first: Automatic | None) -> Iterator[Hooked]:
    yield _hooked(
        Hook.INPUT, Stage.NEVER, 'iifname "lo" accept', *(line.text for line in (first.lines if first else ()))
    )
    yield _hooked(Hook.OUTPUT, Stage.NEVER, 'oifname "lo" accept')


def _state(own: Sequence[Automatic]) -> Iterator[Hooked]:
    known = "ct state vmap { established : accept, related : accept }"
    for hook in (Hook.INPUT, Hook.FORWARD):
        before = _of(own, hook, Stage.STATE).rules
        last = [Rule(text=line.text) for line in invalid().lines if line.hook is hook]
        yield Hooked(hook=hook, stage=Stage.STATE, rules=(Rule(text=known), *before, *last))
    yield _hooked(Hook.OUTPUT, Stage.STATE, known)


def _user(*, has_in: bool, has_out: bool, policies: tuple[str, ...]) -> Iterator[Hooked]:
    jump_in = ["jump fw_in"] if has_in else []
    jump_out = ["jump fw_out"] if has_out else []
    yield _hooked(Hook.INPUT, Stage.USER, *jump_in)
    yield _hooked(Hook.FORWARD, Stage.USER, *jump_out, *jump_in)
    yield _hooked(Hook.OUTPUT, Stage.USER, *jump_out)
    if policies:
        yield _hooked(Hook.POLICY, Stage.USER, f"iifname vmap {{ {', '.join(policies)} }}")


def _default(table: FirewallConfig) -> Iterator[Hooked]:
    for hook, counter in ((Hook.INPUT, identity.DEFAULT_IN), (Hook.FORWARD, identity.DEFAULT_FORWARD)):
        log = [f"{LIMIT} {log_text(identity.log_prefix(counter, 'block'))}"] if table.log_default else []
        yield _hooked(hook, Stage.DEFAULT, *log, f"counter name {counter} drop")


def _of(own: Iterable[Automatic], hook: Hook, stage: Stage) -> Hooked:
    rules = tuple(
        Rule(text=line.text, origin=each.origin)
        for each in own
        for line in each.lines
        if line.hook is hook and line.stage is stage
    )
    return Hooked(hook=hook, stage=stage, rules=rules)


def _hooked(hook: Hook, stage: Stage, *texts: str) -> Hooked:
    return Hooked(hook=hook, stage=stage, rules=tuple(Rule(text=text) for text in texts))


def _alias_sets(table: FirewallConfig) -> Iterator[Set]:
    for name, resolved in table.resolution[0].items():
        origin = ("firewall", "alias", name)
        kinds = ((0, "port"),) if resolved.kind == "ports" else ((4, "v4"), (6, "v6"))
        for version, which in kinds:
            ranges = resolved.of(version) if version else resolved.ports
            yield Set(
                name=f"alias_{name}_{which}",
                key={0: "inet_service", 4: "ipv4_addr", 6: "ipv6_addr"}[version],
                flags="interval",
                elements=tuple(range_text(version, numbers) for numbers in ranges),
                origin=origin,
            )


def _schedule_sets(table: FirewallConfig) -> Iterator[Set]:
    for name, schedule in table.schedules().items():
        yield Set(name=schedule.set_name, key="nf_proto", origin=("firewall", "schedule", name), kept=True)
