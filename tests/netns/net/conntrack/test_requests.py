"""Entries put into a real kernel, judged by `conntrack` and by what the kernel tells of them."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from appliance.net.conntrack import Asker, Entry, Injector, Tcp, count
from appliance.net.conntrack.attributes import HEADER
from appliance.net.conntrack.entry import Status
from appliance.net.conntrack.messages import build_create, build_delete, build_get, build_update
from appliance.net.conntrack.requests import SEND_BYTES, SEND_MAX
from tests.netns.net.conntrack.connections import CLIENT, OUTSIDE, connection, create, messages, parsed, translated

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]
NAT = Status.CONFIRMED | Status.SEEN_REPLY | Status.ASSURED


@pytest.fixture
def injector(inside: Inside) -> Iterator[Injector]:
    with inside(Injector) as made:
        yield made


@pytest.fixture
def asker(inside: Inside) -> Iterator[Asker]:
    with inside(Asker) as made:
        yield made


def look_up(asker: Asker, *entries: Entry) -> list[Entry]:
    questions = b"".join(build_get(entry.orig, seq, zone=entry.zone) for seq, entry in enumerate(entries))
    return parsed(asker.ask(questions, len(entries)))


def listed(inside: Inside, family: str) -> str:
    command = ["conntrack", "-L", "-f", family]
    done = inside(lambda: subprocess.run(command, capture_output=True, text=True, timeout=10, check=True))
    return str(done.stdout)


@pytest.mark.parametrize("name", translated())
def test_an_entry_is_created_as_it_was(injector: Injector, asker: Asker, name: str) -> None:
    entry = translated()[name]
    assert create(injector, [entry]) == []
    [made] = look_up(asker, entry)
    assert (made.orig, made.reply) == (entry.orig, entry.reply)
    assert made.status & NAT == NAT
    assert 298 <= made.timeout <= 300


def test_conntrack_lists_a_translated_connection(inside: Inside, injector: Injector) -> None:
    entry = replace(translated()["tcp, both"], mark=0x2A, zone=5)
    assert create(injector, [entry]) == []
    [line] = listed(inside, "ipv4").splitlines()
    for words in (
        "tcp      6",
        " ESTABLISHED src=10.0.0.1 dst=192.0.2.9 sport=3 dport=443",
        " src=172.16.0.5 dst=198.51.100.1 sport=8443 dport=1026 [ASSURED] mark=42 zone=5",
    ):
        assert words in line


def test_conntrack_lists_a_translated_ping_over_ipv6(inside: Inside, injector: Injector) -> None:
    assert create(injector, [translated()["icmp6, source"]]) == []
    [line] = listed(inside, "ipv6").splitlines()
    assert "src=fd00::1 dst=fd00::9 type=128 code=0 id=7 src=fd00::9 dst=fd00::99 type=129 code=0 id=700" in line


def test_a_connection_is_liberal_and_keeps_its_window_scales(injector: Injector, asker: Asker) -> None:
    create(injector, [replace(connection(), tcp=Tcp(3, 0x33, 0x35, 7, 10))])
    [made] = look_up(asker, connection())
    assert made.tcp == Tcp(3, 0x0B, 0x0D, 7, 10)


def test_an_update_changes_state_timeout_and_mark(injector: Injector, asker: Asker) -> None:
    create(injector, [replace(connection(), status=0)])
    changed = replace(connection(), timeout=20, mark=7, tcp=Tcp(7, 0x05, 0x01, 7, 10))
    assert injector.send(build_update(changed, 0), 1) == []
    [now] = look_up(asker, changed)
    assert (now.mark, now.tcp) == (7, Tcp(7, 0x0D, 0x09, 7, 10))
    assert 18 <= now.timeout <= 20
    assert now.status & Status.ASSURED


def test_a_create_that_may_find_something_is_an_update(injector: Injector, asker: Asker) -> None:
    create(injector, [connection()])
    assert injector.send(build_create(replace(connection(), mark=3), 0, excl=False), 1) == []
    assert [entry.mark for entry in look_up(asker, connection())] == [3]


def test_an_entry_goes_by_its_tuple_in_either_direction(inside: Inside, injector: Injector) -> None:
    first, second = translated()["tcp, source"], translated()["udp, source"]
    create(injector, [first, second])
    assert injector.send(build_delete(first.orig, 0) + build_delete(second.reply, 1, by_reply=True), 2) == []
    assert inside(count) == 0


def test_zones_are_kept_apart(injector: Injector, asker: Asker) -> None:
    create(injector, [replace(connection(), zone=1), replace(connection(), zone=2)])
    assert injector.send(build_delete(connection().orig, 0, zone=1), 1) == []
    assert look_up(asker, connection()) == []
    assert [entry.zone for entry in look_up(asker, *(replace(connection(), zone=zone) for zone in (1, 2)))] == [2]


def test_each_error_is_that_of_its_message(injector: Injector) -> None:
    there = [connection(number) for number in range(0, 10, 2)]
    create(injector, there)
    wanted = [connection(number) for number in range(10)]
    assert create(injector, wanted) == [(number, errno.EEXIST) for number in range(0, 10, 2)]
    gone = b"".join(build_delete(connection(number).orig, seq) for seq, number in enumerate(range(0, 20, 2)))
    assert injector.send(gone, 10) == [(seq, errno.ENOENT) for seq in range(5, 10)]
    changed = b"".join(build_update(connection(number), number) for number in range(4))
    assert injector.send(changed, 4) == [(0, errno.ENOENT), (2, errno.ENOENT)]


def test_a_reply_that_belongs_to_another_connection_is_in_the_way(injector: Injector) -> None:
    mine = translated()["tcp, source"]
    other = replace(mine, orig=replace(mine.orig, src=OUTSIDE, sport=9))
    assert create(injector, [mine, other]) == [(1, errno.EEXIST)]


def test_a_mark_is_taken_away(injector: Injector, asker: Asker) -> None:
    create(injector, [replace(connection(), mark=7)])
    assert injector.send(build_update(connection(), 0), 1) == []
    assert look_up(asker, connection())[0].mark == 0


def test_what_was_seen_stays_seen(injector: Injector, asker: Asker) -> None:
    create(injector, [connection()])
    assert injector.send(build_update(replace(connection(), status=0, timeout=20), 0), 1) == []
    half = build_update(replace(connection(), status=Status.SEEN_REPLY, timeout=10), 0)
    assert injector.send(half, 1) == [(0, errno.EBUSY)]
    [now] = look_up(asker, connection())
    assert now.status & NAT == NAT
    assert now.timeout <= 10  # the kernel has set it before it refused


def test_a_local_entry_that_is_translated_otherwise_is_another_connection(injector: Injector) -> None:
    mine = translated()["tcp, source"]
    create(injector, [replace(mine, reply=mine.orig.inverse)])
    assert injector.send(build_update(mine, 0), 1) == [(0, errno.ENOENT)]
    assert create(injector, [mine]) == [(0, errno.EEXIST)]


def test_labels_stay_only_where_a_rule_knows_labels(inside: Inside, injector: Injector, asker: Asker) -> None:
    labelled = replace(connection(), labels=bytes(range(16)))
    assert create(injector, [labelled]) == []
    assert look_up(asker, labelled)[0].labels == b""
    rules = (
        "add table inet t; add chain inet t c { type filter hook output priority 0; }; add rule inet t c ct label set 1"
    )
    inside(lambda: subprocess.run(["nft", rules], timeout=10, check=True))
    second = replace(connection(1), labels=bytes(range(16)))
    assert create(injector, [second]) == []
    assert injector.send(build_update(replace(second, labels=b""), 0), 1) == []
    assert look_up(asker, second)[0].labels == bytes(range(16))


def test_more_than_one_send_can_carry_is_sent_in_parts(inside: Inside, injector: Injector, asker: Asker) -> None:
    entries = [connection(number) for number in range(2 * SEND_MAX + 7)]
    assert create(injector, entries) == []
    assert inside(count) == len(entries)
    assert create(injector, entries) == [(number, errno.EEXIST) for number in range(len(entries))]
    assert len(look_up(asker, *entries)) == len(entries)
    large = [replace(translated()["tcp, both"], labels=b"x" * 16, zone=1, mark=number) for number in range(500)]
    assert len(build_create(large[1], 0)) * len(large) > SEND_BYTES
    assert create(injector, large) == [(number, errno.EEXIST) for number in range(1, 500)]


def test_nothing_is_sent_for_nothing(injector: Injector, asker: Asker) -> None:
    assert injector.send(b"", 0) == []
    assert asker.ask(b"", 0) == b""


def test_answers_have_the_number_of_their_question(injector: Injector, asker: Asker) -> None:
    create(injector, [connection(1), connection(3)])
    questions = b"".join(build_get(connection(number).orig, number) for number in range(5))
    answers = messages(asker.ask(questions, 5))
    assert [HEADER.unpack_from(answer)[3] for answer in answers] == [1, 3]


def test_an_entry_is_found_by_its_reply_too(injector: Injector, asker: Asker) -> None:
    entry = translated()["tcp, source"]
    create(injector, [entry])
    [found] = parsed(asker.ask(build_get(entry.reply, 0, by_reply=True), 1))
    assert found.orig == entry.orig
    [found] = parsed(asker.ask(build_get(entry.reply, 0), 1))
    assert found.orig.src == CLIENT


def test_without_the_capability_nobody_gets_as_far_as_a_batch(inside: Inside) -> None:
    code = (
        "import os; from appliance.errors import KernelError\n"
        "from appliance.net.conntrack import Asker, Dump, EventSocket, Group, Injector\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "for what in (Injector, Asker, lambda: EventSocket([Group.NEW]), lambda: Dump().read(1)):\n"
        "    try: what()\n"
        "    except KernelError as error: assert 'Operation not permitted' in error.message, error; print('refused')\n"
    )
    run = [sys.executable, "-c", code]
    done = inside(lambda: subprocess.run(run, capture_output=True, text=True, timeout=30, check=False))
    assert done.stdout.split() == ["refused"] * 4, done.stderr
