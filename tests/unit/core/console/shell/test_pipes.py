"""Pipes choose lines, and formats that the node makes."""

from collections.abc import Iterator

import pytest

from appliance.console.shell.pipes import Piping, piping
from appliance.console.shell.words import LineError, understood

LINES = ["lan up", "wan down", "sync up", "WAN up"]


def pipes(text: str) -> Piping:
    return piping(understood(f"show x | {text}"))


def left(text: str) -> list[str]:
    return list(pipes(text).applied(LINES))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("match wan", ["wan down", "WAN up"]),
        ("except wan", ["lan up", "sync up"]),
        ('match "^.an up$"', ["lan up", "WAN up"]),
        ("count", ["4 lines"]),
        ("last 1", ["WAN up"]),
        ("match up | last 2", ["sync up", "WAN up"]),
        ("m up | e lan | c", ["2 lines"]),
        ("no-more", LINES),
    ],
)
def test_lines_are_chosen(text: str, lines: list[str]) -> None:
    assert left(text) == lines


def test_a_line_without_pipes_is_shown_as_it_is_page_by_page() -> None:
    assert piping(understood("show x")) == Piping()


def test_pages_and_formats_are_asked_for() -> None:
    assert not pipes("no-more").pages
    assert pipes("json").format == "json"
    assert pipes("set | match lan").format == "set"


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("match (", "this is no regular expression", 15),
        ("grep x", "unknown command `grep`", 9),
        ("match", "PATTERN is missing", 14),
        ("match x | json", "`json` has to be the first pipe", 19),
        ("last 0", "at least one line is needed", 14),
        ("", "a command is needed", 9),
    ],
)
def test_wrong_pipes_are_refused_with_their_place(text: str, message: str, at: int) -> None:
    with pytest.raises(LineError) as caught:
        pipes(text)
    assert caught.value.message.startswith(message)
    assert caught.value.at == at


def test_lines_come_through_one_at_a_time() -> None:
    seen = []

    def lines() -> Iterator[str]:
        for line in LINES:
            seen.append(line)
            yield line

    assert next(pipes("match wan").applied(lines())) == "wan down"
    assert seen == LINES[:2]
