"""The lines above the menu, and its numbers."""

from __future__ import annotations

from typing import Any

from appliance.console.menu.screen import banner, numbered

HA: dict[str, Any] = {"summary": "fw1 is MASTER of all 2 virtual hosts", "problems": []}
WAN = {
    "name": "wan",
    "device": "wan0",
    "carrier": True,
    "addresses": [
        {"address": "198.51.100.201/24", "configured": True, "present": True},
        {"address": "fe80::1/64", "configured": False, "present": True},
        {"address": "198.51.100.9/24", "configured": True, "present": False},
    ],
}
SYNC = {"name": "sync", "device": "sync0", "carrier": False, "addresses": []}


def test_a_running_node_has_a_line_for_each_interface() -> None:
    assert banner("0.1.0", HA, [WAN, SYNC]) == (
        "appliance 0.1.0: fw1 is MASTER of all 2 virtual hosts\n"
        "\n"
        "  wan   wan0 up           198.51.100.201/24\n"
        "  sync  sync0 NO LINK"
    )


def test_problems_and_a_node_that_does_not_run_are_said() -> None:
    assert banner("0.1.0", HA | {"problems": [{}, {}]}, []).endswith("2 problems: see `HA status`\n")
    assert banner("0.1.0", None, []) == "appliance 0.1.0: no node is running"


def test_numbers_stand_in_two_columns() -> None:
    assert (
        numbered(["One", "Two", "Three", "Four"])
        == "  1) One      4) Four\n  2) Two      0) Leave the menu\n  3) Three"
    )
