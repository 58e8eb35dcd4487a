"""Records one by one and as arrays."""

from __future__ import annotations

import numpy as np

from appliance_pfsync.bsd import records
from appliance_pfsync.flow import FLOW4, FLOW6, TcpState, key_hashes
from tests.unit.plugins.pfsync.bsd.flows import dnat, flow, snat

SIX = flow(("2001:db8::1", 1, "2001:db8::2", 2))


def test_an_array_is_read_and_built() -> None:
    array = records.array([snat(), dnat(mark=7)], 4)
    assert array.dtype == FLOW4
    assert array["mark"].tolist() == [0, 7]
    assert array["orig_sport"].tolist() == [40001, 3333]
    assert array["tcp_state"].tolist() == [TcpState.ESTABLISHED] * 2
    assert list(records.each(array)) == [snat(), dnat(mark=7)]
    six = records.array([SIX], 6)
    assert six.dtype == FLOW6
    assert list(records.each(six)) == [SIX]
    assert list(records.each(np.zeros(0, FLOW4))) == []


def test_the_key_names_the_flow_and_nothing_else() -> None:
    assert snat().key == snat(timeout=1, mark=3, tcp_state=7, op=2).key
    assert len({snat().key, snat(outer_port=5002).key, snat(zone=1).key, dnat().key, SIX.key}) == 5
    hashes = key_hashes(records.array([snat(), snat(timeout=9)], 4))
    assert hashes[0] == hashes[1]
