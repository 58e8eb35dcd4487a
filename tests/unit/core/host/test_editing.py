"""Editing sessions: who they are, who is refused, when they end."""

from contextlib import ExitStack
from typing import Any

import pytest

from appliance.config.document import Document
from appliance.errors import RefusedError
from appliance.host.editing import SESSIONS_MAX, EditSession, EditSessions

TEXT = '[node]\nname = "fw1"\n'


def editing(sessions: EditSessions, who: str = "olga", *, now: float = 0.0, exclusive: bool = False) -> Any:
    return sessions.editing(who=who, now=now, exclusive=exclusive, text=TEXT, name="a.toml", revision=7)


def test_a_session_begins_with_what_is_in_force_and_ends_with_its_block() -> None:
    sessions = EditSessions()
    with editing(sessions) as own:
        assert (own.candidate.text, own.base_revision, own.is_changed) == (TEXT, 7, False)
        assert sessions.find(own.id, who="olga") is own
        assert sessions.all() == (own,)
    assert sessions.all() == ()
    with pytest.raises(RefusedError, match="this editing session has ended"):
        sessions.find(own.id, who="olga")


def test_nobody_edits_in_the_session_of_somebody_else() -> None:
    sessions = EditSessions()
    with editing(sessions) as own, pytest.raises(RefusedError):
        sessions.find(own.id, who="eve")


def test_several_may_edit_each_with_a_candidate_of_their_own() -> None:
    sessions = EditSessions()
    with editing(sessions) as one, editing(sessions, "bob") as other:
        one.candidate = one.candidate.put(("node", "role"), "secondary")
        assert one.is_changed
        assert not other.is_changed


def test_who_edits_alone_is_named_to_the_others() -> None:
    sessions = EditSessions()
    with (
        editing(sessions, exclusive=True),
        pytest.raises(RefusedError, match="olga edits the configuration exclusively, for 12 s now"),
        editing(sessions, "bob", now=12.0),
    ):
        pass


def test_nobody_gets_to_edit_alone_while_somebody_edits() -> None:
    sessions = EditSessions()
    with (
        editing(sessions),
        pytest.raises(RefusedError, match="olga edits the configuration, for 3 s now") as caught,
        editing(sessions, "bob", now=3.0, exclusive=True),
    ):
        pass
    assert caught.value.hint == "Wait until olga leaves configuration mode, or `configure` without exclusive."


def test_there_is_a_limit() -> None:
    sessions = EditSessions()
    with ExitStack() as stack:
        for number in range(SESSIONS_MAX):
            stack.enter_context(editing(sessions, f"user{number}"))
        with pytest.raises(RefusedError, match="16 sessions edit already"):
            stack.enter_context(editing(sessions))


def test_beginning_anew_leaves_places_that_are_gone() -> None:
    base = Document("[a.b]\nx = 1\n[[a.c]]\ny = 1\n")
    own = EditSession(
        id="1", who="olga", since=0, exclusive=False, base=base, base_revision=1, candidate=base, place=("a", "c", 0)
    )
    own.edits.append(lambda document: document)
    own.restart(base.without(("a", "c")), 2)
    assert (own.place, own.edits, own.base_revision, own.is_changed) == (("a",), [], 2, False)
