"""Wanted minus actual, on a model of the kernel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from appliance.net.rtfacts import LinkInfo, Route
from appliance_interfaces import plan as p
from appliance_interfaces.settings import Cidr, Settings, VlanSettings, WantedInterface, WantedRoute

ONE, TWO, SIX = ip_interface("10.0.0.1/24"), ip_interface("10.0.0.2/24"), ip_interface("fd00::1/64")
ANY = ip_network("0.0.0.0/0")
GATEWAY = WantedRoute(to=ANY, via=ip_address("10.0.0.9"), metric=0, onlink=False)


def link(name: str, index: int, *, up: bool = True, mtu: int = 1500, **more: object) -> LinkInfo:
    base = LinkInfo(index, name, "", "02:00:00:00:00:01", 0, up, up, mtu, 0, 0, "")
    return base._replace(**more)


def kernel(
    *links: LinkInfo, addresses: dict[int, dict[Cidr, int]] | None = None, routes: set[Route] | None = None
) -> p.Actual:
    return p.Actual(
        links={each.name: each for each in links}, addresses=addresses or {}, routes=frozenset(routes or ())
    )


def wan(*addresses: Cidr, **more: object) -> Settings:
    return Settings(interfaces=(replace(WantedInterface(name="wan", device="wan0", addresses=addresses), **more),))


def route(wanted: WantedRoute, index: int) -> Route:
    return Route(to=wanted.to, index=index, via=wanted.via, metric=wanted.metric, protocol=p.ROUTE_PROTOCOL)


def planned(settings: Settings, actual: p.Actual, owned: p.Owned | None = None, **seen_up: int) -> p.Plan:
    return p.make_plan(settings, actual, owned or p.Owned(), seen_up)


def test_nothing_is_done_to_what_is_right() -> None:
    actual = kernel(link("wan0", 2), addresses={2: {ONE: 0}}, routes={route(GATEWAY, 2)})
    assert planned(wan(ONE, routes=(GATEWAY,), mtu=1500), actual) == p.Plan()


def test_a_new_device_is_made_complete_in_the_right_order() -> None:
    actual = kernel(link("wan0", 2, up=False))
    assert planned(wan(ONE, SIX, routes=(GATEWAY,), mtu=1400), actual).operations == (
        p.SetMtu(device="wan0", index=2, mtu=1400),
        p.SetUp(device="wan0", index=2),
        p.AddAddress(device="wan0", index=2, address=ONE),
        p.AddAddress(device="wan0", index=2, address=SIX),
        p.AddRoute(device="wan0", route=route(GATEWAY, 2)),
    )


def test_a_missing_device_is_told_with_what_there_is() -> None:
    plan = planned(wan(ONE), kernel(link("lo", 1), link("eth7", 2)))
    assert plan.operations == ()
    (trouble,) = plan.troubles
    assert (trouble.interface, trouble.kind) == ("wan", "missing")
    assert trouble.what == "the device wan0 of wan does not exist"
    assert "there are: eth7." in trouble.fix


def test_a_device_set_down_by_hand_is_left_alone_and_gets_no_routes() -> None:
    actual = kernel(link("wan0", 2, up=False), addresses={2: {ONE: 0}})
    plan = planned(wan(ONE, routes=(GATEWAY,)), actual, wan0=2)
    assert plan.operations == ()
    assert [trouble.kind for trouble in plan.troubles] == ["down"]


def test_a_device_that_came_back_is_set_up_again() -> None:
    plan = planned(wan(ONE), kernel(link("wan0", 3, up=False), addresses={3: {ONE: 0}}), wan0=2)
    assert plan == p.Plan(operations=(p.SetUp(device="wan0", index=3),))


def test_only_our_own_addresses_are_removed() -> None:
    actual = kernel(link("wan0", 2), addresses={2: {ONE: 0, TWO: 0}})
    owned = p.Owned(addresses={"wan0": frozenset({ONE})})
    assert planned(wan(), actual, owned).operations == (p.RemoveAddress(device="wan0", index=2, address=ONE),)


def test_foreign_addresses_go_when_told_so_except_link_local_ones() -> None:
    local = ip_interface("fe80::1/64")
    actual = kernel(link("wan0", 2), addresses={2: {ONE: 0, TWO: 0, local: 0}})
    plan = planned(wan(ONE, remove_foreign=True), actual)
    assert plan.operations == (p.RemoveAddress(device="wan0", index=2, address=TWO),)


def test_a_wrong_prefix_length_is_corrected_before_adding() -> None:
    wrong = ip_interface("fd00::1/128")
    plan = planned(wan(SIX), kernel(link("wan0", 2), addresses={2: {wrong: 0}}))
    assert plan.operations == (
        p.RemoveAddress(device="wan0", index=2, address=wrong),
        p.AddAddress(device="wan0", index=2, address=SIX),
    )


def test_an_address_that_failed_duplicate_detection_is_made_anew() -> None:
    plan = planned(wan(SIX), kernel(link("wan0", 2), addresses={2: {SIX: 0x08}}))
    assert plan.operations == (
        p.RemoveAddress(device="wan0", index=2, address=SIX),
        p.AddAddress(device="wan0", index=2, address=SIX),
    )


def test_an_address_is_replaced_without_being_without_one() -> None:
    actual = kernel(link("wan0", 2), addresses={2: {ONE: 0}})
    owned = p.Owned(addresses={"wan0": frozenset({ONE})})
    assert planned(wan(TWO), actual, owned).operations == (
        p.AddAddress(device="wan0", index=2, address=TWO),
        p.RemoveAddress(device="wan0", index=2, address=ONE),
    )


def test_an_interface_that_is_no_longer_configured_loses_what_we_gave_it() -> None:
    actual = kernel(link("wan0", 2), addresses={2: {ONE: 0, TWO: 0}}, routes={route(GATEWAY, 2)})
    owned = p.Owned(addresses={"wan0": frozenset({ONE})})
    assert planned(Settings(), actual, owned).operations == (
        p.RemoveAddress(device="wan0", index=2, address=ONE),
        p.RemoveRoute(device="wan0", route=route(GATEWAY, 2)),
    )


def test_a_changed_gateway_replaces_the_route_without_a_gap() -> None:
    other = replace(GATEWAY, via=ip_address("10.0.0.8"))
    actual = kernel(link("wan0", 2), addresses={2: {ONE: 0}}, routes={route(other, 2)})
    plan = planned(wan(ONE, routes=(GATEWAY,)), actual)
    assert plan.operations == (p.AddRoute(device="wan0", route=route(GATEWAY, 2)),)


DMZ = Settings(
    interfaces=(
        WantedInterface(name="dmz", device="lan0.20", vlan=VlanSettings(parent="lan0", id=20), addresses=(ONE,)),
    )
)


def test_a_vlan_is_made_on_its_parent_which_is_set_up() -> None:
    assert planned(DMZ, kernel(link("lan0", 2, up=False))).operations == (
        p.SetUp(device="lan0", index=2),
        p.CreateVlan(device="lan0.20", parent_index=2, vlan_id=20),
    )


def test_a_vlan_without_its_parent_waits() -> None:
    plan = planned(DMZ, kernel())
    assert plan.operations == ()
    assert [trouble.what for trouble in plan.troubles] == ["the device lan0 of dmz does not exist"]


def test_a_device_that_is_not_our_vlan_is_not_touched() -> None:
    plan = planned(DMZ, kernel(link("lan0", 2), link("lan0.20", 3)))
    assert plan.operations == ()
    assert [trouble.kind for trouble in plan.troubles] == ["vlan"]


def test_our_own_vlan_is_made_anew_when_its_parent_changes_and_removed_when_it_is_no_longer_wanted() -> None:
    owned = p.Owned(vlans=frozenset({"lan0.20"}))
    actual = kernel(link("lan0", 2), link("lan0.20", 3, kind="vlan", parent_index=9, vlan_id=20))
    delete = p.DeleteVlan(device="lan0.20", index=3)
    assert planned(DMZ, actual, owned).operations == (delete,)
    assert planned(Settings(), actual, owned).operations == (delete,)
    assert planned(Settings(), actual).operations == ()


def test_what_is_configured_is_ours_and_what_is_gone_is_forgotten() -> None:
    gone = ip_interface("10.9.0.1/24")
    owned = p.Owned(addresses={"wan0": frozenset({TWO, gone}), "old0": frozenset({gone})}, vlans=frozenset({"x.1"}))
    actual = kernel(link("wan0", 2), addresses={2: {TWO: 0}})
    after = p.owned_after(wan(ONE), actual, owned)
    assert after == p.Owned(addresses={"wan0": frozenset({ONE, TWO})})


# ------------------------------------------------------------------- the plan leads to what is wanted

POOL = [ip_interface(text) for text in ("10.0.0.1/24", "10.0.0.1/25", "10.0.0.2/24", "fd00::1/64", "fd00::1/128")]
DEVICES = ("a0", "b0", "p0.7")


def carried_out(actual: p.Actual, operation: p.Operation) -> p.Actual:
    """What the kernel makes of an operation, with the side effects that matter."""
    links, routes = dict(actual.links), set(actual.routes)
    addresses = {index: dict(found) for index, found in actual.addresses.items()}
    match operation:
        case p.CreateVlan():
            assert operation.device not in links
            index = 100 + len(links)
            made = {"kind": "vlan", "parent_index": operation.parent_index, "vlan_id": operation.vlan_id}
            links[operation.device] = link(operation.device, index, up=False, **made)
        case p.DeleteVlan():
            del links[operation.device]
            addresses.pop(operation.index, None)
            routes = {each for each in routes if each.index != operation.index}
        case p.SetMtu():
            links[operation.device] = links[operation.device]._replace(mtu=operation.mtu)
        case p.SetUp():
            links[operation.device] = links[operation.device]._replace(up=True)
        case p.AddAddress():
            there = addresses.setdefault(operation.index, {})
            assert operation.address not in there
            if operation.address.version == 6:
                assert operation.address.ip not in {each.ip for each in there}
            there[operation.address] = 0
        case p.RemoveAddress():
            del addresses[operation.index][operation.address]
            if not addresses[operation.index]:
                routes = {each for each in routes if each.index != operation.index}
        case p.AddRoute():
            assert next(each for each in links.values() if each.index == operation.route.index).up
            routes = {each for each in routes if (each.to, each.metric) != (operation.route.to, operation.route.metric)}
            routes.add(operation.route)
        case p.RemoveRoute():
            routes.remove(operation.route)
    return p.Actual(links=links, addresses=addresses, routes=frozenset(routes))


def one_address_each(addresses: list[Cidr]) -> tuple[Cidr, ...]:
    return tuple({address.ip: address for address in addresses}.values())


@st.composite
def interfaces(draw: st.DrawFn) -> Settings:
    found = []
    for device in draw(st.sets(st.sampled_from(DEVICES))):
        vlan = VlanSettings(parent="p0", id=7) if "." in device else None
        gateway = replace(GATEWAY, metric=DEVICES.index(device))
        found.append(
            WantedInterface(
                name=device[0],
                device=device,
                vlan=vlan,
                addresses=one_address_each(draw(st.lists(st.sampled_from(POOL)))),
                mtu=draw(st.sampled_from([None, 1400, 1500])),
                routes=draw(st.sampled_from([(), (gateway,)])),
                remove_foreign=draw(st.booleans()),
            )
        )
    return Settings(interfaces=tuple(found))


def settle(settings: Settings, actual: p.Actual, owned: p.Owned) -> tuple[p.Actual, p.Owned]:
    for _ in range(5):
        owned = p.owned_after(settings, actual, owned)
        plan = p.make_plan(settings, actual, owned, {})
        if not plan.operations:
            return actual, owned
        for operation in plan.operations:
            if isinstance(operation, p.RemoveRoute) and operation.route not in actual.routes:
                continue  # went with its address: the kernel says ESRCH, and the service goes on
            actual = carried_out(actual, operation)
    raise AssertionError(f"does not settle: {plan.operations}")


@given(interfaces(), interfaces(), st.lists(st.sampled_from(POOL)), st.booleans())
def test_every_configuration_is_reached_from_every_other(
    old: Settings, new: Settings, foreign: list[Cidr], has_parent: bool
) -> None:
    parents = [link("p0", 4, up=False)] if has_parent else []
    here = one_address_each(foreign)
    actual = kernel(link("a0", 2, up=False), link("b0", 3), *parents, addresses={2: dict.fromkeys(here, 0)})
    actual, owned = settle(old, actual, p.Owned())
    actual, owned = settle(new, actual, owned)
    for wanted in new.interfaces:
        if wanted.device in actual.links:
            assert set(wanted.addresses) <= actual.on(wanted.device).keys()
            assert {route(each, actual.links[wanted.device].index) for each in wanted.routes} <= actual.routes
    if not new.interfaces:
        assert actual.routes == frozenset()
        assert "p0.7" not in actual.links
        ours = {address for wanted in old.interfaces for address in wanted.addresses if wanted.device == "a0"}
        if not any(wanted.device == "a0" and wanted.remove_foreign for wanted in old.interfaces):
            kept = {address for address in here if address.ip not in {each.ip for each in ours}}
            assert set(actual.on("a0")) == kept
