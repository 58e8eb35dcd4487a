"""Changes the configuration of a running node as a transaction: everything, or what was there before.

load → cross-checks → plan of services → `Supervisor.apply` → file and history. Whatever fails on the way,
the old services are applied again and the reason is published. A change may be *confirmed*: until then the
file on disk stays the old one, so that neither the clock running out nor a reboot needs anybody's help.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import trio

from appliance.config.diff import changed_tables, text_diff
from appliance.config.history import Revision
from appliance.config.loader import Loaded
from appliance.config.model import Config, Model
from appliance.config.redact import redact
from appliance.config.syntax import parse
from appliance.errors import ApplianceError, ConfigError, Problem, RefusedError, UsageError
from appliance.events import Alarm, ConfigApplied, ConfigRefused, Health
from appliance.host.alarms import SOURCE, PluginAlarms
from appliance.host.garbage import uncollected
from appliance.host.loading import ConfigLoader
from appliance.host.planning import Planner
from appliance.host.plugins import PluginService
from appliance.host.risks import identity_changes, refuse_risks, ways_lost
from appliance.host.supervisor import AppliedServices

if TYPE_CHECKING:
    from appliance.bus import EventBus
    from appliance.host.plugins import Plugins
    from appliance.host.store import ConfigStore
    from appliance.host.supervisor import Supervisor
    from appliance.plugin import Logger, Node

APPLY_MAX_S = 120.0
"""A change may take this long although its caller has gone away. The supervisor's own deadlines are below."""
CONFIRM_MAX_S = 3600.0
"""Longest time to confirm a change: who needs more than an hour has forgotten it."""
REASON_MAX = 2000
"""Characters of a refusal that go into its event; the caller gets all of it."""
ROLLBACK_ALARM = "config/rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport:
    """What a change did."""

    revision: int
    """The revision now in force."""
    changed: bool
    """Whether there was anything to do."""
    tables: tuple[str, ...] = ()
    """Tables that mean something else than before."""
    services: AppliedServices = field(default_factory=AppliedServices)
    warnings: tuple[str, ...] = ()
    confirm_within_s: float | None = None
    """It rolls back by itself after this time unless it is confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """A configuration in force, with all that is needed to bring it back."""

    config: Config
    wanted: tuple[PluginService, ...]
    revision: int
    data: Mapping[str, Any]
    """What its text says."""
    is_complete: bool
    """No plugin was left out because its table was refused at start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """A change that waits to be confirmed."""

    before: _Running
    within_s: float
    deadline: float
    settled: trio.Event
    """It needs no watching any more."""


class Reloader:
    """The one place that changes the configuration of a node; one change at a time."""

    def __init__(
        self,
        *,
        bus: EventBus,
        plugins: Plugins,
        supervisor: Supervisor,
        store: ConfigStore,
        node: Node,
        log: Logger,
    ) -> None:
        self._bus, self._plugins, self._supervisor = bus, plugins, supervisor
        self._store, self._log = store, log
        self._loader = ConfigLoader(plugins)
        self._planner = Planner(plugins, node, log)
        self._alarms = PluginAlarms(bus, plugins)
        self._lock = trio.Lock()
        self._running: _Running | None = None
        self._pending: _Pending | None = None
        self._nursery: trio.Nursery | None = None
        self._closed: str | None = None
        self._checked: tuple[str, Config, Loaded] | None = None
        self._rollback_failed = False
        self._found = ""  # the text a node began with, before its tables were migrated

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._in_force.config

    @property
    def data(self) -> Mapping[str, Any]:
        """What its text says."""
        return self._in_force.data

    @property
    def revision(self) -> int:
        """Its number."""
        return self._in_force.revision

    @property
    def unconfirmed_s(self) -> float | None:
        """Seconds until the change in force rolls back by itself; ``None`` when it is there to stay."""
        if self._pending is None:
            return None
        return max(0.0, self._pending.deadline - trio.current_time())

    @property
    def _in_force(self) -> _Running:
        assert self._running is not None, "Reloader.begin() has not been called"
        return self._running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch over changes that wait to be confirmed, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def close(self, reason: str) -> None:
        """Accept no more changes; one that is under way ends when the supervisor stops."""
        self._closed = reason

    # --- the first configuration --------------------------------------------------------------------

    def load_first(self, text: str, *, path: str) -> Config:
        """Load the configuration a node starts with; a wrong table costs its own plugin only.

        What a newer system wrote stays where it is, for when that one starts again; this one goes on with the newest
        revision that it can read.

        Raises:
            ConfigError: The file or one of the core tables is unusable.
        """
        self._found, loaded = self._loader.first(text, path=path, history=self._store.history, log=self._log)
        self._running = _Running(
            config=loaded.config,
            wanted=(),
            revision=0,
            data=loaded.data,
            is_complete=not loaded.refused and not loaded.warnings,
        )
        return loaded.config

    async def begin(self) -> None:
        """Start the services of the first configuration and record it, if it is new.

        A service that does not come up is the supervisor's business: it stays supervised, and the others run.
        """
        first = self._in_force
        wanted = self._plan(first.config, strict=False)
        try:
            await self._supervisor.apply(wanted)
        except ApplianceError as error:
            self._log.error("services_incomplete", error=error.message)
        revision = await self._store.record_start(self._found, first.config.text)
        self._running = replace(first, wanted=wanted, revision=revision.number)
        self._announce(changed_tables(None, first.config), who="node", comment="start")

    # --- changes --------------------------------------------------------------------------------------

    async def apply(
        self, text: str, *, comment: str, who: str, confirm_within_s: float | None = None, base: Config | None = None
    ) -> ApplyReport:
        """Make this text the configuration of the node and, once it is there to stay, of its file.

        With `base`, the one that the text was made from, another one in force is not overwritten.

        Raises:
            ConfigError: The text is wrong; nothing was changed.
            ApplianceError: It could not be applied; the old configuration is in force again.
            RefusedError: Another change waits to be confirmed, or has replaced `base`.
        """
        async with self._exclusively():
            self._refuse_while_pending()
            if base is not None and base is not self.config:
                raise RefusedError(
                    f"the configuration was changed meanwhile: revision {self.revision} is in force",
                    hint="Make the change again from this revision.",
                )
            return await self._change(text, comment=comment, who=who, confirm_within_s=confirm_within_s)

    async def reload_file(
        self, *, who: str = "node", comment: str = "reload of the file", confirm_within_s: float | None = None
    ) -> ApplyReport:
        """As `apply`, with the text of the configuration file."""
        async with self._exclusively():
            self._refuse_while_pending()
            try:
                text = self._store.read()
            except ConfigError as error:
                self._publish_refusal(error)
                raise
            return await self._change(text, comment=comment, who=who, confirm_within_s=confirm_within_s)

    async def rollback(
        self, number: int, *, who: str, comment: str = "", confirm_within_s: float | None = None
    ) -> ApplyReport:
        """As `apply`, with the text of a revision; also ends waiting for a confirmation."""
        async with self._exclusively():
            _, text = self._store.history.read(number)
            comment = comment or f"rollback to revision {number}"
            waiting = self._pending
            report = await self._change(text, comment=comment, who=who, confirm_within_s=confirm_within_s)
            if waiting is not None:
                waiting.settled.set()
                if self._pending is waiting:  # not replaced by a new one
                    self._pending = None
            return report

    async def confirm(self, *, who: str) -> ApplyReport:
        """Keep the change that waits to be confirmed.

        Raises:
            RefusedError: None waits.
        """
        async with self._exclusively():
            pending = self._pending
            if pending is None:
                raise RefusedError("no change waits to be confirmed", hint="See `appliance config history`.")
            await self._store.write(self.config.text, known=(pending.before.config.text, self._found))
            self._pending = None
            pending.settled.set()
            self._log.info("config_confirmed", revision=self.revision, who=who)
            return ApplyReport(revision=self.revision, changed=False)

    async def revert(self, *, who: str) -> ApplyReport:
        """Take the change back that waits to be confirmed, now and not when its time is over.

        Raises:
            RefusedError: None waits.
        """
        async with self._exclusively():
            pending = self._pending
            if pending is None:
                raise RefusedError("no change waits to be confirmed", hint="See `appliance config history`.")
            await self._take_back(pending, f"revision {self.revision} was taken back by {who}")
            pending.settled.set()
            return ApplyReport(revision=self.revision, changed=True)

    # --- looking ----------------------------------------------------------------------------------------

    def history(self) -> tuple[Revision, ...]:
        """All revisions that are kept, oldest first."""
        return self._store.history.revisions()

    def models(self) -> dict[str, type[Model]]:
        """The models of all known tables by table name."""
        return self._loader.models()

    async def check(self, text: str, *, data: dict[str, Any] | None = None) -> tuple[str, ...]:
        """Whether `apply` would take this text; its warnings. Waits for the end of a change that is under way.

        Args:
            text: A candidate.
            data: What it says, if that is known.

        Raises:
            ConfigError: It would not.
        """
        async with self._lock:  # a change has enabled the plugins of its own text, which this would take back
            before = self._in_force
            try:
                loaded = self._load(text, before, data)
            finally:
                self._plugins.enable(self.config)
            self._checked = (text, before.config, loaded)
            return (*loaded.warnings, *loaded.risks)

    def shown(self) -> str:
        """The text in force without its secrets."""
        return redact(self.config.text, self._loader.models())

    def diff(self, a: int | None = None, b: int | None = None) -> str:
        """A unified diff from revision `a` to `b` without secrets, or from what is in force to the file."""
        old, old_name = self._named(a)
        new, new_name = self._named(b)
        if a is None and b is None:
            new, new_name = self.text_of(None), str(self._store.path)
            parse(new, new_name)
        return text_diff(old, new, self._loader.models(), old_name=old_name, new_name=new_name)

    def text_of(self, number: int | None) -> str:
        """The text of a revision or, without a number, of the file. With its secrets; refused when it is missing."""
        return self._store.read() if number is None else self._store.history.read(number)[1]

    def _named(self, number: int | None) -> tuple[str, str]:
        if number is None:
            return self.config.text, f"revision {self.revision} (in force)"
        return self.text_of(number), f"revision {number}"

    # --- the transaction ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _exclusively(self) -> AsyncIterator[None]:
        async with self._lock:
            if self._closed is not None:
                raise RefusedError(f"the node is stopping: {self._closed}", hint="Try again when it runs again.")
            # A client that goes away must not leave half of a change behind. Each step below has its own
            # deadline (to apply, and to apply the old list again); this one only bounds them all.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 3 * APPLY_MAX_S) as scope:
                yield
            if scope.cancelled_caught:
                raise ApplianceError(
                    f"the change did not end within {3 * APPLY_MAX_S:.0f} s, and was broken off",
                    hint="See `appliance show services` for what hangs; restart the node if it stays.",
                )

    def _refuse_while_pending(self) -> None:
        if self._pending is not None:
            raise RefusedError(
                f"revision {self.revision} waits to be confirmed for another {self.unconfirmed_s:.0f} s",
                hint="First `appliance config confirm`, or `appliance config rollback N`.",
            )

    async def _change(self, text: str, *, comment: str, who: str, confirm_within_s: float | None) -> ApplyReport:
        before = self._in_force
        if confirm_within_s is not None and not 0 < confirm_within_s <= CONFIRM_MAX_S:
            hint = f"Give seconds, more than 0 and at most {CONFIRM_MAX_S:.0f}."
            raise UsageError(f"{confirm_within_s:g} s is no time to confirm a change", hint=hint)
        if before.is_complete and self._loader.as_read(text) == before.config.text:
            await self._store.write(text)
            return ApplyReport(revision=before.revision, changed=False, services=_all_unchanged(before))
        kept = text if confirm_within_s is None else before.config.text
        try:
            loaded = self._load(text, before)
            if confirm_within_s is None and not self._goes_back(text):
                refuse_risks(loaded, lambda: self._plugins.enable(before.config))
            tables = changed_tables(before.config, loaded.config)
            after, services = await self._switch(before, loaded, bool(tables), kept=kept, comment=comment, who=who)
        except ApplianceError as error:
            self._publish_refusal(error)
            raise
        self._running = after
        self._plugins.forgive()
        self._announce(tables, who=who, comment=comment)
        if confirm_within_s is not None:
            self._await_confirmation(before, confirm_within_s)
        return ApplyReport(
            revision=after.revision,
            changed=True,
            tables=tables,
            services=services,
            warnings=(*loaded.warnings, *loaded.risks),
            confirm_within_s=confirm_within_s,
        )

    def _goes_back(self, text: str) -> bool:
        """Whether this is what was in force before the change that waits: nothing is less of a risk."""
        return self._pending is not None and text == self._pending.before.config.text

    def _load(self, text: str, before: _Running, data: dict[str, Any] | None = None) -> Loaded:
        if self._checked is not None and self._checked[0] == text and self._checked[1] is before.config:
            loaded, self._checked = self._checked[2], None  # by `check`, a moment ago
            self._plugins.enable(loaded.config)
            return loaded

        def compared(config: Config) -> list[Problem]:
            return [*identity_changes(before.config, config), *ways_lost(before.config, config)]

        old, path = before.config, str(self._store.path)
        with uncollected():
            return self._loader.strict(text, path=path, old=old, rule=compared, data=data, old_data=before.data)

    async def _switch(
        self, before: _Running, loaded: Loaded, is_different: bool, *, kept: str, comment: str, who: str
    ) -> tuple[_Running, AppliedServices]:
        """Services, file and history, or all of them as before."""
        wanted, services = before.wanted, _all_unchanged(before)
        replaced: str | None = None
        try:
            if is_different or not before.is_complete:
                with uncollected():
                    wanted = self._plan(loaded.config, strict=True)
                    services = await self._apply(wanted)
            replaced = await self._store.write(kept, known=(before.config.text, loaded.config.text, self._found))
            revision = await self._store.record(loaded.config.text, comment=comment, who=who)
        except Exception:  # whatever it is: half of a change is worse than none
            await self._restore(before)
            if replaced is not None:
                await self._store.write(replaced)
            raise
        after = _Running(
            config=loaded.config, wanted=wanted, revision=revision.number, data=loaded.data, is_complete=True
        )
        return after, services

    def _plan(self, config: Config, *, strict: bool) -> tuple[PluginService, ...]:
        return self._planner.plan(config, self._loader.models(), strict=strict)

    async def _apply(self, wanted: tuple[PluginService, ...]) -> AppliedServices:
        with trio.move_on_after(APPLY_MAX_S):
            return await self._supervisor.apply(wanted)
        raise ApplianceError(
            f"the services did not change within {APPLY_MAX_S:.0f} s",
            hint="See `appliance show services` for the one that hangs.",
        )

    async def _restore(self, before: _Running) -> None:
        """Bring a configuration back that ran before."""
        self._plugins.enable(before.config)
        try:
            await self._apply(before.wanted)
        except ApplianceError as error:
            if self._closed is None:
                self._log.error("rollback_incomplete", error=error.message)
                self._alarm_about_rollback(active=True, what=f"after a refused change: {error.message}")

    def _alarm_about_rollback(self, *, active: bool, what: str) -> None:
        self._rollback_failed = active
        fix = "See `appliance show services`; correct the cause, or restart the node."
        alarm = Alarm(key=ROLLBACK_ALARM, active=active, health=Health.FAIL, what=what, fix=fix)
        self._bus.publish(alarm, source=SOURCE)

    def _announce(self, tables: tuple[str, ...], *, who: str, comment: str) -> None:
        """Tell everybody what is in force now."""
        if self._rollback_failed:
            self._alarm_about_rollback(active=False, what="a later change was applied")
        self._alarms.update(self.config)
        self._bus.publish(ConfigApplied(revision=self.revision, tables=tables, who=who), source=SOURCE)
        self._log.info("config_applied", revision=self.revision, who=who, comment=comment, tables=list(tables))

    def _publish_refusal(self, error: ApplianceError) -> None:
        self._alarms.update(self.config)
        self._bus.publish(ConfigRefused(reason=error.message[:REASON_MAX]), source=SOURCE)
        self._log.warning("config_refused", reason=error.message[:REASON_MAX])

    # --- confirmation ---------------------------------------------------------------------------------

    def _await_confirmation(self, before: _Running, within_s: float) -> None:
        assert self._nursery is not None, "Reloader.run() has to be started first"
        deadline = trio.current_time() + within_s
        self._pending = _Pending(before=before, within_s=within_s, deadline=deadline, settled=trio.Event())
        self._nursery.start_soon(self._revert_unless_confirmed, self._pending)

    async def _revert_unless_confirmed(self, pending: _Pending) -> None:
        with trio.move_on_at(pending.deadline):
            await pending.settled.wait()
        async with self._lock:
            if self._pending is not pending or self._closed is not None:
                return
            comment = f"revision {self.revision} was not confirmed within {pending.within_s:g} s"
            await self._take_back(pending, comment)

    async def _take_back(self, pending: _Pending, comment: str) -> None:
        self._pending = None
        old, before = self.config, pending.before
        await self._restore(before)
        number = before.revision
        try:
            number = (await self._store.record(before.config.text, comment=comment, who="node")).number
        except ApplianceError as error:
            self._log.error("history_not_written", error=error.message)
        self._running = replace(before, revision=number)
        self._bus.publish(ConfigRefused(reason=comment), source=SOURCE)
        self._announce(changed_tables(old, before.config), who="node", comment=comment)


def _all_unchanged(running: _Running) -> AppliedServices:
    return AppliedServices(unchanged=tuple(service.name for service in running.wanted))
