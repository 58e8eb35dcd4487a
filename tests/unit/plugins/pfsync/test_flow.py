"""The record: its size, its key, and a number for the key that is the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.flow import FLOW4, FLOW6, KEY4, KEY6, Flows, TcpState, family_of, key_hashes
from tests.unit.plugins.pfsync.fakes import flows, flows6

KEY_FIELDS = (
    "proto", "zone", "orig_src", "orig_dst", "orig_sport", "orig_dport",
    "reply_src", "reply_dst", "reply_sport", "reply_dport",
)  # fmt: skip
FORMS = [(FLOW4, KEY4), (FLOW6, KEY6)]


@pytest.mark.parametrize(("dtype", "key"), FORMS)
def test_the_key_is_made_of_exactly_the_fields_that_name_a_flow(dtype: np.dtype[np.void], key: slice) -> None:
    assert dtype.fields is not None
    assert dtype.names is not None
    within = [
        name for name in dtype.names if key.start <= dtype.fields[name][1] and _end(dtype.fields[name]) <= key.stop
    ]
    assert tuple(within) == KEY_FIELDS
    assert sum(dtype.fields[name][0].itemsize for name in within) == key.stop - key.start


def _end(of: tuple[np.dtype[np.generic], int] | tuple[np.dtype[np.generic], int, object]) -> int:
    return of[1] + of[0].itemsize


@pytest.mark.parametrize(("dtype", "key"), FORMS)
def test_every_byte_of_the_key_changes_the_hash_and_no_other_does(dtype: np.dtype[np.void], key: slice) -> None:
    raw = np.zeros((dtype.itemsize + 1, dtype.itemsize), np.uint8)
    raw[np.arange(dtype.itemsize), np.arange(dtype.itemsize)] = 1
    hashes = key_hashes(raw.view(dtype)[:, 0])
    changed = np.flatnonzero(hashes != hashes[-1])
    assert changed.tolist() == list(range(key.start, key.stop))
    assert len(np.unique(hashes[changed])) == len(changed)


def test_the_numbers_are_those_of_every_other_node() -> None:
    """Audits compare them between nodes, perhaps of different releases: they may never change."""
    assert [hex(each) for each in key_hashes(flows(40000)).tolist()] == ["0x193a2be954050648"]
    assert [hex(each) for each in key_hashes(flows6(40000)).tolist()] == ["0x2c260ff8b7c3f60"]


@given(st.lists(st.binary(min_size=60, max_size=60), min_size=1, max_size=20))
def test_a_flow_hashes_alike_alone_and_in_any_array(raw: list[bytes]) -> None:
    together: Flows = np.frombuffer(b"".join(raw), FLOW4)
    alone = [int(key_hashes(np.frombuffer(each, FLOW4))[0]) for each in raw]
    assert key_hashes(together).tolist() == alone
    assert key_hashes(together[::-1]).tolist() == alone[::-1]


def test_a_hundred_thousand_connections_of_one_client_have_different_numbers() -> None:
    many = np.repeat(flows(0), 100_000)
    many["orig_sport"], many["orig_dport"] = np.divmod(np.arange(100_000), 1000)
    assert len(np.unique(key_hashes(many))) == len(many)


def test_no_flows_have_no_numbers_and_the_family_is_that_of_the_record() -> None:
    assert key_hashes(flows6()).tolist() == []
    assert (family_of(flows()), family_of(flows6())) == (4, 6)


def test_everything_is_in_the_byte_order_of_the_network() -> None:
    made = flows(0x1234)
    made["tcp_state"] = TcpState.TIME_WAIT
    raw = made.tobytes()
    assert raw[12:14] == b"\x12\x34"
    assert raw[4:8] == bytes([192, 168, 1, 100])
