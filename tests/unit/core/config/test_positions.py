"""The scanner finds every key where it is written, for every way TOML has to write one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.positions import KeyPath, Position, format_path, locate


def paths_of(data: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key path of parsed data."""
    if path:
        yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from paths_of(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from paths_of(value, (*path, index))


def check(text: str) -> None:
    expected = set(paths_of(tomllib.loads(text)))
    assert set(locate(text).keys) == expected


def where(text: str, *path: str | int) -> tuple[int, int]:
    return tuple(locate(text).keys[path])  # type: ignore[return-value]


def test_a_plain_key_is_found_at_its_first_character() -> None:
    assert where('a = 1\n  bee = "x" # bee\n', "bee") == (2, 3)


def test_each_part_of_a_dotted_key_has_its_own_column() -> None:
    text = "a . 'b'.\"c\" = 1\n"
    assert where(text, "a") == (1, 1)
    assert where(text, "a", "b") == (1, 5)
    assert where(text, "a", "b", "c") == (1, 9)


def test_elements_of_an_array_of_tables_are_found_at_their_headers() -> None:
    text = "[[carp.vip]]\nvhid = 1\n\n[[carp.vip]]\nvhid = 2\n[carp.vip.extra]\nx = 1\n"
    assert where(text, "carp", "vip") == (1, 1)
    assert where(text, "carp", "vip", 0) == (1, 1)
    assert where(text, "carp", "vip", 1) == (4, 1)
    assert where(text, "carp", "vip", 1, "vhid") == (5, 1)
    assert where(text, "carp", "vip", 1, "extra", "x") == (7, 1)
    check(text)


def test_a_real_header_beats_an_earlier_child() -> None:
    assert where("[carp.x]\na = 1\n[carp]\nb = 2\n", "carp") == (3, 1)


def test_elements_of_lists_and_inline_tables_are_found() -> None:
    text = 'a = [\n  1, # one\n  { b = [2, 3], "c d" = {} },\n]\n'
    assert where(text, "a", 1) == (3, 3)
    assert where(text, "a", 1, "b", 1) == (3, 13)
    assert where(text, "a", 1, "c d") == (3, 17)
    check(text)


def test_text_in_all_four_kinds_of_strings_hides_nothing_and_invents_nothing() -> None:
    check(
        'a = "x # \\" [no]"\n'
        "b = 'c:\\path # ['\n"
        'c = """\n[not.a.table]\nk = 1 \\"\\"\\" "" \n"""\n'
        "d = '''\n[nor.this]\n'quoted'''''\n"
        'e = """""two""""" # five quotes\n'
        "f = \"\"\ng = ''\nh = \"\"\"\"\"\"\ni = ''''''\n"
        "z = 1\n"
    )


def test_dates_with_a_space_and_special_numbers_are_one_value() -> None:
    check(
        "a = [1979-05-27 07:32:00, 1979-05-27, 07:32:00.5]\nb = [-inf, +nan, 1_000, 0x_ff, 1e-3]\n".replace("0x_", "0x")
    )


def test_windows_line_ends_count_as_one_line() -> None:
    assert where('a = """\r\nx"""\r\nb = 1\r\n', "b") == (3, 1)


def test_spans_cover_exactly_the_value() -> None:
    found = locate('a = "secret" # no\n[t]\nb = [ "x" ]\n')
    spans = {path: found.text[start:end] for path, (start, end) in found.spans.items()}
    assert spans == {("a",): '"secret"', ("t", "b"): '[ "x" ]', ("t", "b", 0): '"x"'}


def test_a_missing_key_falls_back_to_its_nearest_parent() -> None:
    found = locate("[a]\n[a.b]\n")
    assert found.nearest(("a", "b", "c", 3)) == Position(2, 1)
    assert found.nearest(("zzz",)) == Position(1, 1)


def test_paths_are_printed_as_toml_would_write_them() -> None:
    assert format_path(("carp", "vip", 0, "vhid")) == "carp.vip[0].vhid"
    assert format_path(("a b", 'c"d')) == '"a b"."c\\"d"'


# --- property: the set of paths equals tomllib's -------------------------------------------------------

KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\x7f", exclude_categories=["Cs"]), max_size=4),
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.integers(-(2**40), 2**40), st.booleans(), st.floats(), TEXTS, st.datetimes(), st.dates(), st.times()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


def basic(text: str) -> str:
    escaped = "".join(f"\\U{ord(c):08x}" if c in '"\\\x7f' or ord(c) < 32 else c for c in text)
    return f'"{escaped}"'


class Writer:
    """Writes data as TOML in randomly chosen ways: headers, dotted keys, inline, all kinds of strings."""

    def __init__(self, draw: st.DataObject) -> None:
        self.draw = draw

    def pick(self, *options: str) -> str:
        return self.draw.draw(st.sampled_from(options))

    def blank(self) -> str:
        return self.pick("", "", " ", "\t ")

    def gap(self) -> str:
        return self.pick("", " ", "\n", ' # ] , } "\n\t', "\n\n")

    def key(self, key: str) -> str:
        forms = [basic(key)]
        if key and key.isascii() and key.replace("-", "a").replace("_", "a").isalnum():
            forms += [key, key]
        if "'" not in key and key.isprintable():
            forms.append(f"'{key}'")
        return self.pick(*forms)

    def string(self, text: str) -> str:
        forms = [basic(text), '"""\n' + basic(text)[1:-1] + '"""', '"""' + basic(text)[1:-1] + 'x\\\n  ""' + '"""']
        if text.isprintable():
            if "'" not in text:
                forms.append(f"'{text}'")
            if "'''" not in text:
                forms.append(f"'''\n{text}'''" if not text.endswith("'") else f"'''{text}\n'''")
        return self.pick(*forms)

    def scalar(self, value: object) -> str:
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return repr(value)
        iso = value.isoformat()  # type: ignore[attr-defined]
        return iso.replace("T", self.pick("T", " "))

    def inline(self, value: object) -> str:
        if isinstance(value, list):
            inner = f"{self.gap()},{self.gap()}".join(self.inline(item) for item in value)
            return f"[{self.gap()}{inner}{self.pick('', ',') if value else ''}{self.gap()}]"
        if isinstance(value, dict):
            pairs = (
                f"{self.blank()}{self.key(k)}{self.blank()}={self.blank()}{self.inline(v)}" for k, v in value.items()
            )
            return "{" + ",".join(pairs) + self.blank() + "}"
        return self.scalar(value)

    def table(self, path: tuple[str, ...], data: dict[str, object]) -> str:
        plain, later = "", ""
        for key, value in data.items():
            below = (*path, key)
            is_tables = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
            header = f"{self.blank()}.{self.blank()}".join(self.key(part) for part in below)
            if isinstance(value, dict) and self.pick("header", "inline") == "header":
                later += f"[{self.blank()}{header}{self.blank()}]{self.pick('', ' # x')}\n" + self.table(below, value)
            elif is_tables and self.pick("header", "inline") == "header":
                for item in value:  # type: ignore[attr-defined]
                    later += f"{self.blank()}[[{header}]]\n" + self.table(below, item)
            elif isinstance(value, dict) and value and self.pick("dotted", "inline") == "dotted":
                for inner, item in value.items():
                    dotted = f"{self.key(key)}{self.blank()}.{self.blank()}{self.key(inner)}"
                    plain += f"{self.blank()}{dotted} = {self.inline(item)}\n"
            else:
                plain += f"{self.blank()}{self.key(key)}{self.blank()}={self.blank()}{self.inline(value)}\n"
            plain += self.pick("", "", "# [comment]\n", "\n")
        return plain + later


@settings(max_examples=120, deadline=None)
@given(data=DOCUMENTS, draw=st.data())
def test_every_way_to_write_a_document_gives_the_paths_of_tomllib(data: dict[str, object], draw: st.DataObject) -> None:
    text = Writer(draw).table((), data)
    tomllib.loads(text)  # the writer writes valid TOML
    check(text)
    check(text.replace("\n", "\r\n"))


@settings(max_examples=50, deadline=None)
@given(data=st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), VALUES, max_size=5))
def test_documents_written_by_tomlkit_give_the_paths_of_tomllib(data: dict[str, object]) -> None:
    text = tomlkit.dumps(data)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # tomlkit 0.15 writes a few control characters that TOML does not allow
    check(text)


@settings(max_examples=50, deadline=None)
@given(data=DOCUMENTS, draw=st.data())
def test_every_span_is_the_text_of_its_value(data: dict[str, object], draw: st.DataObject) -> None:
    found = locate(Writer(draw).table((), data))
    for path, (start, end) in found.spans.items():
        value: object = tomllib.loads(found.text)
        for part in path:
            value = value[part]  # type: ignore[index]
        assert repr(tomllib.loads(f"x = {found.text[start:end]}")["x"]) == repr(value)
