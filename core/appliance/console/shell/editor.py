"""Configuration mode inside the node: one line is one edit of a candidate, or a look at it. Pure.

What waits (commit, compare with a file) is in `appliance.console.shell.transactions`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.config import Model, keys
from appliance.config.document import Document
from appliance.config.keys import Kind
from appliance.config.positions import KeyPath
from appliance.config.sections import IDENTITIES
from appliance.console.grammar import Parsed
from appliance.console.shell.choices import Choice, matching
from appliance.console.shell.commandline import CommandLine, plain_values
from appliance.console.shell.navigation import Names, Navigator, Place
from appliance.console.shell.setlines import set_lines
from appliance.console.shell.verbs import VERBS
from appliance.console.shell.words import Line, LineError, SecretMissingError, Word, quoted, split, understood
from appliance.errors import RefusedError
from appliance.host.editing import EDITS_MAX, Edit, EditSession
from appliance.plugin.contributions import Argument

TO = "to"
CREATING = frozenset({"set"})
"""Verbs that may name what does not exist yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a line has done, or shows."""

    text: str = ""
    data: Any = None
    """For ``| json``."""
    revision: int | None = None
    """What a commit has put in force."""
    is_secret: bool = False
    """The line has a secret in it: no history should keep it."""


class Editor:
    """Edits the candidate of one session.

    Args:
        session: It.
        models: The models of all tables.
        names: Existing things by kind, for completion.
    """

    def __init__(self, session: EditSession, models: Mapping[str, type[Model]], names: Callable[[], Names]) -> None:
        self.session = session
        self.models = models
        self._navigator = Navigator(models)
        self._names = names
        self._verbs: dict[str, Callable[[Document, Line, Sequence[Word]], Answer]] = {
            "set": self._set,
            "delete": self._delete,
            "edit": self._edit,
            "rename": self._rename,
            "copy": self._copy,
            "show": self._show,
        }

    def knows(self, verb: str) -> bool:
        """Whether this verb is one of those below."""
        return verb in self._verbs or verb in ("up", "top")

    def run(self, text: str) -> Answer:
        """Do what a line says.

        Raises:
            LineError: It was not understood, with the place.
            RefusedError: It cannot be done.
        """
        line = understood(text)
        verb, words = self.verb(line)
        if verb[0] in ("up", "top"):
            self._up(len(self.session.place) if verb[0] == "top" else int(words[0].text) if words else 1)
            return Answer()
        return self._verbs[verb[0]](self.session.candidate, line, words)

    def verb(self, line: Line) -> tuple[tuple[str, ...], tuple[Word, ...]]:
        """The verb of a line in full, and the words behind it.

        Raises:
            LineError: There is no such verb, or not with these words.
        """
        path = self.parsed(line).command.path
        return path, line.words[len(path) :]

    def parsed(self, line: Line) -> Parsed:
        """The verb of a line with its arguments.

        Raises:
            LineError: There is no such verb, or not with these words.
        """
        return CommandLine(VERBS).parse(line.words, len(line.text))

    def complete(self, text: str) -> tuple[list[Choice], int]:
        """What the word at the end of a line may become, and where that word begins."""
        before, typed = split(text).partial()
        names = self._names()
        start = self._place(self.session.candidate)

        def values(argument: Argument, given: Sequence[Word], _typed: Word) -> list[Choice]:
            if argument.name == "path...":
                return self._path_choices(before[0], start, given, names)
            return plain_values(names)(argument, given, _typed)

        choices = CommandLine(VERBS, values).complete(before, typed)
        return matching(choices, typed.text), typed.start

    def _path_choices(self, verb: Word, start: Place, given: Sequence[Word], names: Names) -> list[Choice]:
        name = self.verb_name(verb)
        creating = name in CREATING or name == "edit"
        if name in ("rename", "copy") and any(word.text == TO for word in given):
            return [Choice(text="<name>", help="the new name, or a number", is_value=True)]
        place, rest = self._navigator.walk(self.session.candidate, start, given, creating=creating)
        found = self._navigator.complete(self.session.candidate, place, given=rest, creating=creating, names=names)
        if name in ("rename", "copy") and given:
            found = [*found, Choice(text=TO, help="then the new name")]
        return found

    def verb_name(self, word: Word) -> str:
        """The verb that a word abbreviates."""
        found = {verb.path[0] for verb in VERBS if verb.path[0].startswith(word.text)}
        return word.text if word.text in found or len(found) != 1 else found.pop()

    # --- verbs that change something -------------------------------------------------------------------------

    def _set(self, document: Document, line: Line, words: Sequence[Word]) -> Answer:
        place, _ = self._navigator.walk(document, self._place(document), words, creating=True)
        start = self.session.place

        def edit(document: Document) -> Document:
            place, values = self._navigator.walk(document, self._place(document, start), words, creating=True)
            return self._with_values(document, place, values, line)

        self._do(edit)
        return Answer(is_secret=keys.holds_secret(place.annotations))

    def _with_values(self, document: Document, place: Place, words: Sequence[Word], line: Line) -> Document:
        if not words:
            if len(place.path) == 1 and not document.has(place.path):
                return document.put(place.path, {})  # its presence is what makes a plugin run
            if place.fresh:  # an item with its name and nothing else yet
                path, item = list(place.fresh.items())[-1]
                return document.put(path, dict(item))
            if keys.holds_secret(place.annotations):
                raise SecretMissingError("the secret is missing", hint="Type it behind the key.", at=len(line.text))
            hint = f"Give {keys.describe(place.annotations)[0]}." if place.kind in _PLAIN else "Go on with a key: `?`."
            raise LineError("a value is missing", hint=hint, at=len(line.text))
        if place.kind not in _PLAIN:
            raise LineError("only keys take values", hint="Go on with a key: `?`.", at=words[0].start)
        is_whole, words = _listed(line, words)
        elements = keys.below(place.annotations, 0)
        if place.kind is Kind.VALUES or is_whole or len(words) > 1:
            if not elements:
                raise LineError("only one value may be here", hint="Put it in quotes.", at=words[1].start)
            values = [self._value(place, elements, word) for word in words]
            old = document.at(place.path) if place.kind is Kind.VALUES and not is_whole else None
            kept = list(old) if isinstance(old, list) else []
            return document.put(place.path, kept + [each for each in values if each not in kept], names=place.fresh)
        return document.put(place.path, self._value(place, list(place.annotations), words[0]), names=place.fresh)

    def _value(self, place: Place, annotations: list[object], word: Word) -> Any:
        try:
            return keys.value_of(annotations or [str], word.text, key=str(place.path[-1]), is_quoted=word.quoted)
        except ValueError as error:
            text = f"`{word.text}` cannot be the {place.path[-1]}"
            if keys.holds_secret(annotations):
                text = f"this cannot be the {place.path[-1]}"
            raise LineError(text, hint=f"It {error}.", at=word.start) from None

    def _delete(self, document: Document, line: Line, words: Sequence[Word]) -> Answer:
        start = self.session.place
        if not words and not start:
            raise LineError(
                "what is to be deleted is missing", hint="`discard` forgets all changes.", at=len(line.text)
            )

        def edit(document: Document) -> Document:
            place, values = self._navigator.walk(document, self._place(document, start), words, creating=False)
            return _without(document, self._existing(document, place, words, line), values)

        self._do(edit)
        self.session.place = _existing_part(self.session.candidate, start)
        return Answer()

    def _rename(self, document: Document, line: Line, words: Sequence[Word]) -> Answer:
        return self._move(document, line, words, Document.renamed)

    def _copy(self, document: Document, line: Line, words: Sequence[Word]) -> Answer:
        return self._move(document, line, words, Document.copied)

    def _move(
        self,
        document: Document,
        line: Line,
        words: Sequence[Word],
        how: Callable[[Document, KeyPath, str | int], Document],
    ) -> Answer:
        if len(words) < 3 or words[-2].text != TO:
            hint = "Say `PATH to NAME`; for an item without a name, `PATH to NUMBER`."
            raise LineError("the new name is missing", hint=hint, at=len(line.text))
        *old, _, new = words
        start = self.session.place

        def edit(document: Document) -> Document:
            place, rest = self._navigator.walk(document, self._place(document, start), old, creating=False)
            path = self._existing(document, place, old, line)
            if rest or not _can_move(self._navigator.place(document, path[:-1])):
                raise LineError("this has no name of its own", hint="Name a table or an item.", at=old[-1].start)
            return how(document, path, _new_name(document, path, new))

        self._do(edit)
        return Answer()

    def _do(self, edit: Edit) -> None:
        if len(self.session.edits) >= EDITS_MAX:
            raise RefusedError(f"{EDITS_MAX} edits are not committed", hint="`commit` or `discard` them first.")
        self.session.candidate = edit(self.session.candidate)
        self.session.edits.append(edit)

    # --- verbs that go or look --------------------------------------------------------------------------------

    def _edit(self, document: Document, line: Line, words: Sequence[Word]) -> Answer:
        place, rest = self._navigator.walk(document, self._place(document), words, creating=True)
        if rest or place.kind in _PLAIN:
            raise LineError("only tables can be edited", hint="Use `set` for a value.", at=words[-1].start)
        if place.fresh:  # an item of a list has to be there to be edited
            self._set(document, line, words)
        self.session.place = place.path
        return Answer()

    def _up(self, levels: int) -> None:
        path = self.session.place
        for _ in range(levels):
            path = path[:-1]
        self.session.place = path

    def _show(self, document: Document, line: Line, words: Sequence[Word]) -> Answer:
        place, rest = self._navigator.walk(document, self._place(document), words, creating=False)
        if rest:
            raise LineError("nothing is below a value", hint="Leave it out.", at=rest[0].start)
        path = place.path
        if words:
            self._existing(document, place, words, line)
        return Answer(text=document.shown(path, self.models), data=document.plain(path, self.models))

    def shown_place(self) -> str:
        """``carp vip lan``, as it is typed."""
        return " ".join(self._typed(self.session.place))

    def as_set_lines(self, answer: Answer, path: KeyPath) -> str:
        """What `show` has found as commands that make it."""
        return "\n".join(set_lines(answer.data, tuple(self._typed(path))))

    def path_of(self, text: str) -> KeyPath:
        """The path that a `show` line is about."""
        _, words = self.verb(understood(text))
        document = self.session.candidate
        return self._navigator.walk(document, self._place(document), words, creating=False)[0].path

    def _typed(self, path: KeyPath) -> list[str]:
        """A path as words."""
        words = []
        for length, part in enumerate(path, start=1):
            item = self.session.candidate.at(path[:length])
            named = item if isinstance(part, int) and isinstance(item, Mapping) else {}
            words.append(next((str(named[key]) for key in IDENTITIES if named.get(key)), str(part)))
        return [quoted(word) for word in words]

    # --- places ------------------------------------------------------------------------------------------------

    def _place(self, document: Document, path: KeyPath | None = None) -> Place:
        return self._navigator.place(document, self.session.place if path is None else path)

    def _existing(self, document: Document, place: Place, words: Sequence[Word], line: Line) -> KeyPath:
        if not document.has(place.path):
            at = words[-1].start if words else len(line.text)
            raise LineError("this is not in the configuration", hint="`show` prints what there is.", at=at)
        return place.path


_PLAIN = frozenset({Kind.VALUE, Kind.VALUES})


def _listed(line: Line, words: Sequence[Word]) -> tuple[bool, Sequence[Word]]:
    """The values of a list in brackets, which replaces what there is, and whether it is one: as TOML or with blanks."""
    start = words[0].start
    text = line.text[start : words[-1].end]
    if not (text.startswith("[") and text.endswith("]")):
        return False, words
    try:
        items = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return True, [Word(word.text, start, start, word.quoted) for word in split(text[1:-1].replace(",", " ")).words]
    return True, [Word(str(item), start, start, isinstance(item, str)) for item in items]


def _without(document: Document, path: KeyPath, values: Sequence[Word]) -> Document:
    """Without a place, or without some values of its list."""
    if not values:
        return document.without(path)
    there = document.at(path)
    items = there if isinstance(there, list) else [there]
    for word in values:
        if word.text not in map(str, items):
            raise LineError(
                f"`{word.text}` is not there", hint=f"There is: {', '.join(map(str, items))}.", at=word.start
            )
    gone = {word.text for word in values}
    kept = [item for item in items if str(item) not in gone]
    return document.put(path, kept) if kept else document.without(path)


def _existing_part(document: Document, path: KeyPath) -> KeyPath:
    while path and not document.has(path):
        path = path[:-1]
    return path


def _can_move(parent: Place) -> bool:
    return parent.kind in (Kind.NAMED, Kind.ITEMS)


def _new_name(document: Document, path: KeyPath, word: Word) -> str | int:
    item = document.at(path)
    is_named = isinstance(item, Mapping) and any(key in item for key in IDENTITIES)
    if isinstance(path[-1], int) and (word.text.isdecimal() or not is_named):
        if not word.text.isdecimal():
            raise LineError("this item has no name", hint="Give the number of its new place.", at=word.start)
        return int(word.text)
    return word.text
