"""The prompt says who, what role, where, and what runs out."""

import pytest

from appliance.console.shell.node import Seen
from appliance.console.shell.prompt import prompt

MASTER = Seen(node="fw1", role="MASTER", revision=7)


@pytest.mark.parametrize(
    ("seen", "place", "text"),
    [
        (MASTER, None, "fw1[MASTER]> "),
        (MASTER, "", "[edit]\nfw1[MASTER]# "),
        (MASTER, "carp vip lan", "[edit carp vip lan]\nfw1[MASTER]# "),
        (Seen(node="fw1", role="NONE"), None, "fw1> "),
        (Seen(node="fw1"), None, "fw1[no node]> "),
        (Seen(), None, "appliance[no node]> "),
    ],
)
def test_the_prompt_names_node_role_and_place(seen: Seen, place: str | None, text: str) -> None:
    assert prompt(seen, place=place, now=0.0) == text


@pytest.mark.parametrize(("now", "left"), [(100.0, "10:00"), (640.5, "0:59"), (800.0, "0:00")])
def test_an_unconfirmed_change_counts_down(now: float, left: str) -> None:
    pending = Seen(node="fw1", role="BACKUP", revision=8, deadline=700.0)
    assert prompt(pending, place=None, now=now) == f"[revision 8 rolls back in {left}]\nfw1[BACKUP]> "
