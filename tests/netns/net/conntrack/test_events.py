"""What a real kernel reports, and what it does not."""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from appliance.net.conntrack import EventSocket, Group, Injector, OverrunError, count
from appliance.net.conntrack import events as events_module
from appliance.net.conntrack.entry import UDP, Status
from appliance.net.conntrack.messages import build_delete, build_update
from tests.netns.net.conntrack.connections import connection, create, messages, parsed, translated

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
ALL = (Group.NEW, Group.UPDATE, Group.DESTROY)


@pytest.fixture
def injector(inside: Inside) -> Iterator[Injector]:
    with inside(Injector) as made:
        yield made


@pytest.fixture
def events(inside: Inside) -> Iterator[EventSocket]:
    with inside(lambda: EventSocket(ALL)) as made:
        yield made


def is_readable(events: EventSocket) -> bool:
    return bool(select.select([events], [], [], 0)[0])


def test_the_life_of_an_entry_is_reported_with_who_did_it(injector: Injector, events: EventSocket) -> None:
    entry = translated()["tcp, source"]
    assert not is_readable(events)
    create(injector, [entry])
    assert is_readable(events)
    injector.send(build_update(replace(entry, timeout=50), 0), 1)
    injector.send(build_delete(entry.orig, 0), 1)
    reported = parsed(events.drain(10))
    assert [event.kind for event in reported] == [Group.NEW, Group.UPDATE, Group.DESTROY]
    assert {(event.orig, event.reply, event.port) for event in reported} == {(entry.orig, entry.reply, injector.port)}
    assert [49 <= event.timeout <= 50 for event in reported] == [False, True, True]
    assert events.drain(10) == b""


@pytest.mark.parametrize("name", translated())
def test_events_of_every_kind_of_connection_are_understood(injector: Injector, events: EventSocket, name: str) -> None:
    entry = translated()[name]
    create(injector, [entry])
    [event] = parsed(events.drain(10))
    assert (event.orig, event.reply) == (entry.orig, entry.reply)


def test_only_the_groups_asked_for_are_reported(inside: Inside, injector: Injector) -> None:
    with inside(lambda: EventSocket([Group.DESTROY])) as events:
        create(injector, [connection()])
        injector.send(build_delete(connection().orig, 0), 1)
        assert [event.kind for event in parsed(events.drain(10))] == [Group.DESTROY]


def test_what_ignored_ports_do_is_not_reported(inside: Inside, injector: Injector) -> None:
    with (
        inside(Injector) as other,
        inside(Injector) as third,
        inside(lambda: EventSocket(ALL, ignore_ports={injector.port, third.port})) as events,
    ):
        create(injector, [connection(0)])
        create(third, [connection(1)])
        assert not is_readable(events)
        create(other, [connection(2)])
        injector.send(build_delete(connection(2).orig, 0), 1)
        [event] = parsed(events.drain(10))
        assert (event.kind, event.port, event.orig) == (Group.NEW, other.port, connection(2).orig)


@pytest.mark.parametrize("name", ["tcp, both", "tcp6, source", "udp, source", "icmp, source"])
def test_an_unfinished_handshake_is_hidden_and_all_else_is_not(inside: Inside, injector: Injector, name: str) -> None:
    entry = replace(translated()[name], status=Status(0))
    if entry.tcp is not None:
        entry = replace(entry, tcp=replace(entry.tcp, state=1))
    with (
        inside(Injector) as ignored,
        inside(lambda: EventSocket(ALL, ignore_ports={ignored.port}, hide_unfinished_tcp=True)) as events,
    ):
        create(injector, [entry])
        injector.send(build_update(replace(entry, timeout=20), 0), 1)
        injector.send(build_update(translated()[name], 0), 1)
        injector.send(build_delete(entry.orig, 0), 1)
        create(ignored, [translated()[name]])
        kinds = [event.kind for event in parsed(events.drain(10))]
    hidden = [Group.NEW, Group.UPDATE] if entry.tcp is not None else []
    assert [*hidden, *kinds] == [Group.NEW, Group.UPDATE, Group.UPDATE, Group.DESTROY]


def test_packets_are_reported_as_nobodys_doing(inside: Inside, events: EventSocket) -> None:
    def send() -> None:
        rules = "add table inet t; add chain inet t c { type filter hook output priority 0; ct state new accept; }"
        subprocess.run(["nft", rules], timeout=10, check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], timeout=10, check=True)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        ):
            far.bind(("127.0.0.1", 5353))
            near.sendto(b"question", ("127.0.0.1", 5353))
            far.sendto(b"answer", far.recvfrom(100)[1])

    inside(send)
    first = parsed(events.drain(10))[0]
    assert (first.kind, first.port, first.orig.proto, first.orig.dport) == (Group.NEW, 0, UDP, 5353)
    assert first.reply == first.orig.inverse


def test_no_more_are_drained_than_asked_for_and_each_is_whole(injector: Injector, events: EventSocket) -> None:
    create(injector, [connection(number) for number in range(300)])
    counts = []
    while data := events.drain(128):
        assert len(data) % 4 == 0
        counts.append(len(messages(data)))
    assert counts == [128, 128, 44]


def test_lost_events_are_told_once_and_later_ones_come(inside: Inside, injector: Injector) -> None:
    with inside(lambda: EventSocket(ALL, receive_buffer=50_000)) as events:
        create(injector, [connection(number) for number in range(500)])
        with pytest.raises(OverrunError, match="dropped conntrack events") as lost:
            events.drain(1024)
        assert lost.value.hint
        kept = parsed(events.drain(1024))
        assert 0 < len(kept) < 500
        assert events.drain(1024) == b""
        injector.send(build_delete(connection().orig, 0), 1)
        assert [event.kind for event in parsed(events.drain(1024))] == [Group.DESTROY]


def test_a_reader_that_hangs_does_not_keep_entries_in_the_table(inside: Inside, injector: Injector) -> None:
    with inside(lambda: EventSocket(ALL, receive_buffer=50_000)):
        create(injector, [connection(number) for number in range(500)])
        gone = [build_delete(connection(number).orig, number) for number in range(500)]
        assert injector.send(b"".join(gone), 500) == []
        assert inside(count) == 0


def test_an_event_that_is_too_long_is_lost_but_not_silently(
    inside: Inside, injector: Injector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "SLOT_BYTES", 240)
    with inside(lambda: EventSocket(ALL)) as events:
        create(injector, [connection(), translated()["tcp6"]])
        assert [event.orig for event in parsed(events.drain(10))] == [connection().orig]
        with pytest.raises(OverrunError, match="more than 240 bytes"):
            events.drain(10)
        assert events.drain(10) == b""


def test_a_closed_socket_is_gone(inside: Inside) -> None:
    events = inside(lambda: EventSocket(ALL))
    assert events.port > 0
    events.close()
    assert events.fileno() == -1
