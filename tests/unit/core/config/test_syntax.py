"""What is not TOML is refused in words for operators."""

from __future__ import annotations

import pytest

from appliance.config.syntax import FILE_MAX_BYTES, NESTING_MAX, parse
from appliance.errors import ConfigError


def test_toml_becomes_data() -> None:
    assert parse("a = 1\r\n[b]\n", "x") == {"a": 1, "b": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a\n", "x:1:3: Expected ']' at the end of a table declaration"),
        ("= 1\n", "x:1:1: neither a key nor a [table] begins here"),
        ("a = 1 b = 2\n", "x:1:7: nothing more may follow on this line"),
        ("a = 1\n[a.b]\n", "x:2:5: this key was given before"),
        ("a = {}\na.b = 1\n", "x:2:8: this inline table is complete"),
        ("a = [1,\n\n", "x:1:8: this is not a value"),
        ("a = 'x\n", "x:1:7: this text has no closing quote"),
    ],
)
def test_each_mistake_is_told_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x")
    assert caught.value.message.startswith(expected)


def test_size_and_nesting_are_bounded() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        parse("#" * (FILE_MAX_BYTES + 1), "x")
    deep = NESTING_MAX - 2
    assert parse(f"a = {'[' * deep}{']' * deep}", "x")
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse(f"a = {'[' * (deep + 2)}{']' * (deep + 2)}", "x")
