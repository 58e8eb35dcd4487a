"""Answers what other parts of the node ask about its configuration: sections to send, sections to receive, changes.

The transforms are in `appliance.config.sections`; this brings them together with the plugins that declare sections.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import trio

from appliance.config import Config, ProvidesInterfaces
from appliance.config.compare import changed_keys
from appliance.config.sections import Data, canonical, digest, merged, present, put, shared, take
from appliance.config.writing import replaced
from appliance.errors import RefusedError
from appliance.events import Request
from appliance.events.config import (
    ApplyConfig,
    CompareSections,
    ConfigState,
    ConfirmConfig,
    GetConfig,
    GetSections,
    Hidden,
    PrepareSections,
    RevertConfig,
    Section,
    SectionChanges,
)
from appliance.host.garbage import uncollected
from appliance.plugin.contributions import Mirror, SyncSection

if TYPE_CHECKING:
    from appliance.bus import EventBus
    from appliance.host.plugins import Plugins
    from appliance.host.reload import Reloader

SOURCE = "node"
KNOWN_MAX = 8
"""Receivers whose sections are kept: more than a cluster has."""


@dataclass(slots=True)
class _Known:
    """What was made of one configuration: looks at it come often, changes seldom."""

    config: Config
    data: Mapping[str, Any]
    sections: dict[str, tuple[Section, ...]] = field(default_factory=dict)
    """By the receiver they were made for."""


class Sharing:
    """The configuration of one node as seen from its services."""

    def __init__(self, bus: EventBus, plugins: Plugins, reloader: Reloader) -> None:
        self._bus, self._plugins, self._reloader = bus, plugins, reloader
        self._known: _Known | None = None
        self._prepared: tuple[str, Config] | None = None

    @cached_property
    def _schemas(self) -> Mapping[str, str]:
        """Plugins and their models stay the same as long as the process runs; the digests take 40 ms."""
        return {name: digest(table.model.model_json_schema()) for name, table in self._plugins.tables().items()}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer requests while the block lasts."""
        with ExitStack() as stack:
            stack.enter_context(self._bus.serve(GetConfig, self._state, source=SOURCE))
            stack.enter_context(self._bus.serve(GetSections, self._sections, source=SOURCE))
            stack.enter_context(self._bus.serve(CompareSections, self._compare, source=SOURCE))
            stack.enter_context(self._bus.serve(PrepareSections, self._prepare, source=SOURCE))
            stack.enter_context(self._bus.serve(ApplyConfig, self._apply, source=SOURCE))
            stack.enter_context(self._bus.serve(ConfirmConfig, self._confirm, source=SOURCE))
            stack.enter_context(self._bus.serve(RevertConfig, self._revert, source=SOURCE))
            yield

    # --- looking -------------------------------------------------------------------------------------------

    async def _state(self, _: Request[ConfigState]) -> ConfigState:
        config = self._reloader.config
        return ConfigState(
            revision=self._reloader.revision,
            text=Hidden(config.text),
            unconfirmed_s=self._reloader.unconfirmed_s,
            addresses=own_addresses(config),
            schemas=self._schemas,
        )

    async def _sections(self, asked: Request[tuple[Section, ...]]) -> tuple[Section, ...]:
        assert isinstance(asked, GetSections)
        return await self._sections_for(asked.receiver, asked.rank)

    async def _compare(self, asked: Request[tuple[SectionChanges, ...]]) -> tuple[SectionChanges, ...]:
        assert isinstance(asked, CompareSections)
        ours = {each.name: each for each in await self._sections_for(asked.receiver, asked.rank)}
        theirs: Mapping[str, Data] = asked.theirs.value
        pairs = [(name, data, ours[name].data.value) for name, data in theirs.items() if name in ours]
        return await trio.to_thread.run_sync(_changes, pairs, self._reloader.models(), asked.keys_max)

    async def _sections_for(self, receiver: Mapping[str, tuple[str, ...]] | None, rank: int) -> tuple[Section, ...]:
        config, models = self._reloader.config, self._reloader.models()
        mirror = None
        if receiver is not None:
            mirror = Mirror(sender=own_addresses(config), receiver=receiver, rank=rank)
        key = "" if mirror is None else repr(mirror)
        known = self._known_of(config)
        if key not in known.sections:
            # A large configuration takes a second, which the node's loop does not have.
            declared = self._plugins.sync_sections()
            made = await trio.to_thread.run_sync(_sections_of, known.data, declared, models, mirror)
            if len(known.sections) >= KNOWN_MAX:
                known.sections.clear()
            known.sections[key] = made
        return known.sections[key]

    def _known_of(self, config: Config) -> _Known:
        if self._known is None or self._known.config is not config:
            self._known = _Known(config, self._reloader.data)
        return self._known

    # --- changing ------------------------------------------------------------------------------------------

    async def _prepare(self, asked: Request[Hidden]) -> Hidden:
        assert isinstance(asked, PrepareSections)
        config, models = self._reloader.config, self._reloader.models()
        declared = {section.name: section for _, section in self._plugins.sync_sections()}
        received: Mapping[str, Data] = asked.sections.value
        unknown = [name for name in received if name not in declared]
        if unknown:
            raise RefusedError(
                f"this node knows no section {', '.join(map(repr, unknown))}",
                hint=f"Install the plugin that declares it here too; known: {', '.join(sorted(declared))}.",
            )
        chosen = [(declared[name], part) for name, part in received.items()]
        with uncollected():
            before = self._reloader.data
            text, data = await trio.to_thread.run_sync(_with_sections, config.text, before, chosen, models)
            await self._reloader.check(text, data=data)
        self._prepared = (text, config)
        return Hidden(text)

    async def _apply(self, asked: Request[int]) -> int:
        assert isinstance(asked, ApplyConfig)
        text, prepared = asked.text.value, self._prepared
        report = await self._reloader.apply(
            text,
            comment=asked.comment,
            who=asked.who,
            confirm_within_s=asked.confirm_within_s,
            # What is not in the sections is as it was when they were put in: a commit since then must not be lost.
            base=prepared[1] if prepared is not None and prepared[0] == text else None,
        )
        return report.revision

    async def _confirm(self, asked: Request[int]) -> int:
        assert isinstance(asked, ConfirmConfig)
        self._refuse_unless_in_force(asked.revision)
        return (await self._reloader.confirm(who=asked.who)).revision

    async def _revert(self, asked: Request[int]) -> int:
        assert isinstance(asked, RevertConfig)
        self._refuse_unless_in_force(asked.revision)
        return (await self._reloader.revert(who=asked.who)).revision

    def _refuse_unless_in_force(self, revision: int) -> None:
        if revision != self._reloader.revision:
            raise RefusedError(
                f"revision {revision} is not in force, revision {self._reloader.revision} is",
                hint="The change was taken back, or another one followed; send it again.",
            )


def _sections_of(
    data: Mapping[str, Any], declared: list[tuple[str, SyncSection]], models: Mapping[str, Any], mirror: Mirror | None
) -> tuple[Section, ...]:
    found = []
    for owner, section in declared:
        part = present(data, section.keys, models) | shared(take(data, section.keys), models)
        if mirror is not None:
            part = dict(section.outbound(part, mirror))
        found.append(Section(name=section.name, owner=owner, digest=digest(part), data=Hidden(part)))
    return tuple(found)


def _changes(
    pairs: list[tuple[str, Data, Data]], models: Mapping[str, Any], keys_max: int
) -> tuple[SectionChanges, ...]:
    found = []
    for name, theirs, ours in pairs:
        # Theirs came as canonical JSON, where a time of TOML is a text.
        keys = tuple(islice(changed_keys(theirs, json.loads(canonical(ours)), models), keys_max + 1))
        found.append(SectionChanges(name=name, keys=keys[:keys_max], more=len(keys) > keys_max))
    return tuple(found)


def own_addresses(config: Config) -> dict[str, tuple[str, ...]]:
    """This node's own addresses by logical interface."""
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    return {name: tuple(str(address) for address in each.addresses) for name, each in known.items()}


def _with_sections(
    text: str, data: Mapping[str, Any], chosen: list[tuple[SyncSection, Data]], models: Mapping[str, Any]
) -> tuple[str, Data]:
    """The text of this node with these sections of another one in it, and what it says."""
    new: Mapping[str, Any] = data
    for section, part in chosen:
        if shared(part, models) != part:
            raise RefusedError(
                f"the section {section.name!r} holds what belongs to one node alone (nosync, or a local key)",
                hint="Run the same version and the same plugins on both nodes.",
            )
        own = take(new, section.keys)
        new = put(new, section.keys, merged(take(part, section.keys), own, models))
    names = dict.fromkeys(key[0] for section, _ in chosen for key in section.keys)
    # One that is empty now is there if it was sent so, and gone if not.
    sent = {name for _, part in chosen for name in part}
    tables = {name: new.get(name) or ({} if name in sent else None) for name in names}
    return replaced(text, tables, data, keeps_layout=False)
