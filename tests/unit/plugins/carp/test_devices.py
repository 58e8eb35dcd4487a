"""Devices that come, change, go and are replaced; reports of the kernel that were lost."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from appliance.net import fastpath, packet
from appliance.net.rtfacts import AddressEvent, LinkEvent, Lost, NetconfEvent
from appliance_carp import devices as module
from appliance_carp.devices import Devices
from appliance_carp.port import Port
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import LAN, WAN, Peer, Rig, adverts_in, carp, port_settings, vip

MakeRig = Callable[..., Rig]


class Reports:
    """The kernel's notifications: given by hand, readable when there are some."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.came = trio.Event()
        self.closed = False

    def __call__(self, *groups: fastpath.Group) -> Reports:
        self.groups = groups
        return self

    def __enter__(self) -> Reports:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def fileno(self) -> int:
        return -1

    def give(self, *events: Any) -> None:
        self.waiting += events
        self.came.set()

    def drain(self) -> list[Any]:
        taken, self.waiting, self.came = self.waiting, [], trio.Event()
        return taken


class Followed:
    """A station whose devices are followed."""

    def __init__(self, rig: Rig, reports: Reports, nursery: trio.Nursery) -> None:
        self.rig = rig
        self.reports = reports
        self.listened: list[tuple[str, str]] = []
        self.rounds = 0
        self.devices = Devices(rig.station, nursery, self._listen, self._after)

    def _listen(self, port: Port, through: Any) -> None:
        self.listened.append((port.name, through.device))

    def _after(self) -> None:
        self.rounds += 1

    async def report(self, *events: Any) -> None:
        self.reports.give(*events)
        await trio.testing.wait_all_tasks_blocked()

    def links(self) -> dict[str, fastpath.LinkInfo]:
        return {link.name: link for link in self.rig.kernel.route.dump_links()}


Story = Callable[[Followed], Awaitable[None]]


@pytest.fixture
def follow(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Tells a story on a station whose kernel has these devices from the beginning."""
    reports = Reports()
    monkeypatch.setattr(fastpath, "Monitor", reports)

    async def wait_readable(_: int) -> None:
        await reports.came.wait()

    monkeypatch.setattr(module.trio.lowlevel, "wait_readable", wait_readable)

    def tell(story: Story, *plugged: str, **how: Any) -> None:
        async def main() -> None:
            await trio.sleep(100)
            rig = make_rig(now=trio.current_time(), **how)
            for device in plugged or ("lan0", "wan0", "sync0"):
                rig.kernel.route.plug(device)
                rig.kernel.route.address(
                    device, {"lan0": "192.168.1.2/24", "wan0": "198.51.100.2/24"}.get(device, "172.16.1.2/24")
                )
            rig.station.perform(rig.machine.start(rig.now))
            async with trio.open_nursery() as nursery:
                followed = Followed(rig, reports, nursery)
                followed.devices.resync()
                nursery.start_soon(followed.devices.follow)
                await trio.testing.wait_all_tasks_blocked()
                await story(followed)
                nursery.cancel_scope.cancel()
            assert reports.closed

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    return tell


# --- coming ------------------------------------------------------------------------------------------------


def test_devices_that_are_there_are_taken_up(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        station = followed.rig.station
        assert [(port.index, port.up, port.mac) for port in station.all_ports()] == [
            (2, True, "02:00:00:00:00:02"), (3, True, "02:00:00:00:00:03"), (4, True, "02:00:00:00:00:04"),
        ]  # fmt: skip
        assert set(station.vmacs) == {LAN, WAN}
        assert followed.listened == [(name, f"{name}0") for name in ("lan", "wan", "sync") for _ in range(3)]
        assert followed.rig.states() == {State.BACKUP}
        assert station.ports["lan"].source(4) == "192.168.1.2"
        assert station.herald.hello_due

    follow(story)


def test_a_device_that_comes_later_is_taken_up_when_it_comes(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        assert (rig.state(LAN), rig.state(WAN)) == (State.BACKUP, State.INIT)
        rig.kernel.route.plug("wan0")
        rig.kernel.route.address("wan0", "198.51.100.2/24")
        await followed.report(LinkEvent(followed.links()["wan0"], deleted=False))
        assert rig.state(WAN) is State.BACKUP
        assert "wan0.v2" in followed.links()
        assert followed.rounds == 1

    follow(story, "lan0", "sync0")


def test_a_device_that_is_missing_from_the_start_demotes_until_it_comes(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        assert dict(rig.machine.reasons) == {"link:wan": 240}
        rig.kernel.route.plug("wan0")
        await followed.report(LinkEvent(followed.links()["wan0"], deleted=False))
        assert dict(rig.machine.reasons) == {}

    follow(story, "lan0", "sync0")


def test_devices_of_others_are_nothing_to_us(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        before = list(followed.rig.kernel.journal)
        foreign = followed.links()["lan0"]._replace(index=77, name="docker0")
        await followed.report(LinkEvent(foreign, deleted=False), LinkEvent(foreign, deleted=True))
        assert followed.rig.kernel.journal == before
        assert followed.rig.states() == {State.BACKUP}

    follow(story)


# --- links -------------------------------------------------------------------------------------------------


def test_a_lost_carrier_is_told_to_the_machine_and_found_again(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig, wan = followed.rig, followed.links()["wan0"]
        await followed.report(LinkEvent(wan._replace(carrier=False), deleted=False))
        assert (rig.state(WAN), dict(rig.machine.reasons)) == (State.INIT, {"link:wan": 240})
        assert rig.station.ports["wan"].sockets is not None, "its sockets stay"
        await followed.report(LinkEvent(wan, deleted=False))
        assert (rig.state(WAN), dict(rig.machine.reasons)) == (State.BACKUP, {})
        assert [entry["up"] for entry in rig.ctx.log.named("carp_link") if entry["interface"] == "wan"] == [
            True,
            False,
            True,
        ]

    follow(story)


def test_the_same_state_again_is_no_news(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        before = len(followed.rig.ctx.log.lines)
        await followed.report(*[LinkEvent(followed.links()["lan0"], deleted=False)] * 5)
        assert len(followed.rig.ctx.log.lines) == before

    follow(story)


# --- going and being replaced ------------------------------------------------------------------------------


def test_a_device_that_goes_takes_its_sockets_and_macs_with_it(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        sockets = rig.sockets("wan")
        await followed.report(LinkEvent(followed.links()["wan0"], deleted=True))
        assert [socket.is_open for socket in sockets] == [False] * 3
        assert set(rig.station.vmacs) == {LAN}
        assert rig.state(WAN) is State.INIT
        assert not rig.station.ports["wan"].up

    follow(story)


def test_a_new_device_of_the_same_name_is_another_one(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        old = rig.sockets("lan")
        route = rig.kernel.route
        for index in [index for index, link in route.links.items() if link.name.startswith("lan0")]:
            del route.links[index]
        route.plug("lan0", index=50)
        followed.listened.clear()
        await followed.report(LinkEvent(followed.links()["lan0"], deleted=False))
        assert rig.station.ports["lan"].index == 50
        assert not any(socket.is_open for socket in old)
        assert followed.listened == [("lan", "lan0")] * 3
        assert followed.links()["lan0.v1"].parent_index == 50
        assert rig.state(LAN) is State.BACKUP

    follow(story)


def test_after_lost_reports_everything_is_read_anew_in_both_directions(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        del rig.kernel.route.links[3]
        rig.kernel.route.plug("lan0", up=False)
        rig.kernel.route.plug("sync0")
        await followed.report(Lost())
        assert (rig.state(LAN), rig.state(WAN)) == (State.INIT, State.INIT)
        assert (rig.station.ports["lan"].index, rig.station.ports["wan"].index) == (2, 0)
        assert rig.station.sync is not None
        assert rig.station.sync.up

    follow(story, "lan0", "wan0")


# --- addresses and what others change ----------------------------------------------------------------------


def test_a_changed_address_is_our_new_source_and_told_to_the_peers(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        rig.station.herald.hello_due = False
        rig.kernel.route.addresses = [each for each in rig.kernel.route.addresses if each.index != 2]
        rig.kernel.route.address("lan0", "192.168.1.22/24")
        changed = rig.kernel.route.dump_addresses(2)[0]
        await followed.report(AddressEvent(changed, deleted=False))
        assert rig.station.ports["lan"].source(4) == "192.168.1.22"
        assert rig.station.herald.hello_due

    follow(story)


@pytest.mark.parametrize("report", ["address", "netconf"])
def test_what_somebody_changed_on_a_virtual_mac_is_repaired_and_logged(
    follow: Callable[..., None], report: str
) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        rig.master()
        vmac = rig.station.vmacs[LAN]
        (held,) = [each for each in rig.kernel.route.addresses if each.index == vmac.index]
        if report == "address":
            rig.kernel.route.addresses.remove(held)
            await followed.report(AddressEvent(held, deleted=True))
        else:
            rig.kernel.sysctls[f"net/ipv4/conf/{vmac.device}/forwarding"] = "0"
            await followed.report(NetconfEvent(vmac.index, 2, None, None))
        assert held.address in {each.address for each in rig.kernel.route.addresses}
        assert rig.kernel.sysctls[f"net/ipv4/conf/{vmac.device}/forwarding"] == "1"
        assert rig.ctx.log.named("carp_gate_repaired") == [{"device": "lan0.v1"}]

    follow(story)


def test_our_own_changes_are_reported_too_and_need_no_repair(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        rig.master()
        before = list(rig.kernel.journal)
        await followed.report(*(NetconfEvent(vmac.index, 2, None, None) for vmac in rig.station.vmacs.values()))
        assert (rig.kernel.journal, rig.ctx.log.named("carp_gate_repaired")) == (before, [])

    follow(story)


# --- the sync link -----------------------------------------------------------------------------------------


def test_a_dead_sync_link_starts_one_probe_however_often_it_flaps(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig, peer = followed.rig, Peer()
        rig.take("lan", peer.hello(state=State.MASTER), peer.advert(LAN))
        rig.take("wan", peer.advert(WAN))
        await trio.sleep(0.5)
        sync = followed.links()["sync0"]
        for carrier in (False, True, False):
            await followed.report(LinkEvent(sync._replace(carrier=carrier), deleted=False))
        await trio.sleep(1)
        assert len(rig.ctx.log.named("carp_probe_dead")) == 1
        assert rig.states() == {State.MASTER}

    follow(story)


def test_a_dead_sync_link_alone_moves_no_role(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        await followed.report(LinkEvent(followed.links()["sync0"]._replace(carrier=False), deleted=False))
        await trio.sleep(1)
        assert rig.states() == {State.BACKUP}
        assert rig.machine.demotion == 0, "it is no reason to be demoted either"

    follow(story)


# --- other settings ----------------------------------------------------------------------------------------


def test_ports_that_stay_are_not_touched_by_other_settings(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        station = followed.rig.station
        lan, wan = station.ports["lan"], station.ports["wan"]
        followed.devices.change_ports(carp(ports=("lan",)))
        assert (station.ports, wan.sockets) == ({"lan": lan}, None)
        assert lan.sockets is not None
        followed.devices.change_ports(carp(ports=("lan", "wan")))
        followed.devices.resync()
        assert station.ports["wan"] is not wan
        assert station.ports["wan"].index == 3

    follow(story)


def test_another_sync_interface_replaces_the_old_one(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        station = followed.rig.station
        old = station.sync
        assert old is not None
        followed.devices.change_sync(carp())
        assert station.sync is old
        followed.devices.change_sync(carp(sync=False))
        assert (station.sync, old.sockets) == (None, None)

    follow(story)


def test_a_sync_link_that_also_carries_virtual_hosts_keeps_its_port(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        station = followed.rig.station
        lan = station.ports["lan"]
        station.sync = lan
        station.settings = carp(vip("lan", 1, "192.168.1.1/24"))
        followed.devices.change_sync(carp())
        assert lan.sockets is not None
        assert station.sync is not lan
        assert station.sync.settings == port_settings("sync")

    follow(story)


# --- a reload that moves interfaces to other devices -------------------------------------------------------


def test_an_interface_that_moves_to_another_device_leaves_nothing_open_on_the_old_one(
    follow: Callable[..., None],
) -> None:
    async def story(followed: Followed) -> None:
        rig, route = followed.rig, followed.rig.kernel.route
        rig.master()
        wire = rig.sockets("lan")[0]
        wire.sent.clear()
        route.links[9] = followed.links()["lan0"]._replace(index=9, name="eth9")
        moved = carp()
        moved = replace(moved, ports=(replace(moved.ports[0], device="eth9"), *moved.ports[1:]))
        followed.devices.change_ports(moved)
        rig.station.reconfigure(moved, trio.current_time())
        followed.devices.resync()
        assert adverts_in(wire.sent)[-1].advbase == 255, "it has said goodbye where it was"
        assert "lan0.v1" not in followed.links()
        assert "eth9.v1" in followed.links()
        assert not [each for each in route.addresses if str(each.address) == "192.168.1.1"]
        assert (rig.state(LAN), rig.state(WAN)) == (State.BACKUP, State.MASTER), "the other one stays"
        assert rig.machine.demotion == 0

    follow(story)


def test_another_own_address_in_the_settings_disturbs_nothing(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        sockets, vmac = rig.sockets("lan"), rig.station.vmacs[LAN]
        other = carp()
        other = replace(other, ports=tuple(replace(port, addresses=()) for port in other.ports))
        followed.devices.change_ports(other)
        assert rig.station.ports["lan"].settings == other.ports[0]
        assert (rig.sockets("lan"), rig.station.vmacs[LAN]) == (sockets, vmac)
        assert all(socket.is_open for socket in sockets)

    follow(story)


def test_an_interface_that_comes_back_without_link_is_not_believed_to_have_one(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig, only_lan = followed.rig, carp(vip("lan", 1, "192.168.1.1/24"), ports=("lan",))
        followed.devices.change_ports(only_lan)
        rig.station.reconfigure(only_lan, trio.current_time())
        rig.kernel.route.plug("wan0", up=False)
        followed.devices.change_ports(carp())
        rig.station.reconfigure(carp(), trio.current_time())
        followed.devices.resync()
        assert (rig.state(LAN), rig.state(WAN)) == (State.BACKUP, State.INIT)

    follow(story)


def test_a_sync_interface_that_gets_a_virtual_host_is_read_once(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        station = followed.rig.station
        old = station.sync
        assert old is not None
        both = carp(ports=("lan", "wan", "sync"))
        followed.devices.change_ports(both)
        followed.devices.change_sync(both)
        assert station.sync is station.ports["sync"]
        assert (old.sockets, station.sync is old) == (None, False)

    follow(story)


# --- what others do to virtual MACs ------------------------------------------------------------------------


@pytest.mark.parametrize("is_master", [True, False])
def test_a_virtual_mac_that_somebody_deleted_is_made_again(follow: Callable[..., None], is_master: bool) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        if is_master:
            rig.master()
        link = followed.links()["lan0.v1"]
        del rig.kernel.route.links[link.index]
        await followed.report(LinkEvent(link, deleted=True))
        made = rig.station.vmacs[LAN]
        assert followed.links()["lan0.v1"].index == made.index != link.index
        assert made.is_open is is_master
        assert any(each.index == made.index for each in rig.kernel.route.addresses) is is_master
        assert rig.ctx.log.named("carp_device_made_again") == [{"device": "lan0.v1"}]

    follow(story)


def test_a_virtual_mac_that_went_with_its_parent_is_not_missed(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        rig.master()
        links, route = followed.links(), rig.kernel.route
        del route.links[links["lan0.v1"].index], route.links[links["lan0"].index]
        route.refuse["link + lan0.v1"] = errno.ENODEV
        await followed.report(LinkEvent(links["lan0.v1"], deleted=True))
        assert (rig.state(LAN), set(rig.station.vmacs)) == (State.INIT, {WAN})
        assert not rig.station.ledger.is_master(rig.station.hosts[LAN].slot)
        await followed.report(LinkEvent(links["lan0"], deleted=True))
        assert rig.ctx.log.named("carp_device_made_again") == []

    follow(story)


def test_a_virtual_mac_that_somebody_took_down_comes_up_again(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        rig.master()
        index = rig.station.vmacs[LAN].index
        down = rig.kernel.route.links[index] = rig.kernel.route.links[index]._replace(up=False)
        await followed.report(LinkEvent(down, deleted=False))
        assert rig.kernel.route.links[index].up

    follow(story)


def test_what_the_guard_has_closed_is_not_repaired(follow: Callable[..., None]) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        rig.master()
        vmac = rig.station.vmacs[LAN]
        rig.station.ledger.fenced = True
        rig.kernel.sysctls[f"net/ipv4/conf/{vmac.device}/forwarding"] = "0"
        await followed.report(NetconfEvent(vmac.index, 2, None, None))
        assert rig.kernel.sysctls[f"net/ipv4/conf/{vmac.device}/forwarding"] == "0"

    follow(story)


def test_a_device_that_has_another_name_before_we_look_is_waited_for(
    follow: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(followed: Followed) -> None:
        rig = followed.rig
        stale = rig.kernel.route.plug("wan0")
        rig.kernel.route.links[stale.index] = stale._replace(name="renamed0")

        def gone(*_: object, **__: object) -> None:
            raise fastpath.system_error(errno.ENODEV, "cannot open a packet socket on wan0")

        with monkeypatch.context() as patched:
            patched.setattr(packet, "PacketSocket", gone)
            await followed.report(LinkEvent(stale, deleted=False))
        assert (rig.station.ports["wan"].index, rig.state(WAN)) == (0, State.INIT)
        await followed.report(LinkEvent(rig.kernel.route.plug("wan0"), deleted=False))
        assert rig.state(WAN) is State.BACKUP

    follow(story, "lan0", "sync0")
