"""Configurations with many rules, and the same rules as somebody writes them for nft by hand. Pure.

`EQUAL` rules differ in one address; `UNLIKE` ones have another form than their neighbours, so that nothing can be
merged. The addresses are those of the little network in `rules_net`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Literal

Shape = Literal["equal", "unlike"]
EQUAL: Shape = "equal"
UNLIKE: Shape = "unlike"
SHAPES: tuple[Shape, ...] = (EQUAL, UNLIKE)

CLIENTS = int(IPv4Address("10.0.0.0"))
"""Where the sources of all flows are: one network of 128 addresses for each entry, never two that could be joined."""
STRIDE = 256
PORT_FIRST, PORT_LAST = 20000, 59999
"""Destination ports that pass where a rule passes any."""
FORBIDDEN_PORT = 9
ESTABLISHED_PORT = 15000
"""Not next to the others: two ranges, as rules often have them."""
HEAD = """
[node]
name = "fw1"

[interfaces.wan]
device = "wan0"
addresses = ["198.51.100.201/24"]

[interfaces.lan]
device = "lan0"
addresses = ["192.168.1.2/24"]
"""
HAND_HEAD = """
table inet hand {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iifname "lan0" jump lan
    }
"""


def address(number: int) -> str:
    """The first address of a client network."""
    return str(IPv4Address(CLIENTS + STRIDE * number))


def network(number: int) -> str:
    """A client network."""
    return f"{address(number)}/25"


def _kind(shape: Shape, number: int) -> int:
    return 0 if shape == EQUAL else 1 + number % 4


def rule_tables(shape: Shape, count: int, *, changed: int | None = None) -> str:
    """Rules as an operator has them in the file; the one that is `changed` has another port."""
    return "\n".join(_rule_table(shape, number, 444 if number == changed else 443) for number in range(count))


def _rule_table(shape: Shape, number: int, port: int) -> str:
    inner = {
        0: f'protocol = "udp"\nsource = "{address(number)}"\ndestination_port = {port}',
        1: f'protocol = "tcp"\nsource = "{address(number)}"\ndestination_port = {port}',
        2: f'protocol = "udp"\nsource = "{network(number)}"\ndestination_port = "{port}-{port + 100}"',
        3: f'protocol = "tcp"\nsource = "{network(number)}"\ndestination = "203.0.113.{number % 250}"',
        4: f'protocol = "icmp"\nsource = "{address(number)}"\ndestination = "198.51.100.{number % 250}"',
    }[_kind(shape, number)]
    return f'[[firewall.rule]]\ninterface = "lan"\naction = "pass"\n{inner}\n'


def rule_lines(shape: Shape, count: int, *, changed: int | None = None) -> list[str]:
    """The same rules for nft, one line each."""
    return [_rule_line(shape, number, 444 if number == changed else 443) for number in range(count)]


def _rule_line(shape: Shape, number: int, port: int) -> str:
    inner = {
        0: f"ip saddr {address(number)} udp dport {port}",
        1: f"ip saddr {address(number)} tcp dport {port}",
        2: f"ip saddr {network(number)} udp dport {port}-{port + 100}",
        3: f"ip saddr {network(number)} ip daddr 203.0.113.{number % 250} meta l4proto tcp",
        4: f"ip saddr {address(number)} ip daddr 198.51.100.{number % 250} meta l4proto icmp",
    }[_kind(shape, number)]
    return f"{inner} counter accept"


def configuration(shape: Shape, count: int, *, changed: int | None = None) -> str:
    """A whole file with so many rules."""
    return f"{HEAD}\n{rule_tables(shape, count, changed=changed)}"


def by_hand(lines: Sequence[str], sets: str = "") -> str:
    """A whole ruleset of linear rules for packets from the LAN."""
    return "\n".join(
        [
            HAND_HEAD.replace("{\n", "{\n" + sets, 1),
            "    chain lan {",
            *(f"        {each}" for each in lines),
            "    }",
            "}",
            "",
        ]
    )


# --- what flows pass through ---------------------------------------------------------------------------------


def traffic_configuration(entries: int, *, extra: str = "") -> str:
    """An alias with so many networks whose flows pass, and one established flow beside them."""
    names = ", ".join(f'"{network(number)}"' for number in range(entries))
    ports = f'destination_port = ["{PORT_FIRST}-{PORT_LAST}", {ESTABLISHED_PORT}]'
    return f"""{HEAD}
[firewall.alias.clients]
type = "networks"
entries = [{names}]

{extra}
[[firewall.rule]]
interface = "lan"
action = "pass"
protocol = "udp"
source = "clients"
{ports}
"""


def map_configuration(count: int) -> str:
    """So many rules that pass the flows of one network each."""
    ports = f'destination_port = ["{PORT_FIRST}-{PORT_LAST}", {ESTABLISHED_PORT}]'
    return f"{HEAD}\n" + "\n".join(
        '[[firewall.rule]]\ninterface = "lan"\naction = "pass"\nprotocol = "udp"\n'
        f'source = "{network(number)}"\n{ports}\n'
        for number in range(count)
    )


def hand_set(entries: int) -> str:
    """The least that lets the flows of so many networks pass: one set, one rule."""
    elements = ",\n".join(network(number) for number in range(entries))
    sets = f"    set clients {{ type ipv4_addr; flags interval; elements = {{\n{elements}\n    }}; }}\n"
    ports = f"{{ {ESTABLISHED_PORT}, {PORT_FIRST}-{PORT_LAST} }}"
    return by_hand([f"ip saddr @clients udp dport {ports} counter accept"], sets)


def hand_linear(count: int, *, ports: str = f"{ESTABLISHED_PORT}-{PORT_LAST}") -> str:
    """One rule for each network."""
    return by_hand([f"ip saddr {network(number)} udp dport {ports} counter accept" for number in range(count)])


def tracking_only() -> str:
    """No filter at all; connections are tracked."""
    return """
table inet hand {
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state vmap { established : accept, related : accept, invalid : drop }
    }
}
"""
