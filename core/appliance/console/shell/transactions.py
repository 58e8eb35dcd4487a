"""What configuration mode does with a whole candidate: compare, commit, roll back, bring it up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import trio

from appliance.config import Model
from appliance.config.diff import text_diff
from appliance.config.document import Document, changed_paths
from appliance.config.positions import format_path
from appliance.console.render import age
from appliance.console.shell.choices import listed
from appliance.console.shell.editor import Answer, Editor
from appliance.console.shell.words import LineError, understood
from appliance.errors import RefusedError
from appliance.host.editing import EditSession, EditSessions

if TYPE_CHECKING:
    from appliance.host.reload import ApplyReport, Reloader

CONFIRM_MIN = 0.05
CONFIRM_MAX = 60.0
"""Minutes; the node accepts an hour at most."""
RECEIVED_MAX = 16 << 20
"""Characters of a file that is loaded, as much as a configuration file may have."""


class EditableNode(Protocol):
    """The node, as far as editing needs it."""

    @property
    def reloader(self) -> Reloader: ...
    @property
    def editing(self) -> EditSessions: ...


class Transactions:
    """Lines of configuration mode for one session, those that wait included."""

    def __init__(self, node: EditableNode, session: EditSession, editor: Editor) -> None:
        self._node, self._session, self._editor = node, session, editor

    @property
    def _reloader(self) -> Reloader:
        return self._node.reloader

    async def run(self, text: str) -> Answer:
        """Do what a line says.

        Raises:
            LineError: It was not understood, with the place.
            ApplianceError: It cannot be done.
        """
        parsed = self._editor.parsed(understood(text))
        verb, given = parsed.command.path, parsed.arguments
        if self._editor.knows(verb[0]):
            # Editing a large file takes a while, which the loop of the node does not have.
            return await trio.to_thread.run_sync(self._editor.run, text)
        match verb:
            case ("compare", *what):
                return await self._compare("".join(what), given.get("revision"))
            case ("commit", "check"):
                return await self._check()
            case ("commit", "confirmed"):
                return await self._commit(_comment(given["comment"]), _seconds(given["minutes"], text))
            case ("commit", *_):
                return await self._commit(str(given.get("comment") or ""), None)
            case ("rollback",):
                return self._rollback(given["revision"])
            case ("discard",):
                return self._discard()
            case ("update",):
                return await self._update()
            case ("save",):
                return await self._save()
            case ("status",):
                return Answer(text="\n".join(self.status()))
        raise LineError(f"`{' '.join(verb)}` is for the shell", hint="Type it there.", at=0)

    # --- looking ------------------------------------------------------------------------------------------

    def status(self) -> list[str]:
        """Who edits what, and what waits."""
        now = trio.current_time()
        lines = [describe(each, now, is_own=each is self._session) for each in self._node.editing.all()]
        left = self._reloader.unconfirmed_s
        if left is not None:
            lines.append(f"revision {self._reloader.revision} rolls back in {age(left)} unless you `commit`")
        return lines

    async def _compare(self, what: str, revision: object) -> Answer:
        reloader = self._reloader
        name = f"revision {reloader.revision} (in force)"
        old = reloader.config.text
        if what == "saved":
            old, name = reloader.text_of(None), "the file"
        elif isinstance(revision, int) and revision:
            old, name = reloader.text_of(revision), f"revision {revision}"
        new, models = self._session.candidate.text, self._editor.models
        diff = await trio.to_thread.run_sync(_difference, old, new, name, models)
        return Answer(text=diff or f"no difference from {name}")

    # --- changing -----------------------------------------------------------------------------------------

    async def _check(self) -> Answer:
        warnings = await self._reloader.check(self._session.candidate.text)
        return Answer(text="\n".join([*warnings, "no problem was found; nothing has been changed"]))

    async def _commit(self, comment: str, within_s: float | None) -> Answer:
        session, reloader = self._session, self._reloader
        is_in_force = session.candidate.text == reloader.config.text
        if reloader.unconfirmed_s is not None and within_s is None and (is_in_force or not session.is_changed):
            report = await reloader.confirm(who=session.who)
            session.restart(self._in_force(), report.revision)
            return Answer(text=f"revision {report.revision} is confirmed", revision=report.revision)
        if not session.is_changed or is_in_force:
            return Answer(text="nothing to commit")
        if session.base_revision != reloader.revision:
            await self._bring_up_to_date(refuse=True)
        report = await reloader.apply(
            session.candidate.text, comment=comment, who=session.who, confirm_within_s=within_s
        )
        if within_s is None:
            session.restart(self._in_force(), report.revision)
        else:
            # The edits are kept: if nobody confirms, they are what there is to commit.
            session.base_revision = report.revision
        return Answer(text=_reported(report), revision=report.revision)

    def _rollback(self, revision: object) -> Answer:
        if not isinstance(revision, int) or revision == 0:
            return self._discard()
        text = self._reloader.text_of(revision)
        self._replace(lambda _: Document(text, name=self._session.base.name))
        return Answer(text=f"revision {revision} is the candidate; `compare` shows what `commit` would change")

    def _discard(self) -> Answer:
        self._session.restart(self._in_force(), self._reloader.revision)
        return Answer(text="all changes are forgotten")

    async def _update(self) -> Answer:
        if self._session.base_revision == self._reloader.revision:
            return Answer(text="nobody else has changed anything since you began")
        await self._bring_up_to_date(refuse=False)
        return Answer(text=f"your changes are on revision {self._session.base_revision} now; see `compare`")

    async def _save(self) -> Answer:
        text = self._reloader.config.text
        if self._reloader.unconfirmed_s is None and self._reloader.text_of(None) == text:
            return Answer(text="the file says what is in force already")
        await self._reloader.apply(text, comment="save", who=self._session.who)
        return Answer(text="what is in force is in the file now")

    def receive(self, part: str) -> None:
        """Take a part of a file that is being loaded.

        Raises:
            RefusedError: It is too large.
        """
        if sum(map(len, self._session.received)) + len(part) > RECEIVED_MAX:
            self._session.received.clear()
            raise RefusedError("the file is too large", hint="Check that it is a configuration.")
        self._session.received.append(part)

    async def load(self, how: str) -> Answer:
        """Make what was received the candidate, or a part of it.

        Raises:
            ConfigError: It is not TOML; the candidate is as before.
        """
        text, self._session.received = "".join(self._session.received), []
        loaded = await trio.to_thread.run_sync(lambda: Document(text, name="the file"))

        def edit(document: Document) -> Document:
            return Document(text, name=document.name) if how == "override" else document.merged(loaded)

        await trio.to_thread.run_sync(self._replace, edit)
        return Answer(text="loaded; `compare` shows what `commit` would change")

    def _replace(self, edit: Callable[[Document], Document]) -> None:
        self._session.candidate = edit(self._session.candidate)
        self._session.edits.append(edit)

    # --- others who commit ----------------------------------------------------------------------------------

    def _in_force(self) -> Document:
        return Document(self._reloader.config.text, name=self._session.base.name)

    async def _bring_up_to_date(self, *, refuse: bool) -> None:
        """Make the edits again, on what is in force now.

        Raises:
            RefusedError: Somebody else has changed the same, and that shall not be overwritten unseen.
            LineError: What was edited is not there any more.
        """
        session, now, revision = self._session, self._in_force(), self._reloader.revision
        edits = tuple(session.edits)

        def again() -> tuple[list[str], Document]:
            theirs = set(changed_paths(session.base.data, now.data))
            mine = set(changed_paths(session.base.data, session.candidate.data))
            both = sorted(format_path(path) for path in mine if any(_overlap(path, other) for other in theirs))
            document = now
            for edit in edits if not (both and refuse) else ():
                document = edit(document)
            return both, document

        both, document = await trio.to_thread.run_sync(again)
        if both and refuse:
            raise RefusedError(
                f"revision {revision} has changed the same since you began: {listed(both)}",
                hint="`compare` shows both; `update` puts your changes over it, `discard` forgets them.",
            )
        session.base, session.base_revision, session.candidate = now, revision, document


def describe(session: EditSession, now: float, *, is_own: bool = False) -> str:
    """One session for other people: who, since when, what."""
    tables = sorted(
        name
        for name in {*session.base.data, *session.candidate.data}
        if session.base.data.get(name) != session.candidate.data.get(name)
    )
    what = f"has changed {listed(tables)}, not committed" if tables else "has changed nothing"
    how = " exclusively" if session.exclusive else ""
    who = f"{session.who} (you)" if is_own else session.who
    return f"{who} edits{how} for {age(now - session.since)}, {what}"


def _overlap(a: tuple[str | int, ...], b: tuple[str | int, ...]) -> bool:
    return a[: len(b)] == b or b[: len(a)] == a


def _comment(words: object) -> str:
    """The text behind `comment`, which may be left out."""
    text = " ".join(words) if isinstance(words, tuple) else ""
    return text.removeprefix("comment ")


def _seconds(minutes: object, text: str) -> float:
    assert isinstance(minutes, float)
    if not CONFIRM_MIN <= minutes <= CONFIRM_MAX:
        hint = f"Give {CONFIRM_MIN:g} to {CONFIRM_MAX:g} minutes."
        raise LineError(f"{minutes:g} minutes is no time to confirm", hint=hint, at=understood(text).words[2].start)
    return minutes * 60


def _difference(old: str, new: str, name: str, models: Mapping[str, type[Model]]) -> str:
    return text_diff(old, new, models, old_name=name, new_name="candidate")


def _reported(report: ApplyReport) -> str:
    lines = list(report.warnings)
    if report.changed:
        touched = [*report.services.started, *report.services.restarted, *report.services.reloaded]
        lines.append(f"revision {report.revision} is in force; changed: {listed(list(report.tables)) or 'only words'}")
        lines.append(f"services disturbed: {listed(touched) or 'none'}")
    else:
        lines.append(f"revision {report.revision} is in force; nothing had to change")
    if report.confirm_within_s is not None:
        lines.append(f"It rolls back in {age(report.confirm_within_s)} unless you `commit` again.")
    return "\n".join(lines)
