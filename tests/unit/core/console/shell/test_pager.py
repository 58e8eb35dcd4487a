"""The pager stops at every page and obeys keys."""

import pytest

from appliance.console.shell.pager import Pager


def printed(pager: Pager, lines: list[str]) -> int:
    """How many lines it prints before it wants a key."""
    count = 0
    for line in lines:
        if pager.stops_before(line):
            break
        count += pager.printed(line)
    return count


LINES = [f"line {number}" for number in range(100)]


def test_a_page_leaves_one_line_for_the_question() -> None:
    assert printed(Pager(height=24, width=80), LINES) == 23


def test_long_lines_take_the_room_they_need() -> None:
    assert printed(Pager(height=24, width=40), ["x" * 100] * 20) == 7


def test_a_line_longer_than_the_screen_is_printed_nevertheless() -> None:
    assert printed(Pager(height=4, width=10), ["x" * 1000, "y"]) == 1


@pytest.mark.parametrize(("key", "more"), [(" ", 23), ("\r", 1), ("j", 1), ("f", 23), ("G", 77)])
def test_keys_let_more_come(key: str, more: int) -> None:
    pager = Pager(height=24, width=80)
    printed(pager, LINES)
    assert pager.key(key)
    assert printed(pager, LINES[23:]) == more


@pytest.mark.parametrize("key", ["q", "Q", "\x03", "\x04", "\x1b", ""])
def test_keys_end_it(key: str) -> None:
    assert not Pager(height=24, width=80).key(key)


def test_another_key_changes_nothing() -> None:
    pager = Pager(height=24, width=80)
    printed(pager, LINES)
    assert pager.key("x")
    assert pager.stops_before(LINES[23])


def test_searching_skips_until_a_line_has_the_text() -> None:
    pager = Pager(height=24, width=80)
    pager.pattern = "LINE 5"
    assert not pager.printed("line 4")
    assert pager.printed("line 5")
    assert pager.printed("line 6")


def test_the_window_may_become_smaller_meanwhile() -> None:
    pager = Pager(height=50, width=80)
    printed(pager, LINES)
    pager.height = 10
    pager.key(" ")
    assert printed(pager, LINES) == 9
