"""Colours of states, and where there are none."""

import re

import pytest

from appliance.console.colour import painted, painter

SCREEN = """\
fw1 has MIXED roles: BACKUP of 1, MASTER of 1
failover: nobody would take over: fw3 does not answer

peers:
  fw2  healthy for 3.3s, demotion 0: BACKUP
  fw3  not answering for 2.0s, demotion 0: gone

links:
  wan (wan0)  DOWN for 28s

problems:
  !! wan (wan0) has no link
     -> Check the cable of the MASTER.
  *  carp: handed over, it is BACKUP
  !  clock is off
"""
GREEN, CYAN, YELLOW, RED, END = "\x1b[1;32m", "\x1b[36m", "\x1b[33m", "\x1b[1;31m", "\x1b[m"


def test_states_and_marks_are_coloured_and_nothing_else_changes() -> None:
    text = painted(SCREEN)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == SCREEN
    for part in (
        f"has {YELLOW}MIXED{END} roles: {CYAN}BACKUP{END} of 1, {GREEN}MASTER{END} of 1\n",
        f"failover: {RED}nobody would take over{END}: fw3",
        f"fw2  {GREEN}healthy{END} for",
        f"fw3  {RED}not answering{END} for",
        f"(wan0)  {RED}DOWN{END} for",
        f"{RED}  !!{END} wan",
        f"{YELLOW}  ! {END} clock",
        "     -> Check the cable of the MASTER.\n",
        f"{CYAN}  * {END} carp: handed over, it is BACKUP\n",
    ):
        assert part in text


def test_a_doctors_marks_have_colours_at_the_beginning_of_a_line_only() -> None:
    text = "ok    carp: no other MASTER\nWARN  b: FAIL  or ok  \n      because of DOWN\nFAIL  c\nOK"
    assert painted(text) == (
        f"{GREEN}ok  {END}  carp: no other MASTER\n{YELLOW}WARN{END}  b: FAIL  or ok  \n      because of DOWN\n"
        f"{RED}FAIL{END}  c\nOK"
    )


def test_whether_a_failover_would_work_has_a_colour() -> None:
    assert painted("failover: fw2 would take over") == f"failover: {GREEN}fw2 would take over{END}"
    badly = "failover: this node would take over badly"
    assert painted(f"{badly}: link:wan") == f"failover: {YELLOW}this node would take over badly{END}: link:wan"


def test_names_that_have_such_a_word_in_them_stay_as_they_are() -> None:
    assert painted("MASTER-2 x_BACKUP DOWNTOWN") == "MASTER-2 x_BACKUP DOWNTOWN"


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (["show", "ha"], {"TERM": "vt100"}, f"{GREEN}MASTER{END}"),
        (["show", "carp", "--vhid", "3"], {"TERM": "vt100", "NO_COLOR": ""}, f"{GREEN}MASTER{END}"),
        (["show", "ha"], {"TERM": "vt100", "NO_COLOR": "1"}, "MASTER"),
        (["show", "ha"], {"TERM": "dumb"}, "MASTER"),
        (["show", "ha"], {}, "MASTER"),
        (["show", "events"], {"TERM": "vt100"}, "MASTER"),
        (["show"], {"TERM": "vt100"}, "MASTER"),
    ],
)
def test_only_screens_about_states_have_colours_and_nobody_has_to_see_them(
    words: list[str], environ: dict[str, str], expected: str
) -> None:
    assert painter(words, environ)("MASTER") == expected
