"""What travels to the other nodes."""

from __future__ import annotations

from appliance_users.sync import SECTIONS


def test_the_whole_table_is_one_section() -> None:
    (section,) = SECTIONS
    assert (section.name, section.keys) == ("users", (("users",),))
