"""The commands that build a laboratory."""

from __future__ import annotations

from appliance.lab.plan import Software, build_plan, node_plan
from appliance.lab.topology import Topology

TOPOLOGY = Topology(name="x")


def test_every_cable_is_created_in_place_with_fixed_addresses() -> None:
    plan = build_plan(TOPOLOGY)
    assert plan.main[0] == (
        "link add wan0 netns lab-x-fw1 index 21 address 02:fc:00:02:01:01"
        " type veth peer name fw1 netns lab-x-wansw index 21 address 02:fc:00:02:01:02"
    )
    assert len(plan.main) == len(TOPOLOGY.cables) == 8


def test_every_namespace_gets_sysctls_and_commands() -> None:
    plan = build_plan(Topology(name="x", nodes=3, second_wan=True, dmz=True, second_switch=True))
    assert set(plan.namespaces) == set(plan.sysctls) == set(plan.inside)
    assert len(plan.namespaces) == len(set(plan.namespaces)) == 15


def test_the_product_gets_devices_without_addresses() -> None:
    lines = build_plan(TOPOLOGY).inside["lab-x-fw1"]
    assert not [line for line in lines if line.startswith(("addr", "route"))]
    assert "link set wan0 up" in lines


def test_a_plain_router_holds_the_virtual_addresses_on_the_first_node_only() -> None:
    plan = build_plan(TOPOLOGY, Software.ROUTER)
    assert "addr add 192.168.1.1/24 dev lan0" in plan.inside["lab-x-fw1"]
    assert "addr add 2001:db8:1::1/64 dev lan0 nodad" in plan.inside["lab-x-fw1"]
    assert "addr add 192.168.1.1/24 dev lan0" not in plan.inside["lab-x-fw2"]
    assert plan.sysctls["lab-x-fw1"]["net/ipv4/conf/all/forwarding"] == "1"


def test_bare_nodes_hold_no_virtual_address() -> None:
    plan = build_plan(TOPOLOGY, Software.BARE)
    assert "addr add 192.168.1.2/24 dev lan0" in plan.inside["lab-x-fw1"]
    assert "addr add 192.168.1.1/24 dev lan0" not in plan.inside["lab-x-fw1"]


def test_client_and_server_use_the_virtual_addresses_as_gateways() -> None:
    plan = build_plan(Topology(name="x", dmz=True))
    assert "route add default via 192.168.1.1" in plan.inside["lab-x-client"]
    assert "route add default via 2001:db8:1::1" in plan.inside["lab-x-client"]
    assert "route add default via 192.168.2.1" in plan.inside["lab-x-dmzhost"]
    assert [line for line in plan.inside["lab-x-server"] if line.startswith("route")] == [
        "route add 192.168.1.0/24 via 198.51.100.200",
        "route add 192.168.2.0/24 via 198.51.100.200",
        "route add 2001:db8:1::/64 via 2001:db8:ffff::200",
    ]


def test_without_ipv6_no_ipv6_address_appears() -> None:
    plan = build_plan(Topology(name="x", ipv6=False), Software.ROUTER)
    assert not [line for lines in plan.inside.values() for line in lines if "2001:" in line]
    assert plan.sysctls["lab-x-client"]["net/ipv6/conf/all/disable_ipv6"] == "1"


def test_power_coming_back_touches_that_node_and_its_ports_only() -> None:
    plan = node_plan(TOPOLOGY, "fw1", Software.APPLIANCE)
    assert plan.namespaces == ("lab-x-fw1",)
    assert plan.inside["lab-x-lansw"] == ("link set fw1 master sw0", "link set fw1 up")
    assert "link set fw2 up" in plan.inside["lab-x-synccable"], "the far end of a direct cable has a link again"
    assert "lab-x-fw2" not in plan.inside
