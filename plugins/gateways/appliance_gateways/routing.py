"""Which rules and routes the kernel should have for gateways, as values and as bytes. Pure.

Rule 90 asks the main table first, but ignores its default route: connected and static routes win over every mark,
so no policy leads local traffic away. Rules 100 send marked packets to the table of their gateway. Everything carries
`PROTOCOL`, so that it is known as ours after a crash, too.

rtmsg and fib_rule_hdr: linux/rtnetlink.h, linux/fib_rules.h.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

from appliance.net import rtmessages as m
from appliance_gateways.numbers import table_of
from appliance_gateways.settings import Address, Settings

PROTOCOL = 74
"""Of rules and routes; 73 are those of [interfaces]. Both are free in iproute2's rt_protos."""
LOCAL_FIRST, BY_MARK = 90, 100
"""Preferences of the rules; the kernel's own are 0 (local) and 32766 (main)."""
MAIN = 254
MARK_MASK = 0xFF
METRIC = {4: 0, 6: 1}
"""Of our default route in the main table: it wins over one that somebody else adds, such as a router
advertisement. IPv6 has no 0."""
RULE_GROUPS = {4: 8, 6: 19}
"""Multicast groups RTNLGRP_IPV4_RULE and RTNLGRP_IPV6_RULE."""
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_RULE = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, res1, res2, action, flags
_U32 = struct.Struct("=I")
_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 4, 5, 6, 15
_FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS, _FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 6, 10, 14, 15, 16, 21
_FR_ACT_TO_TBL = _RTN_UNICAST = 1
_RTNH_F_ONLINK = 4
_RT_TABLE_COMPAT = 252  # "see RTA_TABLE": the field in the header has room for small numbers only
_FAMILY = {4: int(AF_INET), 6: int(AF_INET6)}
_VERSION = {family: version for version, family in _FAMILY.items()}
_NO_SUPPRESSION = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, order=True)
class PolicyRule:
    """One rule of ours."""

    version: int
    preference: int
    table: int
    mark: int = 0
    """With mask 0xff; 0: any packet."""
    suppress_default: bool = False


@dataclass(frozen=True, slots=True, order=True)
class DefaultRoute:
    """One default route of ours."""

    version: int
    table: int
    via: Address
    index: int
    """Of the device."""
    metric: int


Item = PolicyRule | DefaultRoute


def wanted(settings: Settings, indexes: Mapping[str, int], defaults: Mapping[int, str]) -> set[Item]:
    """Everything that should be there.

    Args:
        settings: The gateways.
        indexes: Devices that exist and are up, by name.
        defaults: The gateway of the main table's default route, by IP version.
    """
    items: set[Item] = set()
    versions = {each.version for gateway in settings.gateways for each in gateway.addresses}
    for version in versions:
        items.add(PolicyRule(version, LOCAL_FIRST, MAIN, suppress_default=True))
    for gateway in settings.gateways:
        for address in gateway.addresses:
            table = table_of(gateway.number)
            items.add(PolicyRule(address.version, BY_MARK, table, mark=gateway.number))
            if gateway.device in indexes:
                metric = 0 if address.version == 4 else METRIC[6]
                items.add(DefaultRoute(address.version, table, address, indexes[gateway.device], metric))
            if defaults.get(address.version) == gateway.name and gateway.device in indexes:
                metric = METRIC[address.version]
                items.add(DefaultRoute(address.version, MAIN, address, indexes[gateway.device], metric))
    return items


def changes(wanted: Collection[Item], actual: Collection[Item]) -> tuple[list[Item], list[Item]]:
    """What to add, then what to remove. In this order nothing is without a route in between.

    Adding a route replaces the one with the same table and metric, so that is not removed as well.
    """
    add = sorted(set(wanted) - set(actual), key=_order)
    replaced = {(each.version, each.table, each.metric) for each in add if isinstance(each, DefaultRoute)}
    remove = [
        each
        for each in set(actual) - set(wanted)
        if not (isinstance(each, DefaultRoute) and (each.version, each.table, each.metric) in replaced)
    ]
    return add, sorted(remove, key=_order)


def _order(item: Item) -> tuple[object, ...]:
    # Routes before the rules that lead to them.
    if isinstance(item, DefaultRoute):
        return (0, item.version, item.table, str(item.via), item.index, item.metric)
    return (1, item.version, item.preference, item.table, item.mark, item.suppress_default)


def describe(item: Item) -> str:
    """For the log: as `ip` would say it."""
    if isinstance(item, DefaultRoute):
        return f"default via {item.via} dev #{item.index} table {item.table} metric {item.metric}"
    what = f"fwmark 0x{item.mark:x}/0xff " if item.mark else ""
    rest = " suppress_prefixlength 0" if item.suppress_default else ""
    return f"IPv{item.version} rule {item.preference}: {what}lookup {item.table}{rest}"


def choose_default(settings: Settings, version: int, best: str | None, current: str | None) -> str | None:
    """The gateway of the main table's default route.

    Args:
        settings: The configuration.
        version: IP version.
        best: The best live member, when the default is a group that has one.
        current: What it is now. A group without a live member stays with it: no route is worse than a bad one.
    """
    name = settings.default(version)
    group = settings.group(name) if name else None
    if group is None:
        return name or None
    members = {each.gateway for each in group.members}
    if best is not None or current in members:
        return best or current
    return min(group.members, key=lambda each: each.tier).gateway if group.members else None


# ----------------------------------------------------------------------------------------------- messages


def addition(item: Item) -> bytes:
    """Add it; a route replaces the one with the same table and metric."""
    if isinstance(item, DefaultRoute):
        return m.message(m.RTM_NEWROUTE, m.NLM_F_CREATE | m.NLM_F_REPLACE, _route_body(item))
    return m.message(RTM_NEWRULE, m.NLM_F_CREATE | m.NLM_F_EXCL, _rule_body(item))


def removal(item: Item) -> bytes:
    """Remove it."""
    if isinstance(item, DefaultRoute):
        return m.message(m.RTM_DELROUTE, 0, _route_body(item))
    return m.message(RTM_DELRULE, 0, _rule_body(item))


def _u32(kind: int, value: int) -> bytes:
    return m.attribute(kind, _U32.pack(value))


def _route_body(route: DefaultRoute) -> bytes:
    # On-link: whether an address of this network is there already must not matter.
    flags = 0 if route.via.is_link_local else _RTNH_F_ONLINK
    head = _ROUTE.pack(_FAMILY[route.version], 0, 0, 0, _RT_TABLE_COMPAT, PROTOCOL, 0, _RTN_UNICAST, flags)
    body = _u32(_RTA_TABLE, route.table) + m.attribute(_RTA_GATEWAY, route.via.packed) + _u32(_RTA_OIF, route.index)
    return head + body + (_u32(_RTA_PRIORITY, route.metric) if route.metric else b"")


def _rule_body(rule: PolicyRule) -> bytes:
    body = _RULE.pack(_FAMILY[rule.version], 0, 0, 0, _RT_TABLE_COMPAT, 0, 0, _FR_ACT_TO_TBL, 0)
    body += _u32(_FRA_PRIORITY, rule.preference) + _u32(_FRA_TABLE, rule.table)
    body += m.attribute(_FRA_PROTOCOL, bytes((PROTOCOL,)))
    if rule.mark:
        body += _u32(_FRA_FWMARK, rule.mark) + _u32(_FRA_FWMASK, MARK_MASK)
    return body + (_u32(_FRA_SUPPRESS, 0) if rule.suppress_default else b"")


def dump_routes(version: int) -> bytes:
    """Ask for our routes in all tables; a kernel that does not filter lists others, too."""
    return _dump(m.RTM_GETROUTE, _ROUTE.pack(_FAMILY[version], 0, 0, 0, 0, PROTOCOL, 0, _RTN_UNICAST, 0))


def dump_rules(version: int) -> bytes:
    """Ask for all rules of a family."""
    return _dump(RTM_GETRULE, _RULE.pack(_FAMILY[version], 0, 0, 0, 0, 0, 0, 0, 0))


def _dump(kind: int, body: bytes) -> bytes:
    return m.HEADER.pack(m.HEADER.size + len(body), kind, m.NLM_F_REQUEST | m.NLM_F_DUMP, 0, 0) + body


def parse(kind: int, body: bytes) -> Item | None:
    """One listed rule or route; nothing unless it is ours."""
    if kind == m.RTM_NEWROUTE:
        return _parse_route(body)
    return _parse_rule(body) if kind == RTM_NEWRULE else None


def is_ours(kind: int, body: bytes) -> bool:
    """Whether a notification is about a removed rule or route of ours."""
    if kind == m.RTM_DELROUTE and len(body) >= _ROUTE.size:
        return bool(_ROUTE.unpack_from(body)[5] == PROTOCOL)
    if kind == RTM_DELRULE and len(body) >= _RULE.size:
        return dict(_attributes(body, _RULE.size)).get(_FRA_PROTOCOL) == bytes((PROTOCOL,))
    return False


def _attributes(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    for kind, start, stop in m.attributes(body, offset, len(body)):
        yield kind, bytes(body[start:stop])


def _number(found: Mapping[int, bytes], kind: int, default: int = 0) -> int:
    value = found.get(kind, b"")
    number: int = _U32.unpack(value)[0] if len(value) == _U32.size else default
    return number


def _parse_route(body: bytes) -> DefaultRoute | None:
    if len(body) < _ROUTE.size:
        return None
    family, to, _src, _tos, table, protocol, _scope, kind, _flags = _ROUTE.unpack_from(body)
    found = dict(_attributes(body, _ROUTE.size))
    raw = found.get(_RTA_GATEWAY, b"")
    if (protocol, kind, to) != (PROTOCOL, _RTN_UNICAST, 0) or len(raw) not in (4, 16) or family not in _VERSION:
        return None
    via: Address = IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)
    table = _number(found, _RTA_TABLE, table)
    return DefaultRoute(_VERSION[family], table, via, _number(found, _RTA_OIF), _number(found, _RTA_PRIORITY))


def _parse_rule(body: bytes) -> PolicyRule | None:
    if len(body) < _RULE.size:
        return None
    family, _to, _src, _tos, table, _r1, _r2, _action, _flags = _RULE.unpack_from(body)
    found = dict(_attributes(body, _RULE.size))
    if found.get(_FRA_PROTOCOL) != bytes((PROTOCOL,)) or family not in _VERSION:
        return None
    return PolicyRule(
        _VERSION[family],
        _number(found, _FRA_PRIORITY),
        _number(found, _FRA_TABLE, table),
        mark=_number(found, _FRA_FWMARK),
        suppress_default=_number(found, _FRA_SUPPRESS, _NO_SUPPRESSION) == 0,
    )
