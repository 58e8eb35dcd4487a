"""A text is read by what is known of another one, and says what the parser says it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import repeated
from appliance.config.repeated import Known, loads

BLOCK = '[[firewall.rule]]\naction = "pass"\nport = {}\n\n'
HEAD = '[node]\nname = "x"\n\n[firewall]\nlog = true\n\n'
END = "[carp]\nvhid = 7\n"


@pytest.fixture(autouse=True, scope="module")
def _small_texts_too() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated, "SMALL_MAX", 0)
        yield


def rules(*ports: int) -> str:
    return HEAD + "".join(BLOCK.format(port) for port in ports) + END


def known(text: str) -> Known:
    return Known(text, tomli.loads(text))


def read(text: str, before: str) -> dict[str, Any]:
    """What both ways say; the same, also about types and the order of keys."""
    found = loads(text, known(before))
    assert repr(found) == repr(tomli.loads(text))
    return found


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the parser gets."""
    seen: list[str] = []

    def parse(text: str) -> dict[str, Any]:
        seen.append(text)
        return tomli.loads(text)

    monkeypatch.setattr(
        repeated, "tomli", type("tomli", (), {"loads": parse, "TOMLDecodeError": tomli.TOMLDecodeError})
    )
    return seen


def test_of_many_blocks_those_are_read_that_are_new(parsed: list[str]) -> None:
    before = known(rules(1, 2, 3, 4, 5))
    found = loads(rules(1, 2, 33, 4, 5), before)
    old, new = before.data["firewall"]["rule"], found["firewall"]["rule"]
    assert [item["port"] for item in new] == [1, 2, 33, 4, 5]
    assert [one is other for one, other in zip(old, new, strict=True)] == [True, True, False, True, False]
    assert parsed == [BLOCK.format(33), rules(5)]


def test_a_block_that_goes_on_below_a_table_of_its_own_is_read(parsed: list[str]) -> None:
    inner = "[firewall.rule.limit]\nrate = {}\n"
    before = rules(1, 2).replace(END, inner.format(1) + END)
    found = loads(rules(1, 2, 2).replace(END, inner.format(2) + END), known(before))
    assert [item.get("limit") for item in found["firewall"]["rule"]] == [None, None, {"rate": 2}]
    assert len(parsed) == 2


def test_rows_of_the_same_list_keep_their_order() -> None:
    between = "[other]\nx = 1\n"
    text = HEAD + BLOCK.format(1) + BLOCK.format(2) + between + BLOCK.format(3) + BLOCK.format(4) + END
    assert [item["port"] for item in read(text, text)["firewall"]["rule"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "[[a]]\nx = [\n[[1]],\n]\n[[a]]\nx = 2\n[[a]]\nx = 3\n",
        '[[a]]\nx = """\n[[a]]\n"""\n[[a]]\nx = 2\n[[a]]\nx = 3\n',
        "[[a]]\nx = '''\n[[a]]\n'''\n[[a]]\nx = 2\n[[a]]\nx = 3\n",
        "[[true]]\nx = [\n[[true]]\n]\n[[true]]\nx = 2\n[[true]]\n",
        '[["a"]]\nx = 1\n[[a]]\nx = 2\n[[ a ]]\nx = 3\n[[a]]\nx = 4\n',
        "[[a]]\nx = 1\n[[a.b]]\ny = 1\n[[a.b]]\ny = 2\n[[a.b]]\n[[a]]\nx = 2\n[[a.b]]\ny = 3\n[[a.b]]\n",
        "[[a]]\r\nx = 1\r\n[[a]]\r\nx = 2\r\n[[a]]\r\nx = 3\r\n",
        "  [[a]]\n  x = 1\n  [[a]]\n  x = 2\n  [b]\n  [[a]]\n  x = 3\n",
        "[[a]] # one\nx = 1\n[[a]] # two\nx = 2\n[[a]]\nx = 3\n",
        "",
    ],
)
def test_unusual_layouts_say_what_they_say(text: str) -> None:
    for before in (text, "[[a]]\nx = 1\n[[a]]\nx = 2\n[[a]]\nx = 3\n"):
        read("v = 1\n" + text, "v = 1\n" + before)


@pytest.mark.parametrize(
    "text",
    [
        rules(1, 2, 3) + "vhid = 8\n",
        rules(1, 2, 3).replace("port = 2", "port = "),
        rules(1, 2, 3).replace("port = 2", "port = 2\nport = 2"),
        rules(1, 2, 3).replace("log = true", "log = true\nrule = []"),
        rules(1, 2, 3) + "[firewall.rule]\n",
        rules(1, 2, 3) + "[firewall]\n",
        rules(1, 2, 3).replace("port = 2", "port = [\n"),
    ],
)
def test_what_is_wrong_is_refused_in_the_same_words(text: str) -> None:
    with pytest.raises(tomli.TOMLDecodeError) as whole:
        tomli.loads(text)
    with pytest.raises(tomli.TOMLDecodeError) as found:
        loads(text, known(rules(1, 2, 3)))
    assert str(found.value) == str(whole.value)


def test_a_text_that_is_mostly_new_is_read_whole(parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "FRESH_MAX", 3)
    text = rules(*range(10, 20))
    assert loads(text, known(rules(1, 2))) == tomli.loads(text)
    assert parsed == [text]


PIECES = st.sampled_from(
    [
        *("[[a]]\n", "[[a]]\nx = 1\n", "[[a]]\nx = 2 # [[a]]\n", "[[a]]", "[['a']]\n", "[[a.g]]\nw = 1\n", "[a.e]\n"),
        *("[[b.c]]\ny = [\n  1,\n]\n", "[[b.c]]\n", "[[b.c]]\ny = 2\n", "[b.c.d]\nz = 1\n", "[b]\n", "[f]\n"),
        *("x = 3\n", "# [[a]]\n", "v = [\n[[1]]\n]\n", "v = '''\n", "\n", "]\n"),
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def says(text: str) -> str:
    try:
        return repr(tomli.loads(text))
    except tomli.TOMLDecodeError as error:
        return str(error)


@given(TEXTS.filter(lambda text: says(text).startswith("{")), TEXTS)
def test_whatever_is_known_a_text_says_the_same(before: str, text: str) -> None:
    for each in (text, before + text, text + before, before):
        try:
            found = repr(loads(each, known(before)))
        except tomli.TOMLDecodeError as error:
            found = str(error)
        assert found == says(each)
