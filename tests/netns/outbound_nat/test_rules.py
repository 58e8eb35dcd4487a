"""The rules in the kernel: they load whatever is configured, and packets are translated as it says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.testing import LabNode, Netlab
from appliance_outbound_nat.verify import verify
from tests.netns.outbound_nat.scenes import (
    CLIENT,
    CLIENT6,
    CLUSTER,
    MAIL,
    SERVER,
    SERVER2,
    SERVER6,
    WEB,
    Lab,
    nft,
    rules_of,
    seen_by,
)
from tests.unit.plugins.outbound_nat.fakes import Cluster, config

pytestmark = pytest.mark.netns

WAN_VIP, WAN_OWN, WAN2_VIP, WAN2_OWN, MAIL_VIP = (
    "198.51.100.200",
    "198.51.100.201",
    "203.0.113.10",
    "203.0.113.12",
    "203.0.113.11",
)
PORT = 7000


@pytest.fixture
def lab(netlab: Netlab) -> Lab:
    """The machines, without rules."""
    return Lab(netlab)


def table(name: str, **values: Any) -> str:
    """One ``[[name]]`` as a file has it."""
    said = {key: str(value).lower() if isinstance(value, bool) else repr(value) for key, value in values.items()}
    return "\n".join([f"[[{name}]]", *(f"{key} = {value}" for key, value in said.items()), ""])


def who(lab: Lab, sender: LabNode, to: str = SERVER, source: tuple[str, int] | None = None) -> tuple[str, int] | None:
    """As whom the server sees a machine."""
    seen = seen_by(lab.server, PORT, sender, (to, PORT), source=source)
    return None if seen is None else (seen.source, seen.port)


# ------------------------------------------------------------------------------------------------- outbound


def test_clients_leave_by_the_virtual_host_and_keep_their_port(lab: Lab) -> None:
    lab.load("")
    assert who(lab, lab.client, source=("", 5555)) == (WAN_VIP, 5555)
    assert who(lab, lab.mail, SERVER2, source=("", 5556)) == (WAN2_VIP, 5556)


def test_the_node_itself_never_leaves_by_a_virtual_host(lab: Lab) -> None:
    for toml in ("", 'mode = "manual"\n' + table("rule", interface="wan", translation="vip:wan")):
        lab.load(toml)
        assert who(lab, lab.firewall, source=(WAN_OWN, 6001)) == (WAN_OWN, 6001)
        assert who(lab, lab.firewall, source=(WAN_VIP, 6002)) == (WAN_VIP, 6002), "a service on it answers by it"
        assert who(lab, lab.firewall, source=("192.168.1.2", 6003)) == (WAN_OWN, 6003)
        assert who(lab, lab.firewall, source=("192.168.1.1", 6004)) == (WAN_OWN, 6004)
        assert who(lab, lab.firewall, SERVER2, source=(WAN_OWN, 6005)) == (WAN2_OWN, 6005), "sent by the other WAN"


def test_a_wan_whose_address_only_the_kernel_knows(lab: Lab) -> None:
    unknown = {"interfaces": CLUSTER["interfaces"] | {"wan": []}, "vips": {"lan": ["lan", "192.168.1.1/24"]}}
    lab.load("", **unknown)
    own = who(lab, lab.client, source=("", 5555))
    assert own in ((WAN_OWN, 5555), (WAN_VIP, 5555)), "whichever the kernel prefers"
    assert who(lab, lab.firewall, source=("192.168.1.2", 6001)) in ((WAN_OWN, 6001), (WAN_VIP, 6001))
    assert who(lab, lab.firewall, source=(WAN_OWN, 6002)) == (WAN_OWN, 6002)


def test_manual_rules_are_asked_in_order_and_automatic_ones_after_them(lab: Lab) -> None:
    none = table("rule", id="none", interface="wan", source=WEB, translation="none")
    node = table("rule", id="node", interface="wan", source="192.168.1.0/25", translation="interface")
    lab.load(f'mode = "hybrid"\n{none}{node}')
    assert who(lab, lab.web, source=("", 5001)) == (WEB, 5001)
    assert who(lab, lab.client, source=("", 5002)) == (WAN_OWN, 5002)
    assert who(lab, lab.mail, source=("", 5003)) == (WAN_VIP, 5003)
    assert (lab.hits("nat_out_none"), lab.hits("nat_out_node")) == (1, 1)


def test_disabled_translates_nothing(lab: Lab) -> None:
    lab.load('mode = "disabled"')
    assert who(lab, lab.client, source=("", 5001)) == (CLIENT, 5001)


def test_a_client_keeps_its_address_of_a_pool(lab: Lab) -> None:
    lab.load('mode = "manual"\n' + table("rule", interface="wan", source="net:lan", translation="198.51.100.64/28"))
    lab.firewall.run("ip", "addr", "add", "198.51.100.64/28", "dev", "lo")
    for last in range(64, 80):
        lab.firewall.run("ip", "addr", "replace", f"198.51.100.{last}/32", "dev", "lo")
    seen = {who(lab, lab.client, source=("", 5000 + number)) for number in range(4)}
    addresses = {each[0] for each in seen if each is not None}
    assert len(addresses) == 1
    assert addresses <= {f"198.51.100.{last}" for last in range(64, 80)}


def test_ports_are_chosen_from_a_range_or_at_random_when_asked(lab: Lab) -> None:
    ranged = table("rule", interface="wan", source="net:lan", protocol="udp", translation="vip:wan", port="20000-20099")
    lab.load(f'mode = "manual"\n{ranged}')
    seen = who(lab, lab.client, source=("", 5001))
    assert seen is not None
    assert seen[0] == WAN_VIP
    assert 20000 <= seen[1] <= 20099
    random = table("rule", interface="wan", source="net:lan", translation="vip:wan", randomize_ports=True)
    lab.load(f'mode = "manual"\n{random}')
    ports = [who(lab, lab.client, source=("", 5010 + number)) for number in range(4)]
    assert ports != [(WAN_VIP, 5010 + number) for number in range(4)]


def test_ipv6_is_translated_when_a_rule_says_so(lab: Lab) -> None:
    lab.server.run("ip", "-6", "route", "add", "2001:db8:1::/64", "via", "2001:db8:ffff::201")
    lab.load("")
    assert who(lab, lab.client, SERVER6, source=("", 5001)) == (CLIENT6, 5001)
    lab.load('mode = "manual"\n' + table("rule", interface="wan", source="2001:db8:1::/64", translation="vip:wan"))
    assert who(lab, lab.client, SERVER6, source=("", 5002)) == ("2001:db8:ffff::200", 5002)


# ------------------------------------------------------------------------------------------------- heartbeats, states


@pytest.mark.parametrize("protocol", [112, 240])
def test_heartbeats_and_states_are_translated_in_neither_direction(lab: Lab, protocol: int) -> None:
    pair = table("one_to_one", interface="wan", external="vip:wan", internal=WEB)
    rule = table("rule", interface="wan", translation="198.51.100.77")
    lab.load(f'mode = "manual"\n{rule}{pair}')
    raw = [node.socket(socket.AF_INET, socket.SOCK_RAW, protocol) for node in (lab.firewall, lab.server)]
    firewall, server = raw
    try:
        for each in raw:
            each.settimeout(2)
        firewall.bind(("192.168.1.2", 0))
        firewall.sendto(bytes(36), (SERVER, 0))
        assert server.recvfrom(100)[1][0] == "192.168.1.2"
        firewall.bind((WAN_VIP, 0))
        server.sendto(bytes(36), (WAN_VIP, 0))
        assert firewall.recvfrom(100)[1][0] == SERVER, "it arrives at the node, not at the machine behind the pair"
    finally:
        for each in raw:
            each.close()


# ------------------------------------------------------------------------------------------------- one to one


PAIR = table("one_to_one", id="mail", interface="wan2", external="vip:wan2nat", internal=MAIL)
PASS_TO_MAIL = "insert rule inet appliance hook_forward iifname wan20 ip daddr 192.168.2.0/24 accept"


def test_one_address_stands_for_another_in_both_directions(lab: Lab) -> None:
    lab.load(PAIR)
    assert who(lab, lab.mail, SERVER2, source=("", 5001)) == (MAIL_VIP, 5001)
    nft(lab.firewall, PASS_TO_MAIL)
    seen = seen_by(lab.mail, PORT, lab.server, (MAIL_VIP, PORT), source=(SERVER2, 5002))
    assert seen is not None
    assert (seen.source, lab.hits("nat_one_mail")) == (SERVER2, 2)


def test_it_opens_nothing_by_itself(lab: Lab) -> None:
    lab.load(PAIR)
    assert seen_by(lab.mail, PORT, lab.server, (MAIL_VIP, PORT)) is None


def test_addresses_of_a_network_keep_their_last_bits(lab: Lab) -> None:
    lab.load(table("one_to_one", interface="wan2", external="192.0.2.0/29", internal="192.168.2.8/29"))
    lab.server.run("ip", "route", "add", "192.0.2.0/24", "via", WAN2_OWN)
    assert who(lab, lab.mail, SERVER2, source=("", 5001)) == ("192.0.2.2", 5001)
    nft(lab.firewall, PASS_TO_MAIL)
    seen = seen_by(lab.mail, PORT, lab.server, ("192.0.2.2", PORT))
    assert seen is not None
    assert seen.source == SERVER2


def test_a_pair_for_one_destination_holds_there_alone(lab: Lab) -> None:
    lab.load(PAIR + 'destination = "192.0.2.0/24"\n')
    assert who(lab, lab.mail, SERVER2, source=("", 5001)) == (WAN2_VIP, 5001)
    lab.load(PAIR + f'destination = "{SERVER2}"\n')
    assert who(lab, lab.mail, SERVER2, source=("", 5002)) == (MAIL_VIP, 5002)


# ------------------------------------------------------------------------------------------------- port forwards


def forward(**values: Any) -> str:
    standard = {"interface": "wan", "protocol": "udp", "destination": "vip:wan", "port": 8080, "target": WEB}
    return table("port_forward", **(standard | values))


def reached(lab: Lab, port: int, at: int, to: str = WAN_VIP, sender: LabNode | None = None) -> str | None:
    """As whom the web server sees who asked for a port outside."""
    seen = seen_by(lab.web, at, sender or lab.server, (to, port))
    return None if seen is None else seen.source


def test_a_port_leads_inside_and_is_passed(lab: Lab) -> None:
    lab.load(forward(id="web", target_port=80, protocol="tcp/udp"))
    assert reached(lab, 8080, 80) == SERVER
    assert lab.hits("nat_port_web") == 1
    assert reached(lab, 8081, 80) is None
    assert reached(lab, 8080, 80, to=WAN_OWN) is None


def test_without_its_filter_rule_a_forward_is_not_passed(lab: Lab) -> None:
    lab.load(forward(filter="none"))
    assert reached(lab, 8080, 8080) is None
    lab.load(forward(filter="none", port="8080-8090"))
    assert reached(lab, 8080, 8080) is None


@pytest.mark.parametrize(("target_port", "at"), [(None, 8085), (80, 85)])
def test_each_port_of_a_range_leads_to_its_own(lab: Lab, target_port: int | None, at: int) -> None:
    lab.load(forward(port="8080-8090", **({} if target_port is None else {"target_port": target_port})))
    assert reached(lab, 8085, at) == SERVER
    assert reached(lab, 8091, 8091) is None


def test_a_forward_for_some_sources_is_for_no_others(lab: Lab) -> None:
    lab.load(forward(source=SERVER, target_port=80))
    assert reached(lab, 8080, 80) == SERVER
    lab.load(forward(source=f"!{SERVER}", target_port=80))
    assert reached(lab, 8080, 80) is None


def test_a_forward_of_ipv6(lab: Lab) -> None:
    for more in ({}, {"source": "2001:db8:ffff::/64"}):
        lab.load(forward(target="2001:db8:1::10", target_port=80, **more))
        assert reached(lab, 8080, 80, to="2001:db8:ffff::200") == SERVER6


def test_a_forward_of_an_address_that_only_the_kernel_knows(lab: Lab) -> None:
    unknown = {"interfaces": CLUSTER["interfaces"] | {"wan": []}, "vips": {"lan": ["lan", "192.168.1.1/24"]}}
    lab.load(forward(destination="address", target_port=80), **unknown)
    assert reached(lab, 8080, 80, to=WAN_OWN) == SERVER


# ------------------------------------------------------------------------------------------------- reflection


@pytest.mark.parametrize("more", [{}, {"port": "8080-8090"}])
def test_clients_inside_reach_a_forward_by_its_address_outside(lab: Lab, more: dict[str, Any]) -> None:
    lab.load(forward(reflection=True, **more))
    assert reached(lab, 8080, 8080, sender=lab.client) == "192.168.1.1", "from its own network"
    assert reached(lab, 8080, 8080, sender=lab.mail) == "192.168.1.1", "from another one"
    assert reached(lab, 8080, 8080) == SERVER, "whoever is outside is seen"
    lab.load(forward(**more))
    assert reached(lab, 8080, 8080, sender=lab.client) is None


def test_clients_inside_reach_a_pair_by_its_address_outside(lab: Lab) -> None:
    lab.load(PAIR + "reflection = true\n")
    seen = seen_by(lab.mail, PORT, lab.client, (MAIL_VIP, PORT))
    assert seen is not None
    assert seen.source == "192.168.2.1"
    lab.load(PAIR)
    assert seen_by(lab.mail, PORT, lab.client, (MAIL_VIP, PORT)) is None


# ------------------------------------------------------------------------------------------------- what loads


SOURCES = ["any", "net:lan", "!net:lan", "web", "!mail", "six", "empty", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "192.0.2.1",
           "2001:db8::/32", "vip:wan", "address:lan", "self", "!self"]  # fmt: skip
PORTS = ["any", 80, "1000-2000", "web_ports"]
TRANSLATIONS = ["vip:wan", "vip:wan2", "interface", "none", "203.0.113.7", "203.0.113.64/28", "2001:db8::7",
                "2001:db8::1-2001:db8::9"]  # fmt: skip
RULE = st.fixed_dictionaries(
    {"interface": st.sampled_from(["wan", "wan2", "lan"]), "translation": st.sampled_from(TRANSLATIONS)},
    optional={
        "source": st.sampled_from(SOURCES),
        "destination": st.sampled_from(SOURCES),
        "source_port": st.sampled_from(PORTS),
        "destination_port": st.sampled_from(PORTS),
        "protocol": st.sampled_from(["any", "tcp", "udp", "tcp/udp", "icmp", "esp", "ah", "gre", "sctp", 89]),
        "port": st.sampled_from(PORTS),
        "static_port": st.booleans(),
        "randomize_ports": st.booleans(),
        "disabled": st.booleans(),
    },
)
ENTRY = st.fixed_dictionaries(
    {
        "interface": st.sampled_from(["wan", "wan2"]),
        "external": st.sampled_from(["vip:wan", "vip:wan2nat", "203.0.113.50", "203.0.113.64/28", "2001:db8::/64"]),
        "internal": st.sampled_from([WEB, MAIL, "192.168.2.64/28", "2001:db8:1::/64", "2001:db8:1::10"]),
    },
    optional={"destination": st.sampled_from(SOURCES), "reflection": st.booleans()},
)
FORWARD = st.fixed_dictionaries(
    {
        "interface": st.sampled_from(["wan", "wan2", "lan"]),
        "destination": st.sampled_from(["vip:wan", "vip:wan2nat", "address", "198.51.100.99"]),
        "port": st.sampled_from([80, 8080, "1000-1020", "1010-1030"]),
        "target": st.sampled_from(["web", MAIL, "2001:db8:1::10"]),
    },
    optional={
        "protocol": st.sampled_from(["tcp", "udp", "tcp/udp"]),
        "source": st.sampled_from(SOURCES),
        "target_port": st.sampled_from([80, 5000]),
        "filter": st.sampled_from(["pass", "none"]),
        "reflection": st.booleans(),
    },
)


@pytest.fixture(scope="module")
def bench() -> Iterator[LabNode]:
    """A namespace to check texts in."""
    made = LabNode("bench")
    yield made
    made.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    mode=st.sampled_from(["automatic", "hybrid", "manual", "disabled"]),
    rules=st.lists(RULE, max_size=4),
    pairs=st.lists(ENTRY, max_size=3),
    forwards=st.lists(FORWARD, max_size=4),
)
def test_whatever_is_configured_without_a_problem_loads(
    bench: LabNode,
    mode: str,
    rules: list[dict[str, Any]],
    pairs: list[dict[str, Any]],
    forwards: list[dict[str, Any]],
) -> None:
    named = {"rule": rules, "one_to_one": pairs, "port_forward": forwards}
    right: dict[str, list[str]] = {name: [] for name in named}
    for name, values in ((name, each) for name, entries in named.items() for each in entries):
        right[name].append(table(name, **values))
        if any(problem.severity == "error" for problem in verify(_config(mode, right))):
            right[name].pop()
    nft(bench, rules_of(_config(mode, right), Cluster.model_validate(CLUSTER)), "-c")


def _config(mode: str, tables: dict[str, list[str]]) -> Any:
    return config(f'mode = "{mode}"\n' + "".join(text for texts in tables.values() for text in texts), **CLUSTER)


def test_ten_thousand_forwards_load_in_one_map(bench: LabNode) -> None:
    many = "".join(forward(port=10_000 + number, target=MAIL) for number in range(10_000))
    text = rules_of(config(many, **CLUSTER), Cluster.model_validate(CLUSTER))
    assert text.count("dnat") == 2, "one rule that translates, one that passes"
    nft(bench, text, "-c")
