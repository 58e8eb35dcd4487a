import pytest

from appliance.console.render import age, render, table, visible


def test_a_list_of_dicts_is_an_aligned_table() -> None:
    rows = [{"name": "carp/lan", "restarts": 0}, {"name": "interfaces", "restarts": 12, "pid": None}]
    assert render(rows) == (
        "NAME        RESTARTS  PID\n"
        "carp/lan           0  -\n"
        "interfaces        12  -"
    )  # fmt: skip


def test_a_dict_is_key_and_value() -> None:
    assert render({"node": "fw1", "enabled": True, "last_seen_ms": 12.5, "error": None}) == (
        "node          fw1\nenabled       yes\nlast seen ms  12.5\nerror         -"
    )


def test_nesting_is_indentation() -> None:
    data = {
        "node": "fw1",
        "vips": [{"vhid": 1, "state": "MASTER"}],
        "counters": {"sent": 3, "received": 0},
        "tags": ["a", "b"],
    }
    assert render(data) == (
        "node  fw1\n"
        "vips:\n"
        "  VHID  STATE\n"
        "     1  MASTER\n"
        "counters:\n"
        "  sent      3\n"
        "  received  0\n"
        "tags  a, b"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "text"),
    [([], "none"), ({}, "none"), (None, "-"), ("x", "x"), ("a\nb", "a\nb"), (3, "3"), (["a", 1, True], "a\n1\nyes")],
)
def test_simple_data_is_plain_text(data: object, text: str) -> None:
    assert render(data) == text


def test_a_table_that_is_too_wide_wraps_its_last_column_and_loses_nothing() -> None:
    rows = [{"name": "carp", "error": "one two three four five six seven eight nine"}]
    text = render(rows, width=32)
    assert max(len(line) for line in text.splitlines()) <= 32
    assert " ".join(text.split()) == "NAME ERROR carp one two three four five six seven eight nine"


def test_nothing_is_wrapped_when_the_output_is_not_a_terminal() -> None:
    assert "x" * 300 in render([{"name": "a", "text": "x" * 300}], width=0)


def test_columns_can_be_chosen() -> None:
    assert table([{"a": 1, "b": 2}], columns=["b"]) == "B\n2"


def test_what_would_drive_a_terminal_is_made_visible() -> None:
    assert visible("\x1b[31mred\x07\n\ttab") == "\\x1b[31mred\\x07\n\ttab"
    assert "\x1b" not in render([{"peer": "\x1b]0;owned\x07"}])
    assert "\x9b" not in render({"peer": "\x9b31m"})
    assert visible("Zürich ✓") == "Zürich ✓"


def test_a_line_end_inside_a_cell_does_not_break_the_table() -> None:
    assert len(render([{"error": "first\nsecond"}]).splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.1, "0.0s"),
        (0.43, "0.4s"),
        (9.94, "9.9s"),
        (59.9, "59s"),
        (200, "3m 20s"),
        (18125, "5h 2m"),
        (1047600, "12d 3h"),
    ],
)
def test_an_age_reads_like_people_say_it(seconds: float, text: str) -> None:
    assert age(seconds) == text
