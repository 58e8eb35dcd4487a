"""What is told to the peers, and how many records become one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.conntrack.entry import TCP, Tcp
from appliance_pfsync import filters
from appliance_pfsync.filters import LocalAddresses, coalesce, exportable
from appliance_pfsync.flow import FLOW4, FLOW6, UDP, Flows, Op, TcpState, key_hashes
from tests.unit.plugins.pfsync.ctmessages import connection, record

LOCAL = LocalAddresses(
    ["192.168.1.1", "198.51.100.2", "198.51.100.200", "127.0.0.1", "::1", "fe80::1%eth0", "2001:db8:2::c8"]
)
CLIENT, SERVER, VIP = "192.168.1.100", "198.51.100.1", "198.51.100.200"
CLIENT6, SERVER6, VIP6 = "2001:db8:1::64", "2001:db8:2::1", "2001:db8:2::c8"


def told(flows: Flows, *, early: bool = False) -> bool:
    (answer,) = exportable(flows, LOCAL, early=early).tolist()
    return bool(answer)


@pytest.mark.parametrize(
    ("source", "target", "reply_source", "reply_target", "is_told"),
    [
        (CLIENT, SERVER, SERVER, CLIENT, True),
        (CLIENT, SERVER, SERVER, VIP, True),  # SNAT to an own address
        (SERVER, VIP, CLIENT, SERVER, True),  # port forward from an own address
        (VIP, SERVER, SERVER, VIP, False),  # begun here
        (SERVER, VIP, VIP, SERVER, False),  # ends here
        (CLIENT, SERVER, VIP, CLIENT, False),  # redirected to the node
        (CLIENT, "224.0.0.18", "224.0.0.18", CLIENT, False),
        (CLIENT, "239.255.255.250", "239.255.255.250", CLIENT, False),
        (CLIENT, "240.0.0.1", "240.0.0.1", CLIENT, True),
        ("0.0.0.0", "255.255.255.255", "255.255.255.255", "0.0.0.0", False),
        ("127.0.0.5", "127.0.0.6", "127.0.0.6", "127.0.0.5", False),
        (CLIENT6, SERVER6, SERVER6, CLIENT6, True),
        (CLIENT6, SERVER6, SERVER6, VIP6, True),
        (SERVER6, VIP6, CLIENT6, SERVER6, True),
        (VIP6, SERVER6, SERVER6, VIP6, False),
        (SERVER6, VIP6, VIP6, SERVER6, False),
        ("fe80::1", "fe80::2", "fe80::2", "fe80::1", False),
        (CLIENT6, "ff02::12", "ff02::12", CLIENT6, False),
        ("::1", "::1", "::1", "::1", False),
    ],
)
def test_flows_that_pass_through_are_told(
    source: str, target: str, reply_source: str, reply_target: str, is_told: bool
) -> None:
    entry = connection(source, target, UDP)
    reply = replace(entry.reply, src=ip_address(reply_source), dst=ip_address(reply_target))
    assert told(record(replace(entry, reply=reply))) is is_told


@pytest.mark.parametrize(("proto", "is_told"), [(112, False), (240, False), (50, True), (1, True), (47, True)])
def test_the_protocols_of_the_cluster_are_not_told(proto: int, is_told: bool) -> None:
    assert told(record(connection(CLIENT, SERVER, proto))) is is_told


@pytest.mark.parametrize(
    ("state", "status", "changes", "ends"),
    [
        (TcpState.SYN_SENT, 0x8, False, False),
        (TcpState.SYN_RECV, 0xA, False, False),
        (TcpState.SYN_SENT2, 0x8, False, False),
        (TcpState.NONE, 0x8, False, True),
        (TcpState.CLOSE, 0xA, False, True),
        (TcpState.ESTABLISHED, 0xA, True, True),
        (TcpState.ESTABLISHED, 0xE, True, True),
        (TcpState.TIME_WAIT, 0xE, True, True),
        (TcpState.CLOSE, 0xE, True, True),
        (TcpState.NONE, 0xE, True, True),
    ],
)
def test_tcp_is_told_from_its_establishment_on(state: TcpState, status: int, changes: bool, ends: bool) -> None:
    entry = connection(CLIENT, SERVER, TCP, tcp=Tcp(state), status=status)
    for op, is_told in ((Op.INSERT, changes), (Op.UPDATE, changes), (Op.DELETE, ends), (Op.REQUEST, ends)):
        assert told(record(entry, op)) is is_told
        assert told(record(entry, op), early=True)


def test_a_node_without_addresses_tells_everything_that_passes() -> None:
    nowhere = LocalAddresses([])
    for entry in (connection(CLIENT, SERVER), connection(CLIENT6, SERVER6)):
        assert exportable(record(entry), nowhere).all()
        assert not len(exportable(record(entry)[:0], nowhere))


def flow(op: Op, number: int = 0, **fields: Any) -> Flows:
    made = record(connection(CLIENT, SERVER), op)
    made["orig_sport"] = number
    for name, value in fields.items():
        made[name] = value
    return made


def batch(*flows: Flows) -> Flows:
    return np.concatenate(flows, dtype=flows[0].dtype)


def ops(flows: Flows) -> list[tuple[Op, int]]:
    return [(Op(int(each["op"])), int(each["orig_sport"])) for each in flows]


I, U, D, R = Op.INSERT, Op.UPDATE, Op.DELETE, Op.REQUEST  # noqa: E741 - a table of stories


@pytest.mark.parametrize(
    ("story", "left"),
    [
        ([I], [I]),
        ([U, U, U], [U]),
        ([I, U, U], [I]),
        ([U, I], [I]),
        ([I, D], [D]),
        ([I, U, D], [D]),
        ([D, I], [D, I]),
        ([D, I, U], [D, I]),
        ([I, D, I, U], [D, I]),
        ([D, U], [D, U]),
        ([D, I, D], [D]),
        ([D, I, D, I], [D, I]),
        ([D, D], [D]),
        ([I, R], [R]),
        ([R, I], [R, I]),
        ([R, D], [D]),
    ],
)
def test_the_story_of_a_flow_is_told_in_few_words(story: list[Op], left: list[Op]) -> None:
    assert [op for op, _ in ops(coalesce(batch(*[flow(op) for op in story])))] == left


def test_the_last_content_is_told() -> None:
    (last,) = coalesce(batch(flow(I, timeout=10, mark=1), flow(U, timeout=20, mark=0)))
    assert (last["op"], last["timeout"], last["mark"]) == (I, 20, 0)


def test_what_an_event_leaves_out_comes_from_the_one_before() -> None:
    labels = np.void(bytes(range(16)))
    first = flow(I, tcp_state=3, wscale=0x7A, tcp_flags_orig=3, labels=labels)
    (last,) = coalesce(batch(first, flow(U, tcp_state=0, wscale=0, tcp_flags_orig=0, mark=9)))
    assert (last["tcp_state"], last["wscale"], last["tcp_flags_orig"], last["mark"]) == (3, 0x7A, 3, 9)
    assert last["labels"] == labels
    _, new_life = coalesce(batch(flow(D, tcp_state=7, labels=labels), flow(I, tcp_state=0)))
    assert (new_life["tcp_state"], new_life["labels"]) == (0, np.void(bytes(16)))


def test_flows_come_in_the_order_of_their_last_words() -> None:
    told = coalesce(batch(flow(I, 1), flow(I, 2), flow(D, 3), flow(U, 1), flow(I, 3), flow(I, 4)))
    assert ops(told) == [(I, 2), (D, 3), (I, 1), (I, 3), (I, 4)]


def test_another_translation_is_another_flow() -> None:
    assert len(coalesce(batch(flow(I), flow(I, reply_dport=1), flow(I, zone=1), flow(I, proto=17)))) == 4


def test_distinct_flows_are_left_alone_and_the_given_records_too() -> None:
    distinct = batch(*[flow(I, number) for number in range(20)])
    assert coalesce(distinct) is distinct
    twice = batch(flow(I, 1), flow(U, 1, tcp_state=0))
    before = twice.tobytes()
    coalesce(twice)
    assert twice.tobytes() == before


def plainly(flows: Flows) -> bytes:
    """The rules again, flow by flow."""
    lives: dict[bytes, list[tuple[int, np.void]]] = {}
    told: list[tuple[int, np.void]] = []
    for at, each in enumerate(flows):
        key = each.tobytes()[1 : 28 if len(each.tobytes()) == 60 else 76]
        story = lives.setdefault(key, [])
        if each["op"] < Op.DELETE and story and story[-1][1]["op"] < Op.DELETE:
            merged = each.copy()
            before = story.pop()[1]
            merged["op"] = min(before["op"], each["op"])
            if not each["tcp_state"]:
                for name in ("tcp_state", "tcp_flags_orig", "tcp_flags_reply", "wscale"):
                    merged[name] = before[name]
            if each["labels"].tobytes() == bytes(16):
                merged["labels"] = before["labels"]
            story.append((at, merged))
        else:
            if each["op"] >= Op.DELETE:
                story.clear()
            story.append((at, each))
    for story in lives.values():
        told += story
    return b"".join(each.tobytes() for _, each in sorted(told, key=lambda pair: pair[0]))


records = st.tuples(st.sampled_from(Op), st.integers(0, 5), st.integers(0, 2), st.integers(0, 3), st.booleans())


@given(st.lists(records, max_size=60), st.sampled_from([FLOW4, FLOW6]), st.booleans())
def test_whole_batches_are_coalesced_by_the_same_rules(
    some: list[tuple[Op, int, int, int, bool]], dtype: np.dtype[np.void], collide: bool
) -> None:
    flows = np.zeros(len(some), dtype)
    for row, (op, port, state, timeout, labelled) in zip(flows, some, strict=True):
        row["op"], row["proto"], row["orig_sport"], row["tcp_state"], row["timeout"] = op, TCP, port, state, timeout
        row["wscale"] = state * 17
        if labelled:
            row["labels"] = np.void(bytes(15) + bytes([timeout + 1]))
    with pytest.MonkeyPatch.context() as patch:
        if collide:  # a hash that is equal for different flows must not matter
            patch.setattr(filters, "key_hashes", lambda flows: key_hashes(flows) % np.uint64(2))
        assert coalesce(flows).tobytes() == plainly(flows)
        patch.setattr(filters, "FEW", 0)
        assert coalesce(flows).tobytes() == plainly(flows)
