"""What nodes tell each other: there and back, and nonsense."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_dhcp_failover import wire
from appliance_dhcp_failover.wire import BadMessage, Change, Hello, PoolSummary
from tests.unit.plugins.dhcp_failover.samples import NOW, lease

HELLO = Hello(
    node="fw1", wall=NOW, epoch="a.1", pulled="b.2", pools={"lan": PoolSummary(state="serving", leases=3, digest="d")}
)


def test_a_hello_comes_back_as_it_was() -> None:
    assert wire.decode_hello(wire.encode_hello(HELLO)) == HELLO


def test_changes_come_back_with_the_senders_name_and_by_the_receivers_clock() -> None:
    changes = [Change(interface="lan", lease=lease()), Change(interface="dmz", lease=lease(5, node="fw3"), gone=True)]
    raw = wire.encode_changes(changes, NOW, "fw1")
    ahead = 7200.0
    first, second = wire.decode_changes(raw, NOW + ahead)
    assert first == Change(interface="lan", lease=replace(lease(), node="fw1", begun=lease().begun + ahead))
    assert (second.interface, second.gone, second.lease.node) == ("dmz", True, "fw3")


def test_pages_and_questions_come_back() -> None:
    raw = wire.encode_page([lease(), lease(101, client=2)], "192.168.1.101", NOW, "fw1")
    table, following = wire.decode_page(raw, NOW)
    assert ([each.address for each in table], following) == (["192.168.1.100", "192.168.1.101"], "192.168.1.101")
    assert wire.decode_ask(wire.encode_ask("lan", "192.168.1.101")) == ("lan", "192.168.1.101")


GOOD: dict[str, Any] = json.loads(wire.encode_hello(HELLO))


@pytest.mark.parametrize(
    "raw",
    [
        "text", b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b" " * (wire.MESSAGE_MAX + 1),
        *(json.dumps({**GOOD, **change}).encode() for change in (
            {"node": 1}, {"node": "x" * 300}, {"wall": "x"}, {"wall": True}, {"wall": 1e300}, {"pools": []},
            {"pools": {"lan": 1}}, {"pools": {"lan": {"state": "x"}}},
            {"pools": {str(number): GOOD["pools"]["lan"] for number in range(300)}},
        )),
    ],
)  # fmt: skip
def test_a_hello_that_is_none_is_refused(raw: object) -> None:
    with pytest.raises(BadMessage):
        wire.decode_hello(raw)


@pytest.mark.parametrize(
    "told", [None, [1], [{}], [{"gone": False, "interface": "lan"}], [{"gone": 1}], [{}] * (wire.CHANGES_MAX + 1)]
)
def test_changes_that_are_none_are_refused(told: object) -> None:
    with pytest.raises(BadMessage):
        wire.decode_changes(json.dumps({"changes": told}).encode(), NOW)


@pytest.mark.parametrize("told", [{}, {"leases": [1], "next": ""}, {"leases": []}, {"leases": [{}] * 1001, "next": ""}])
def test_a_page_that_is_none_is_refused(told: object) -> None:
    with pytest.raises(BadMessage):
        wire.decode_page(json.dumps(told).encode(), NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@given(JSON | st.fixed_dictionaries({"changes": st.lists(JSON, max_size=3), "leases": JSON, "pools": JSON}))
def test_nonsense_is_only_ever_refused(told: object) -> None:
    raw = json.dumps(told).encode()
    for decode in (wire.decode_hello, wire.decode_ask):
        with pytest.raises(BadMessage):
            decode(raw)
    for decode_at in (wire.decode_changes, wire.decode_page):
        try:
            decode_at(raw, NOW)
        except BadMessage:
            continue
