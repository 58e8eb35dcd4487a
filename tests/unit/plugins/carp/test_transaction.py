"""Editions of one virtual host: nobody sends what somebody does not accept."""

from __future__ import annotations

from appliance_carp.transaction import KEEP_S, KEPT_MAX, Edition, Stance, Transaction

OLD, NEW, NEWER = (Edition(1, mark * 8) for mark in (b"o", b"n", b"m"))
NOW = 100.0


def peer(active: Edition = OLD, wanted: Edition | None = None, *kept: Edition, alive: bool = True) -> Stance:
    return Stance("fw2", alive, active, wanted, frozenset(kept))


def staged(edition: Edition = NEW) -> Transaction:
    held = Transaction(OLD)
    held.want(edition, NOW)
    return held


def test_nothing_is_staged_at_first() -> None:
    held = Transaction(OLD)
    assert (held.is_open, held.accepted, held.waits_for([peer()], absent_too=True)) == (False, (OLD,), [])


def test_a_change_waits_for_every_peer_and_is_accepted_meanwhile() -> None:
    held = staged()
    assert held.accepted == (OLD, NEW)
    assert held.sending([peer()]) == OLD
    assert held.waits_for([peer(), peer(OLD, NEW), peer(NEW)], absent_too=True) == [peer()]


def test_a_peer_that_only_still_accepts_it_is_waited_for() -> None:
    assert staged().waits_for([peer(OLD, None, NEW)], absent_too=True) != []


def test_a_peer_that_is_away_matters_only_if_told_so() -> None:
    away = peer(alive=False)
    assert staged().waits_for([away], absent_too=True) == [away]
    assert staged().waits_for([away], absent_too=False) == []


def test_what_was_in_force_is_kept_until_nobody_has_it_and_its_time_is_over() -> None:
    held = staged()
    held.switch(NOW)
    assert held.accepted == (NEW, OLD)
    assert not held.drop([peer(NEW)], NOW + KEEP_S - 1)
    assert not held.drop([peer(OLD, alive=False)], NOW + KEEP_S)
    assert not held.drop([Stance("fw3", False, None)], NOW + KEEP_S), "nobody knows what it has"
    assert held.drop([peer(NEW)], NOW + KEEP_S)
    assert held.accepted == (NEW,)


def test_a_revert_uses_nothing_new_but_still_accepts_what_was_promised() -> None:
    held = staged()
    held.want(OLD, NOW)
    assert (held.is_open, held.accepted) == (False, (OLD, NEW))


def test_a_second_change_replaces_the_first() -> None:
    held = staged()
    held.want(NEWER, NOW)
    assert held.accepted == (OLD, NEWER, NEW)
    held.switch(NOW)
    assert (held.active, set(held.kept)) == (NEWER, {OLD, NEW})


def test_a_peer_that_came_back_without_the_change_is_spoken_to_in_what_it_knows() -> None:
    held = staged()
    held.switch(NOW)
    assert held.sending([peer(OLD)]) == OLD
    assert held.sending([peer(OLD), peer(NEW, None, OLD)]) == OLD
    assert held.sending([peer(OLD, alive=False)]) == NEW
    assert held.sending([peer(NEWER)]) == NEW, "nothing would be understood"


def test_the_number_of_kept_editions_is_bounded() -> None:
    held = Transaction(OLD)
    for number in range(KEPT_MAX + 3):
        held.want(Edition(1, bytes((number,)) * 8), NOW)
        held.switch(NOW)
    assert len(held.kept) == KEPT_MAX
    assert OLD not in held.kept


def test_what_was_accepted_before_a_restart_is_accepted_after_it() -> None:
    held = staged()
    held.restore(NEWER, NOW)
    held.restore(NEW, NOW)
    assert held.accepted == (OLD, NEW, NEWER)
