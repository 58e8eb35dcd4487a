"""A text is cut at its headers, and an excerpt has the same lines at the same places."""

from __future__ import annotations

import tomllib

import pytest

from appliance.config.parts import excerpt, parts
from appliance.config.positions import locate

TEXT = """\
top = 1
# about a
[a]
x = 1
  [a.sub]
y = [
  1,
]
[[b]]
z = 1
["a".more]
w = 2
"""


def test_parts_are_the_whole_text_by_table() -> None:
    found = parts(TEXT)
    assert [name for name, _, _ in found] == ["", "a", "a", "b", "a"]
    assert "".join(TEXT[start:end] for _, start, end in found) == TEXT
    assert parts("") == [("", 0, 0)]


@pytest.mark.parametrize("name", ["a", "b"])
def test_what_is_kept_stays_where_it_was(name: str) -> None:
    data = tomllib.loads(TEXT)
    cut = excerpt(TEXT, data, [name, "absent"])
    assert tomllib.loads(cut) == {"top": 1, name: data[name]}
    whole = locate(TEXT).keys
    assert locate(cut).keys == {path: place for path, place in whole.items() if path[0] in (name, "top")}


@pytest.mark.parametrize(
    "text",
    [
        "[a]\nx = '''\n[b]\n'''\n[c]\ny = 1\n",  # what looks like a header is a part of a string
        '[a]\nx = """\n[c]\nq = 1\n"""\n[c]\ny = 1\n',
        '["\\u0061"]\nx = 1\n[c]\ny = 1\n',  # a name in another spelling
        "a.x = 1\n[c]\ny = 1\n[b]\n",
    ],
)
def test_a_text_that_only_looks_as_if_it_could_be_cut_still_says_the_same(text: str) -> None:
    for name in ("a", "c"):
        cut = excerpt(text, tomllib.loads(text), [name])
        assert tomllib.loads(cut)[name] == tomllib.loads(text)[name]
        assert cut.count("\n") == text.count("\n")
