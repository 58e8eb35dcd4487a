"""Filters and rows for people: which states are meant, and what is shown of them. Pure.

A filter is a list of words, and a state has to match all of them:

- a protocol: ``tcp udp icmp icmp6`` or a number ``proto:47``;
- an address or network: one of the four addresses of the state is in it;
- ``:443``: one of its four ports (for ICMP the id);
- a TCP state such as ``established``;
- ``nat``, ``assured``, ``unreplied``.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.errors import UsageError
from appliance_pfsync.flow import FLOW4, FLOW6, ICMP, ICMPV6, TCP, UDP, Flows, Status, TcpState, family_of

PROTOCOLS = {
    "tcp": TCP, "udp": UDP, "icmp": ICMP, "icmp6": ICMPV6, "udplite": 136, "sctp": 132, "dccp": 33, "gre": 47,
    "igmp": 2, "esp": 50, "ah": 51,
}  # fmt: skip
"""As people type and read them. What is not here is a number: `proto:89`."""
NAMES = {number: name for name, number in PROTOCOLS.items()}
WORDS_MAX = 16
Mask = npt.NDArray[np.bool_]
ADDRESSES = ("orig_src", "orig_dst", "reply_src", "reply_dst")
PORTS = ("orig_sport", "orig_dport", "reply_sport", "reply_dport")
_SHOWN = (Status.ASSURED, Status.SEEN_REPLY)


class StateFilter:
    """A parsed filter."""

    def __init__(self, words: Sequence[str]) -> None:
        """Parse the words.

        Raises:
            UsageError: A word means nothing.
        """
        if len(words) > WORDS_MAX:
            raise UsageError(f"a filter of {len(words)} words is too long", hint=f"At most {WORDS_MAX}.")
        self._tests = [_test(word) for word in words]

    def mask(self, flows: Flows) -> Mask:
        """Which rows match all words."""
        found = np.ones(len(flows), np.bool_)
        for test in self._tests:
            found &= test(flows)
        return found


def _test(word: str) -> Any:
    text = word.lower()
    if text in PROTOCOLS or text.startswith("proto:"):
        number = PROTOCOLS[text] if text in PROTOCOLS else _number(text[6:], 255, word)
        return lambda flows: flows["proto"] == number
    if text.startswith(":"):
        port = _number(text[1:], 65535, word)
        return lambda flows: np.logical_or.reduce([flows[name] == port for name in PORTS])
    if text.upper() in TcpState.__members__:
        state = TcpState[text.upper()]
        return lambda flows: (flows["proto"] == TCP) & (flows["tcp_state"] == state)
    if text == "nat":
        return _is_translated
    if text == "assured":
        return lambda flows: flows["status"] & Status.ASSURED != 0
    if text == "unreplied":
        return lambda flows: flows["status"] & Status.SEEN_REPLY == 0
    if text.startswith("--"):
        raise UsageError(f"{word!r} is no filter for states", hint="Options go before the filter.")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            f"{word!r} is no filter for states",
            hint="Use a protocol (tcp), an address, a network, :PORT, a TCP state, nat, assured or unreplied.",
        ) from None
    return lambda flows: _is_within(flows, network)


def _number(text: str, most: int, word: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise UsageError(f"{word!r} is no filter for states", hint=f"A number 0..{most} is needed there.")
    return int(text)


def _is_translated(flows: Flows) -> Mask:
    changed = (flows["orig_src"] != flows["reply_dst"]) | (flows["orig_dst"] != flows["reply_src"])
    # ICMP has the id as source port both ways, and a type that differs in the place of the other port.
    is_icmp = np.isin(flows["proto"], (ICMP, ICMPV6))
    ports = (flows["orig_sport"] != flows["reply_dport"]) | (flows["orig_dport"] != flows["reply_sport"])
    moved = np.where(is_icmp, flows["orig_sport"] != flows["reply_sport"], ports)
    return np.asarray(changed | moved, np.bool_)


def _is_within(flows: Flows, network: IPv4Network | IPv6Network) -> Mask:
    if (network.version == 4) != (family_of(flows) == 4):
        return np.zeros(len(flows), np.bool_)
    if network.version == 4:
        net, bits = int(network.network_address), int(network.netmask)
        return np.asarray(np.logical_or.reduce([flows[name] & bits == net for name in ADDRESSES]), np.bool_)
    net_bytes = np.frombuffer(network.network_address.packed, np.uint8)
    mask_bytes = np.frombuffer(network.netmask.packed, np.uint8)
    within = [((_octets(flows[name]) & mask_bytes) == net_bytes).all(axis=1) for name in ADDRESSES]
    return np.asarray(np.logical_or.reduce(within), np.bool_)


def _octets(addresses: Flows) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(addresses).view(np.uint8).reshape(-1, 16)


def rows(flows: Flows) -> list[dict[str, Any]]:
    """The JSON rows of `show states`."""
    return [_row(flow, family_of(flows)) for flow in flows]


def _row(flow: Any, family: int) -> dict[str, Any]:
    proto = int(flow["proto"])
    status = Status(int(flow["status"]))
    return {
        "family": family,
        "proto": NAMES.get(proto, str(proto)),
        "orig": _side(flow, "orig"),
        "reply": _side(flow, "reply"),
        "state": TcpState(int(flow["tcp_state"])).name if proto == TCP and flow["tcp_state"] <= max(TcpState) else "",
        "status": [bit.name for bit in _SHOWN if bit in status],
        "timeout": int(flow["timeout"]),
        "mark": int(flow["mark"]),
        "zone": int(flow["zone"]),
    }


def _side(flow: Any, way: str) -> dict[str, Any]:
    return {
        "src": address_text(flow[f"{way}_src"]),
        "dst": address_text(flow[f"{way}_dst"]),
        "sport": int(flow[f"{way}_sport"]),
        "dport": int(flow[f"{way}_dport"]),
    }


def address_text(value: Any) -> str:
    """An address field of a record as text."""
    return str(ip_address(int(value))) if isinstance(value, np.integer) else str(ip_address(bytes(value)))


def protocols(flows: Flows) -> dict[str, int]:
    """How many flows there are of each protocol."""
    numbers, counts = np.unique(flows["proto"], return_counts=True)
    return {NAMES.get(int(n), str(int(n))): int(c) for n, c in zip(numbers, counts, strict=True)}


def empty(family: int = 4) -> Flows:
    """No flows at all."""
    return np.zeros(0, FLOW4 if family == 4 else FLOW6)
