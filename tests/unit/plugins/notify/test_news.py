"""What is news, and in which words."""

from __future__ import annotations

import itertools

import pytest

from appliance.events import (
    Alarm,
    ConfigApplied,
    ConfigRefused,
    Event,
    HandoverMeasured,
    Health,
    NodeStarted,
    NodeStopping,
    PeerChanged,
    Retracted,
    Role,
    RoleChanged,
    ServiceCrashed,
    ServiceStarted,
    Status,
)
from appliance_notify.news import KNOWN_MAX, TEXT_MAX, News, clean
from appliance_notify.vocabulary import Kind, Severity, State

Told = tuple[Kind, Severity, State, str, str] | None


def news() -> News:
    return News("fw1", "run", itertools.count(1000.0).__next__)


def told(source: News, event: Event) -> Told:
    notice = source.take(event)
    return None if notice is None else (notice.kind, notice.severity, notice.state, notice.key, notice.what)


def role(role: Role, reason: str = "", vhid: int = 1) -> RoleChanged:
    return RoleChanged(interface="lan", vhid=vhid, role=role, reason=reason)


def alarm(key: str = "carp/lan/1/bad-auth", *, active: bool = True, health: Health = Health.WARN) -> Alarm:
    return Alarm(key=key, active=active, health=health, what="wrong password", fix="Compare.")


def peer(*, alive: bool = True, healthy: bool = True, summary: str = "") -> PeerChanged:
    return PeerChanged(peer="fw2", alive=alive, healthy=healthy, demotion=0, summary=summary)


def test_changes_of_a_role_are_news_and_where_all_begin_is_not() -> None:
    source = news()
    assert told(source, role(Role.INIT)) is None
    assert told(source, role(Role.BACKUP, "link is up")) == (
        Kind.ROLE,
        Severity.WARNING,
        State.EVENT,
        "role/lan/1",
        "BACKUP for VHID 1 on lan: link is up",
    )
    assert told(source, role(Role.BACKUP, "again")) is None
    assert (told(source, role(Role.MASTER, "master timed out")) or ())[
        4
    ] == "MASTER for VHID 1 on lan: master timed out"
    assert (told(source, role(Role.INIT, "no link")) or ())[1] is Severity.CRITICAL


def test_a_node_that_is_master_when_the_service_starts_is_news() -> None:
    assert told(news(), role(Role.MASTER)) is not None


def test_a_virtual_host_that_was_removed_is_forgotten() -> None:
    source = news()
    source.take(role(Role.MASTER))
    assert told(source, role(Role.REMOVED)) is None
    assert told(source, role(Role.BACKUP)) is None


def test_an_alarm_is_told_when_it_is_raised_changes_and_ends() -> None:
    source = news()
    assert told(source, alarm()) == (
        Kind.ALARM,
        Severity.WARNING,
        State.RAISED,
        "carp/lan/1/bad-auth",
        "wrong password",
    )
    assert told(source, alarm()) is None
    assert (told(source, alarm(health=Health.FAIL)) or ())[1] is Severity.CRITICAL
    assert (told(source, alarm(active=False)) or ())[1:3] == (Severity.CRITICAL, State.CLEARED)
    assert told(source, alarm(active=False)) is None


def test_the_remedy_travels_with_an_alarm() -> None:
    notice = news().take(alarm())
    assert notice is not None
    assert (notice.fix, notice.id, notice.at) == ("Compare.", "fw1-run-1", 1000.0)


@pytest.mark.parametrize(
    ("key", "kind"),
    [("gateways/wan_gw/down", Kind.GATEWAY), ("sync/172.16.1.3/failing", Kind.SYNC), ("ruleset", Kind.ALARM)],
)
def test_alarms_have_the_class_of_what_they_are_about(key: str, kind: Kind) -> None:
    assert (told(news(), alarm(key)) or ())[0] is kind


def test_an_alarm_whose_source_is_gone_ends() -> None:
    source = news()
    source.take(alarm())
    gone = Retracted(event_type="appliance.events.node:Alarm", key=("carp/lan/1/bad-auth",), source="carp/heartbeat")
    assert (told(source, gone) or ())[2:] == (
        State.CLEARED,
        "carp/lan/1/bad-auth",
        "nobody watches it any more: wrong password",
    )
    assert told(source, gone) is None


def test_a_peer_that_is_lost_is_critical_and_so_is_its_return() -> None:
    source = news()
    assert told(source, peer()) is None
    assert (told(source, peer(alive=False, healthy=False)) or ())[1:3] == (Severity.CRITICAL, State.RAISED)
    assert told(source, peer(alive=False, healthy=False, summary="still")) is None
    assert (told(source, peer()) or ())[1:3] == (Severity.CRITICAL, State.CLEARED)
    assert (told(source, peer(healthy=False, summary="maintenance")) or ())[4] == (
        "fw2 is alive and cannot take over (maintenance)"
    )
    assert (told(source, peer()) or ())[1:3] == (Severity.WARNING, State.CLEARED)


def test_a_peer_that_was_retracted_is_not_known() -> None:
    source = news()
    source.take(peer(alive=False, healthy=False))
    source.take(Retracted(event_type="appliance.events.ha:PeerChanged", key=("fw2",), source="carp/heartbeat"))
    assert told(source, peer()) is None


def test_a_crash_is_told_and_the_recovery_after_it() -> None:
    source = news()
    started = ServiceStarted(service="carp/heartbeat")
    assert told(source, started) is None
    crash = ServiceCrashed(service="carp/heartbeat", error="OSError: x", distribution="ha-appliance", restart_in_s=0.5)
    assert (told(source, crash) or ())[4] == "carp/heartbeat crashed (OSError: x); it is started again in 0.5 s"
    assert (told(source, started) or ())[2:4] == (State.CLEARED, "service/carp/heartbeat")
    final = ServiceCrashed(service="carp/heartbeat", error="x", distribution="d", restart_in_s=None)
    assert (told(source, final) or ())[1] is Severity.CRITICAL


@pytest.mark.parametrize(
    ("event", "severity", "what"),
    [
        (
            ConfigApplied(revision=7, tables=("carp", "firewall"), who="olga"),
            Severity.INFO,
            "configuration 7 is in force: carp, firewall (by olga)",
        ),
        (ConfigApplied(revision=7, tables=()), Severity.INFO, "configuration 7 is in force"),
        (
            ConfigRefused(reason="line 3\nmore"),
            Severity.WARNING,
            "a configuration was refused or rolled back: line 3",
        ),
        (ConfigRefused(reason=""), Severity.WARNING, "a configuration was refused or rolled back: no reason was given"),
        (NodeStarted(node="fw1", version="1.0"), Severity.WARNING, "the node is up (version 1.0)"),
        (NodeStopping(reason="SIGTERM"), Severity.WARNING, "the node is stopping: SIGTERM"),
        (HandoverMeasured(to="fw2", duration_ms=41.6), Severity.INFO, "handed over to fw2 in 42 ms"),
    ],
)
def test_what_happens_is_told(event: Event, severity: Severity, what: str) -> None:
    assert (told(news(), event) or ())[1:] == (severity, State.EVENT, (told(news(), event) or ())[3], what)


def test_what_nobody_needs_to_know_is_not_told() -> None:
    assert told(news(), Status(summary="fine")) is None


def test_texts_that_others_made_have_no_control_characters_and_an_end() -> None:
    assert clean("a\r\nBcc: x\x1b[31m\u202eb") == "a Bcc: x [31m b"
    assert len(clean("x" * 10_000)) == TEXT_MAX
    assert clean("ä" * TEXT_MAX) == "ä" * TEXT_MAX


def test_memory_is_bounded() -> None:
    source = news()
    for number in range(KNOWN_MAX + 10):
        source.take(alarm(f"key{number}"))
    assert told(source, alarm("key0", active=False)) is None
    assert told(source, alarm(f"key{KNOWN_MAX}", active=False)) is not None
