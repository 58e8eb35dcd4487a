"""The whole table of a real kernel."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from appliance.net.conntrack import Dump, Injector
from appliance.net.conntrack.dump import PART_BYTES
from appliance.net.conntrack.messages import build_delete
from tests.netns.net.conntrack.connections import connection, create, messages, parsed, translated

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def injector(inside: Inside) -> Iterator[Injector]:
    with inside(Injector) as made:
        yield made


def parts(dump: Dump, max_bytes: int) -> list[bytes]:
    found = []
    while part := dump.read(max_bytes):
        found.append(part)
    return found


def test_an_empty_table_ends_at_once(inside: Inside) -> None:
    with inside(Dump) as dump:
        assert dump.read(1 << 20) == b""
        assert dump.read(1 << 20) == b""


def test_every_entry_is_listed_as_it_is(inside: Inside, injector: Injector) -> None:
    wanted = {(entry.orig, entry.reply) for entry in translated().values()}
    create(injector, list(translated().values()))
    with inside(Dump) as dump:
        listed = [entry for part in parts(dump, 1 << 20) for entry in parsed(part)]
    assert len(listed) == len(wanted)
    assert {(entry.orig, entry.reply) for entry in listed} == wanted


@pytest.mark.parametrize(("family", "version"), [(socket.AF_INET, 4), (socket.AF_INET6, 6)])
def test_one_family_can_be_left_out(inside: Inside, injector: Injector, family: int, version: int) -> None:
    create(injector, list(translated().values()))
    with inside(lambda: Dump(family)) as dump:
        versions = [entry.orig.src.version for entry in parsed(dump.read(1 << 20))]
    assert versions == [version] * sum(entry.orig.src.version == version for entry in translated().values())


def test_a_large_table_comes_in_parts_of_whole_messages(inside: Inside, injector: Injector) -> None:
    entries = [connection(number) for number in range(3000)]
    create(injector, entries)
    with inside(Dump) as dump:
        found = parts(dump, 4 * PART_BYTES)
    assert len(found) > 3
    assert max(map(len, found)) <= 4 * PART_BYTES
    assert {entry.orig for part in found for entry in parsed(part)} == {entry.orig for entry in entries}
    assert sum(len(messages(part)) for part in found) == len(entries)


def test_a_small_request_is_answered_with_one_part(inside: Inside, injector: Injector) -> None:
    create(injector, [connection(number) for number in range(1000)])
    with inside(Dump) as dump:
        found = parts(dump, 1)
    assert sum(len(messages(part)) for part in found) == 1000
    assert max(map(len, found)) <= PART_BYTES


def test_entries_may_come_and_go_meanwhile(inside: Inside, injector: Injector) -> None:
    stays = [connection(number) for number in range(1000)]
    goes = [connection(number) for number in range(1000, 2000)]
    create(injector, stays + goes)
    found = []
    with inside(Dump) as dump:
        found += parsed(dump.read(1))
        injector.send(b"".join(build_delete(entry.orig, seq) for seq, entry in enumerate(goes)), 1000)
        create(injector, [connection(number) for number in range(2000, 3000)])
        found += [entry for part in parts(dump, 1 << 20) for entry in parsed(part)]
    assert {entry.orig for entry in stays} <= {entry.orig for entry in found}


def test_a_dump_can_be_left_in_its_middle(inside: Inside, injector: Injector) -> None:
    create(injector, [connection(number) for number in range(1000)])
    with inside(Dump) as dump:
        assert dump.read(1)
    with inside(Dump) as dump:
        assert sum(len(messages(part)) for part in parts(dump, 1 << 20)) == 1000
