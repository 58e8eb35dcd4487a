"""Words of configuration mode to places in a configuration, and what may come next there. Pure.

Everything is asked of the models of the tables: keys, names, items of lists, values with their ranges. Names that the
operator has given are not abbreviated where new ones may be made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.config import Model, keys
from appliance.config.document import Document
from appliance.config.keys import Kind
from appliance.config.positions import KeyPath
from appliance.config.schema import CORE_TABLES
from appliance.config.sections import IDENTITIES
from appliance.console.shell.choices import Choice, meant
from appliance.console.shell.words import LineError, Word

Names = Mapping[str, Sequence[str]]
SUMMARY_MAX = 60
"""Characters by which one item is told from another."""
_AS = re.compile(r"As `(\w+)`")
_NAMED_IN_DOCS = (
    ("``vip:NAME``", "vip", "vip:"),
    ("``net:IF``", "interface", "net:"),
    ("``address:IF``", "interface", "address:"),
    ("alias", "alias", ""),
    ("gateway", "gateway", ""),
)
"""What a description mentions, the kind of things that can stand there, and how they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a configuration, there already or not."""

    path: KeyPath = ()
    annotations: tuple[object, ...] = ()
    kind: Kind = Kind.TABLE
    doc: str = ""
    default: str = ""
    fresh: Mapping[KeyPath, Mapping[str, Any]] = field(default_factory=dict)
    """Items of lists on the way that have to be made, with what names them."""


class Navigator:
    """Walks through the tables of these models."""

    def __init__(self, models: Mapping[str, type[Model]]) -> None:
        self._tables: dict[str, object] = {**CORE_TABLES, **models}

    def place(self, document: Document, path: KeyPath) -> Place:
        """The place of a path that exists."""
        place = Place()
        for part in path:
            place = self._below(place, part, {})
        return place

    def walk(
        self, document: Document, start: Place, words: Sequence[Word], *, creating: bool
    ) -> tuple[Place, tuple[Word, ...]]:
        """The place that words lead to, and the words that are left: values.

        Args:
            document: What there is.
            start: Where to begin.
            words: Keys, names and numbers of items, then values.
            creating: Names that do not exist yet are new ones.

        Raises:
            LineError: A word leads nowhere.
        """
        place = start
        for at, word in enumerate(words):
            if place.kind in (Kind.VALUE, Kind.VALUES):
                return place, tuple(words[at:])
            place = self._step(document, place, word, creating=creating)
        return place, ()

    def complete(
        self, document: Document, place: Place, *, given: Sequence[Word], creating: bool, names: Names
    ) -> list[Choice]:
        """What may come next at a place.

        Args:
            document: What there is.
            place: Where a walk has ended.
            given: Values that are there already.
            creating: New names and values may be given.
            names: Existing things by kind.
        """
        found = document.at(place.path)
        match place.kind:
            case Kind.TABLE if not place.path:
                tables = sorted(self._tables if creating else document.data)
                return [Choice(text=name, help=self._about(name)) for name in tables]
            case Kind.TABLE:
                known = keys.keys_of(place.annotations)
                shown = known if creating else [key for key in known if key.name in (found or {})]
                return [Choice(text=key.name, help=_key_help(key)) for key in shown]
            case Kind.NAMED:
                there = [
                    Choice(text=name, help=_summary(value, keys.below(place.annotations, name)))
                    for name, value in (found or {}).items()
                ]
                return there + ([Choice(text="<name>", help="a new one", is_value=True)] if creating else [])
            case Kind.ITEMS:
                return self._items(place, found or [], creating=creating)
        if not creating:
            items = found if isinstance(found, list) else []
            return [] if keys.holds_secret(place.annotations) else [Choice(text=str(item)) for item in items]
        if place.kind is Kind.VALUE and given and not keys.below(place.annotations, 0):
            return []
        return self._values(place, found, names)

    # --- one step -------------------------------------------------------------------------------------------

    def _step(self, document: Document, place: Place, word: Word, *, creating: bool) -> Place:
        found = document.at(place.path)
        match place.kind:
            case Kind.TABLE if not place.path:
                names = list(self._tables if creating else {**self._tables, **document.data})
                return self._below(place, meant(word, names, what="table"), place.fresh)
            case Kind.TABLE:
                known = [key.name for key in keys.keys_of(place.annotations)]
                return self._below(place, meant(word, known, what="key"), place.fresh)
            case Kind.NAMED:
                return self._below(place, self._name(place, found or {}, word, creating=creating), place.fresh)
        return self._item(place, found or [], word, creating=creating)

    def _name(self, place: Place, found: Mapping[str, Any], word: Word, *, creating: bool) -> str:
        if word.text in found or not creating:
            return meant(word, list(found), what="name")
        try:
            keys.value_of(keys.names_of(place.annotations), word.text, key="name", is_quoted=True)
        except ValueError as error:
            raise LineError(f"`{word.text}` cannot be a name here", hint=_sentence(error), at=word.start) from None
        return word.text

    def _item(self, place: Place, found: Sequence[Any], word: Word, *, creating: bool) -> Place:
        names = [_name_of(item) for item in found]
        if word.text in names:
            return self._below(place, names.index(word.text), place.fresh)
        if word.text.isdecimal() and int(word.text) < len(found):
            return self._below(place, int(word.text), place.fresh)
        identity = keys.identity_of(place.annotations)
        path = (*place.path, len(found))
        if creating and identity is not None:
            return self._below(place, len(found), {**place.fresh, path: {identity: word.text}})
        if creating and word.text == str(len(found)):
            return self._below(place, len(found), {**place.fresh, path: {}})
        if identity is not None:
            return self._below(place, names.index(meant(word, list(filter(None, names)), what="name")), place.fresh)
        there = f"There are 0 to {len(found) - 1}" if found else "There are none"
        more = f"; {len(found)} makes a new one." if creating else "."
        raise LineError(f"there is no item {word.text}", hint=f"{there}{more}", at=word.start)

    def _below(self, place: Place, part: str | int, fresh: Mapping[KeyPath, Mapping[str, Any]]) -> Place:
        if not place.path:
            below: list[object] = [self._tables[str(part)]] if part in self._tables else []
        else:
            below = keys.below(place.annotations, part)
        known = next((key for key in keys.keys_of(place.annotations) if key.name == part), None)
        return Place(
            path=(*place.path, part),
            annotations=tuple(below),
            kind=keys.kind_of(below) if below else Kind.VALUE,
            doc=_referred(known, place) if known else place.doc,
            default=known.default if known else "",
            fresh=fresh,
        )

    # --- what may come next ---------------------------------------------------------------------------------

    def _about(self, table: str) -> str:
        doc = getattr(self._tables.get(table), "__doc__", None) or ""
        return " ".join(doc.partition("\n")[0].replace("``", "").split())

    def _items(self, place: Place, found: Sequence[Any], *, creating: bool) -> list[Choice]:
        inner = keys.below(place.annotations, 0)
        there = [Choice(text=_name_of(item) or str(at), help=_summary(item, inner)) for at, item in enumerate(found)]
        if not creating:
            return there
        if keys.identity_of(place.annotations) is not None:
            return [*there, Choice(text="<name>", help="a new one", is_value=True)]
        return [*there, Choice(text=str(len(found)), help="a new one, the last")]

    def _values(self, place: Place, found: object, names: Names) -> list[Choice]:
        range_text, kind = keys.describe(place.annotations)
        if keys.holds_secret(place.annotations):
            return [Choice(text="<secret>", help=_spoken(place.doc), is_value=True)]
        notes = [_spoken(place.doc), kind if kind != range_text else ""]
        if place.default:
            notes.append(f"default {place.default}")
        if found is not None and not isinstance(found, list | dict):
            notes.append(f"now {str(found).lower() if isinstance(found, bool) else found}")
        note = "; ".join(filter(None, notes))
        words = keys.options_of(place.annotations)
        if words:
            return [Choice(text=word, help=note) for word in words]
        suggested = self._suggested(place, names)
        return [*suggested, Choice(text=f"<{range_text}>", help=note, is_value=True)]

    def _suggested(self, place: Place, names: Names) -> list[Choice]:
        """Things that exist and may stand here."""
        if keys.is_reference(place.annotations) and place.path[-1] != "name":
            return [Choice(text=name, help="interface") for name in names.get("interface", ())]
        if not keys.takes_text(place.annotations) or place.path[-1] in ("name", "description"):
            return []
        return [
            Choice(text=f"{prefix}{name}", help=kind)
            for mark, kind, prefix in _NAMED_IN_DOCS
            if mark in place.doc.lower().replace("vip:name", "vip:NAME").replace(":if`", ":IF`")
            for name in names.get(kind, ())
        ]


def _referred(key: keys.Key, place: Place) -> str:
    """The description of a key; where it only says ``As `source`.``, with that one's."""
    match = _AS.match(key.doc)
    other = next((each for each in keys.keys_of(place.annotations) if match and each.name == match[1]), None)
    return other.doc if other is not None else key.doc


def _key_help(key: keys.Key) -> str:
    mark = "required" if key.required else f"default {key.default}" if key.default else ""
    return f"({mark}) {_spoken(key.doc)}" if mark else _spoken(key.doc)


def _spoken(doc: str) -> str:
    """A description without the marks of its source."""
    return doc.replace("``", "").rstrip(".")


def _name_of(item: Any) -> str:
    """What an item of a list is called; empty when it only has a number."""
    return next((str(item[key]) for key in IDENTITIES if isinstance(item, Mapping) and item.get(key)), "")


def _summary(value: Any, annotations: Sequence[object]) -> str:
    """One item or table in a few words: its description, or its first plain values that are no secrets."""
    if not isinstance(value, Mapping):
        return ""
    if value.get("description"):
        return str(value["description"])
    plain = [
        f"{key} {each}"
        for key, each in value.items()
        if isinstance(each, str | int) and key not in IDENTITIES and _may_be_shown(annotations, key)
    ]
    return ", ".join(plain)[:SUMMARY_MAX]


def _may_be_shown(annotations: Sequence[object], key: str) -> bool:
    below = keys.below(annotations, key)
    return bool(below) and not keys.holds_secret(below)


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:].rstrip(".") + "."
