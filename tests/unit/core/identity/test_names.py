"""Names of nodes: host names, and nothing that could be a path."""

from __future__ import annotations

import pytest

from appliance.errors import ApplianceError
from appliance.identity.names import check_name, is_name, same_name


@pytest.mark.parametrize("name", ["a", "fw1", "FW-1", "9", "x" * 63])
def test_host_names_are_names(name: str) -> None:
    assert is_name(name)
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "..", "a/b", "a.b", "fw1\n", "fw 1", "ü", "x" * 64, "a\0"])
def test_other_texts_are_not(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ApplianceError, match="is not the name of a node") as refused:
        check_name(name)
    assert "at most 63" in refused.value.hint


def test_other_things_are_not() -> None:
    assert not is_name(None)
    assert not is_name(b"fw1")


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(ApplianceError) as refused:
        check_name("x" * 100_000)
    assert len(refused.value.message) < 120


def test_capitals_do_not_make_another_name() -> None:
    assert same_name("fw1", "FW1")
    assert not same_name("fw1", "fw2")
