"""From a configuration to the kernel: how long each step takes, beside `nft -f` with the same rules written by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rules_net import Net
from rules_texts import Shape, by_hand, configuration, rule_lines

from appliance.config import Config, syntax
from appliance.config.diff import changed_tables
from appliance.host import ruleset
from appliance.host.discovery import discover
from appliance.host.loading import ConfigLoader
from appliance.host.plugins import Plugins
from appliance.net.ruleset import Ruleset, transaction
from appliance.plugin import Node

FILE_MAX = 64 << 20
NODE = Node(name="fw1")


@contextmanager
def any_size() -> Iterator[None]:
    """Files may be larger than a node reads: it is measured where the limit could be."""
    before = syntax.FILE_MAX_BYTES
    syntax.FILE_MAX_BYTES = max(before, FILE_MAX)
    try:
        yield
    finally:
        syntax.FILE_MAX_BYTES = before


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A file on its way to the kernel."""

    config: Config
    ruleset: Ruleset
    check_s: float
    """Parsed, validated, cross-checked."""
    compile_s: float
    """Services and fragments of all plugins, composed."""


class Compiler:
    """Does with a file what a node does, with all installed plugins and without the node."""

    def __init__(self) -> None:
        self._plugins = Plugins(discover())
        self._loader = ConfigLoader(self._plugins)

    def compile(self, text: str, old: Config | None = None) -> Compiled:
        """The ruleset of a configuration.

        Raises:
            RuntimeError: A plugin failed, or there is no ruleset.
        """
        start = time.perf_counter()
        config = self._loader.strict(text, path="appliance.toml", old=old).config
        checked = time.perf_counter()
        changed_tables(old, config)
        self._plugins.services(config, NODE)
        keeper = ruleset.service(config, self._plugins.fragments(config), self._loader.models())
        composed = time.perf_counter()
        if self._plugins.failures or keeper is None:
            raise RuntimeError(f"no ruleset: {'; '.join(map(str, self._plugins.failures)) or 'nothing in it'}")
        settings = keeper.config
        assert isinstance(settings, ruleset.Settings)
        return Compiled(
            config=config,
            ruleset=settings.ruleset,
            check_s=checked - start,
            compile_s=composed - checked,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One run of one shape and size; seconds."""

    check: float
    compile: float
    first: float
    """nft with the first ruleset."""
    again: float
    """nft with the ruleset in which one rule has changed, in place of the first one."""
    commit: float
    """From the changed file to the kernel: check, compile, nft."""
    hand_first: float
    """nft with the rules as written by hand, into an empty kernel."""
    hand_again: float
    """nft with ``flush ruleset`` and the same rules in one transaction."""
    file_bytes: int
    rules: int
    """Of the composed ruleset, after merging."""


def measure(net: Net, shape: Shape, count: int) -> Load:
    """Both ways, in an empty kernel."""
    text = configuration(shape, count)
    changed = configuration(shape, count, changed=count // 2)
    with any_size():
        compiler = Compiler()
        one = compiler.compile(text)
        net.load("flush ruleset\n")
        first = net.load(transaction(one.ruleset, None).text)
        start = time.perf_counter()
        two = compiler.compile(changed, one.config)
        replacing = transaction(two.ruleset, one.ruleset).text
        prepared = time.perf_counter() - start
        again = net.load(replacing)
    net.load("flush ruleset\n")
    hand_first = net.load(by_hand(rule_lines(shape, count)))
    hand_again = net.load("flush ruleset\n" + by_hand(rule_lines(shape, count, changed=count // 2)))
    net.load("flush ruleset\n")
    return Load(
        check=one.check_s,
        compile=one.compile_s,
        first=first,
        again=again,
        commit=prepared + again,
        hand_first=hand_first,
        hand_again=hand_again,
        file_bytes=len(text),
        rules=one.ruleset.rules,
    )
