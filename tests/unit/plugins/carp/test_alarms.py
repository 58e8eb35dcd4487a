"""Alarms about the wire: raised once, kept while the cause lasts, bounded."""

from __future__ import annotations

import pytest

from appliance.events import Health
from appliance_carp.alarms import ALARMS_MAX, EXPIRE_S, AlarmBook, Trouble


def test_an_alarm_is_raised_once_while_its_cause_lasts() -> None:
    book = AlarmBook()
    first = book.saw(Trouble.BAD_AUTH, 0.0, interface="lan", vhid=1, source="192.168.1.9")
    assert first is not None
    assert "192.168.1.9" in first.what
    assert first.fix
    assert book.saw(Trouble.BAD_AUTH, 1.0, interface="lan", vhid=1, source="192.168.1.9") is None


def test_an_alarm_ends_when_its_cause_has_not_been_seen_for_a_while() -> None:
    book = AlarmBook()
    book.saw(Trouble.LOOP, 0.0, interface="lan", vhid=1, source="192.168.1.2")
    book.saw(Trouble.LOOP, 5.0, interface="lan", vhid=1, source="192.168.1.2")
    assert book.expire(5.0 + EXPIRE_S) == []
    (gone,) = book.expire(5.1 + EXPIRE_S)
    assert not gone.active
    assert not book.standing


def test_a_cleared_alarm_is_withdrawn_at_once() -> None:
    book = AlarmBook()
    raised = book.saw(Trouble.PEER_LOST, 0.0, source="fw2")
    assert raised is not None
    (gone,) = book.clear(Trouble.PEER_LOST, "fw2")
    assert (gone.key, gone.active) == (raised.key, False)


def test_only_alarms_about_refused_adverts_of_that_source_count_as_refusals() -> None:
    book = AlarmBook()
    book.saw(Trouble.BAD_AUTH, 0.0, interface="lan", vhid=1, source="192.168.1.3")
    book.saw(Trouble.LOOP, 0.0, interface="lan", vhid=2, source="192.168.1.3")
    assert book.is_about("lan", 1, "192.168.1.3")
    assert not book.is_about("lan", 2, "192.168.1.3")
    assert not book.is_about("lan", 1, "192.168.1.4")


def test_forged_sources_do_not_fill_the_memory() -> None:
    book = AlarmBook()
    raised = [book.saw(Trouble.BAD_AUTH, 0.0, interface="lan", vhid=1, source=str(n)) for n in range(ALARMS_MAX + 9)]
    assert sum(alarm is not None for alarm in raised) == ALARMS_MAX


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_says_what_and_how_to_mend_it(trouble: Trouble) -> None:
    alarm = AlarmBook().saw(trouble, 0.0, interface="lan", vhid=1, source="x", detail="y")
    assert alarm is not None
    assert alarm.health is not Health.OK
    assert "{" not in alarm.what + alarm.fix
