"""Configuration files with some of their tables replaced."""

from __future__ import annotations

import tomllib
from datetime import date, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import writing
from appliance.config.writing import literal, replaced, rewritten

TEXT = """\
# the node
[node]
name = "fw2"  # its name

[sample]
own = "x"
# the password
password = "old"

[[sample.item]]
name = "a"  # the first
"""


def test_comments_survive_where_nothing_changes() -> None:
    new = {"own": "x", "password": "new", "item": [{"name": "a", "value": 3}]}
    text = rewritten(TEXT, {"sample": new})
    assert tomllib.loads(text) == {"node": {"name": "fw2"}, "sample": new}
    for comment in ("# the node", "# its name", "# the password", "# the first"):
        assert comment in text
    assert rewritten(TEXT, {"sample": tomllib.loads(TEXT)["sample"]}) == TEXT


def test_tables_come_and_go() -> None:
    text = rewritten(TEXT, {"sample": None, "fresh": {"a": 1, "b": [{"c": 2}]}})
    assert tomllib.loads(text) == {"node": {"name": "fw2"}, "fresh": {"a": 1, "b": [{"c": 2}]}}


LARGE = TEXT + "\n[other]  # kept\nx = 1\n" + "# a long file\n" * (writing.CAREFUL_MAX // 10)


def test_in_a_large_file_all_other_tables_are_kept_to_the_letter() -> None:
    new = {
        "own": "x",
        "item": [{"name": "a", "list": [1, 2], "sub": {"k": 1.5}}, {"name": "b"}],
        "deep": {"er": {"k": True}},
    }
    text = rewritten(LARGE, {"sample": new, "fresh": {"a": 1}})
    assert tomllib.loads(text) == {"node": {"name": "fw2"}, "sample": new, "other": {"x": 1}, "fresh": {"a": 1}}
    assert "# its name" in text
    assert "[other]  # kept" in text
    assert tomllib.loads(rewritten(LARGE, {"sample": None})) == {"node": {"name": "fw2"}, "other": {"x": 1}}


@pytest.mark.parametrize("whole", [TEXT, LARGE])
def test_a_table_that_is_empty_is_there(whole: str) -> None:
    text = rewritten(whole, {"sample": {}, "fresh": {}})
    assert tomllib.loads(text) == {**tomllib.loads(whole), "sample": {}, "fresh": {}}
    assert rewritten(text, {"fresh": {}}) == text


def test_a_line_in_a_string_that_looks_like_a_header_does_no_harm() -> None:
    tricky = LARGE + '[last]\ntext = """\n[sample]\nown = 1\n"""\n'
    text = rewritten(tricky, {"sample": {"own": "y"}})
    assert tomllib.loads(text) == {**tomllib.loads(tricky), "sample": {"own": "y"}}


def test_a_table_written_in_pieces_becomes_one() -> None:
    pieces = LARGE + "\n[[sample.item]]\nname = 'late'\n"
    text = rewritten(pieces, {"sample": {"own": "z"}})
    assert tomllib.loads(text)["sample"] == {"own": "z"}


def test_what_toml_cannot_say_is_an_error() -> None:
    with pytest.raises(TypeError, match="TOML has no object"):
        literal(object())


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    st.just(date(2026, 1, 31)),
    st.just(datetime(2026, 1, 31, 12, 0, 1)),  # noqa: DTZ001 - TOML has local times
    st.just(time(12, 0)),
)
KEYS = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@given(table=st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_whatever_is_written_is_read_back(table: dict[str, Any]) -> None:
    text = writing._spliced(TEXT, {"fresh": table})
    assert tomllib.loads(text) == {**tomllib.loads(TEXT), "fresh": table}


def test_a_table_that_nobody_laid_out_is_written_anew_unless_it_has_comments() -> None:
    plain = 'node = {name = "x"}\n[sample]\nitem = [\n  1,\n]\n[other]  # kept\nx = 1\n'
    text, data = replaced(plain, {"sample": {"item": [1, 2]}}, keeps_layout=False)
    assert text == 'node = {name = "x"}\n[sample]\nitem = [1, 2]\n\n[other]  # kept\nx = 1\n'
    assert data == tomllib.loads(text)
    commented, _ = replaced(TEXT, {"sample": {"own": "x", "password": "new"}}, keeps_layout=False)
    assert "# the password" in commented
