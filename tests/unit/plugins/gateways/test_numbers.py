"""Numbers of gateways: the same on every node, whatever else is configured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance_gateways.numbers import NUMBERS, numbers, table_of

NAMES = st.sets(st.from_regex(r"\A[a-z][a-z0-9_]{0,30}\Z"), max_size=300)


def test_a_number_comes_from_the_name_alone() -> None:
    assert numbers(["wan_gw"])["wan_gw"] == numbers(["wan2_gw", "wan_gw", "x"])["wan_gw"] == 103
    assert table_of(103) == 1103


@given(NAMES)
def test_every_gateway_has_its_own_number_in_any_order(names: set[str]) -> None:
    found = numbers(sorted(names))
    assert len(found) == min(len(names), NUMBERS)
    assert len(set(found.values())) == len(found)
    assert all(1 <= number <= NUMBERS for number in found.values())
    assert numbers(sorted(names, reverse=True)) == found


def test_names_that_fall_on_one_number_get_different_ones() -> None:
    first = numbers(["wan_gw"])["wan_gw"]
    clash = next(name for name in (f"g{n}" for n in range(10_000)) if numbers([name])[name] == first)
    assert numbers(["wan_gw", clash]) == {clash: first, "wan_gw": first + 1}
    assert clash < "wan_gw"
