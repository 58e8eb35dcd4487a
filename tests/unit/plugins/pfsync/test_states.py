"""Filters for states and the rows people see."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest

from appliance.errors import UsageError
from appliance_pfsync.flow import FLOW4, FLOW6, Flows
from appliance_pfsync.states import StateFilter, address_text, protocols, rows


def flows4(*changes: dict[str, Any]) -> Flows:
    """An SNATed TCP connection 192.168.1.100:40000 -> 198.51.100.1:443 behind 198.51.100.200:5001, changed."""
    made = np.zeros(len(changes), FLOW4)
    for row, change in zip(made, changes, strict=True):
        standard: dict[str, Any] = {
            "op": 1, "proto": 6, "status": 0xE, "tcp_state": 3, "timeout": 432000,
            "orig_src": "192.168.1.100", "orig_dst": "198.51.100.1", "orig_sport": 40000, "orig_dport": 443,
            "reply_src": "198.51.100.1", "reply_dst": "198.51.100.200", "reply_sport": 443, "reply_dport": 5001,
        }  # fmt: skip
        for name, value in (standard | change).items():
            row[name] = int(ip_address(value)) if isinstance(value, str) else value
    return made


def flow6(source: str, target: str) -> Flows:
    made = np.zeros(1, FLOW6)
    made["proto"] = 17
    for name, value in (("orig_src", source), ("orig_dst", target), ("reply_src", target), ("reply_dst", source)):
        made[name] = np.frombuffer(ip_address(value).packed, "V16")
    return made


PLAIN = {"reply_dst": "192.168.1.100", "reply_dport": 40000}
UDP_FLOW = PLAIN | {"proto": 17, "status": 0x8, "tcp_state": 0}
ALL = flows4({}, PLAIN, UDP_FLOW, {"orig_dport": 80, "reply_sport": 80, "tcp_state": 7})


def matching(*words: str) -> list[int]:
    return [int(row) for row in np.flatnonzero(StateFilter(words).mask(ALL))]


@pytest.mark.parametrize(
    ("words", "rows_found"),
    [
        ("", [0, 1, 2, 3]),
        ("tcp", [0, 1, 3]),
        ("UDP", [2]),
        ("proto:17", [2]),
        ("igmp", []),
        (":443", [0, 1, 2]),
        (":5001", [0, 3]),
        ("198.51.100.200", [0, 3]),
        ("198.51.100.192/26", [0, 3]),
        ("192.168.0.0/16", [0, 1, 2, 3]),
        ("10.0.0.0/8", []),
        ("2001:db8::/32", []),
        ("time_wait", [3]),
        ("established", [0, 1]),
        ("nat", [0, 3]),
        ("unreplied", [2]),
        ("assured tcp", [0, 1, 3]),
        ("tcp :80", [3]),
    ],
)
def test_a_state_has_to_match_every_word(words: str, rows_found: list[int]) -> None:
    assert matching(*words.split()) == rows_found


def test_networks_of_ipv6_match_ipv6_states_only() -> None:
    flow = flow6("2001:db8:1::100", "2001:db8:ffff::1")
    assert StateFilter(["2001:db8:1::/64"]).mask(flow).tolist() == [True]
    assert StateFilter(["2001:db8:2::/64"]).mask(flow).tolist() == [False]
    assert StateFilter(["0.0.0.0/0"]).mask(flow).tolist() == [False]
    assert StateFilter(["nat"]).mask(flow).tolist() == [False]


@pytest.mark.parametrize("word", ["tpc", ":", ":70000", ":x", "proto:300", "1.2.3", "10.0.0.0/33", ":²"])
def test_a_word_that_means_nothing_is_refused_with_what_would(word: str) -> None:
    with pytest.raises(UsageError) as refused:
        StateFilter([word])
    assert word in refused.value.message
    assert refused.value.hint


def test_a_filter_is_bounded() -> None:
    with pytest.raises(UsageError, match="too long"):
        StateFilter(["tcp"] * 17)


def test_a_row_has_both_tuples_and_the_state_by_name() -> None:
    (row,) = rows(ALL[:1])
    assert row == {
        "family": 4,
        "proto": "tcp",
        "orig": {"src": "192.168.1.100", "dst": "198.51.100.1", "sport": 40000, "dport": 443},
        "reply": {"src": "198.51.100.1", "dst": "198.51.100.200", "sport": 443, "dport": 5001},
        "state": "ESTABLISHED",
        "status": ["ASSURED", "SEEN_REPLY"],
        "timeout": 432000,
        "mark": 0,
        "zone": 0,
    }


def test_addresses_that_end_in_zero_bytes_keep_them() -> None:
    assert address_text(flow6("2001:db8::", "2001:db8:ffff::")[0]["orig_dst"]) == "2001:db8:ffff::"


def test_states_are_counted_by_protocol() -> None:
    assert protocols(ALL) == {"tcp": 3, "udp": 1}
    assert protocols(flows4({"proto": 2}, {"proto": 89})) == {"igmp": 1, "89": 1}
