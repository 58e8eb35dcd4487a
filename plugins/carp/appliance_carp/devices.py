"""Devices of the kernel as they come and go: sockets are opened, virtual MACs made, links reported.

A port is attached when its device appears and detached when it goes; everything in between is a change of
link or of addresses. After lost notifications all devices are read anew, in both directions.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from appliance.errors import KernelError
from appliance.net import fastpath, packet
from appliance_carp import prober
from appliance_carp.port import Port
from appliance_carp.settings import CarpSettings
from appliance_carp.station import Station

Listen = Callable[[Port, packet.PacketSocket], None]


class Devices:
    """Follows the devices of one station."""

    def __init__(self, station: Station, nursery: trio.Nursery, listen: Listen, after: Callable[[], None]) -> None:
        """`listen` starts a task that reads a new socket, `after` brings everything up to date."""
        self._station = station
        self._nursery = nursery
        self._start_listening = listen
        self._after = after
        self._probing = False
        self._monitor = fastpath.Monitor(
            fastpath.Group.LINK,
            fastpath.Group.IPV4_IFADDR,
            fastpath.Group.IPV6_IFADDR,
            fastpath.Group.IPV4_NETCONF,
            fastpath.Group.IPV6_IFINFO,
        )

    async def follow(self) -> None:
        """Take in what the kernel reports, for ever."""
        with self._monitor:
            while True:
                await trio.lowlevel.wait_readable(self._monitor.fileno())
                self._take_reports()

    def _take_reports(self) -> None:
        ports = {port.index: port for port in self._station.all_ports() if port.index}
        vmacs = {vmac.index for vmac in self._station.vmacs.values()}
        addresses: set[int] = set()
        touched: set[int] = set()
        deleted_vmacs: set[int] = set()
        for event in self._monitor.drain():
            match event:
                case fastpath.Lost():
                    self.resync()
                    touched |= vmacs
                    deleted_vmacs |= vmacs - {link.index for link in self._station.kernel.route.dump_links()}
                case fastpath.LinkEvent(link, deleted) if link.index in vmacs:
                    if deleted:
                        deleted_vmacs.add(link.index)
                    elif not link.up:
                        self._station.kernel.route.batch([fastpath.link_up(link.index)])
                        touched.add(link.index)  # IPv6 addresses have gone with it
                case fastpath.LinkEvent(link, deleted):
                    self._link_event(link, deleted=deleted)
                case fastpath.AddressEvent(address, _) if address.index in ports:
                    addresses.add(address.index)
                case fastpath.AddressEvent(address, deleted) if deleted and address.index in vmacs:
                    touched.add(address.index)
                case fastpath.NetconfEvent(index) if index in vmacs:
                    touched.add(index)
        for index in addresses & ports.keys():
            self._learn_addresses(ports[index])
        self._remake(deleted_vmacs)
        self._repair(touched - deleted_vmacs)
        self._after()

    def _repair(self, touched: set[int]) -> None:
        """Look at virtual MACs that somebody may have changed; it may have been ourselves."""
        station = self._station
        if station.ledger.fenced:
            return  # it was our guard: what it has closed stays closed
        for vmac in station.vmacs.values() if touched else ():
            if vmac.index in touched and vmac.repair(station.kernel):
                station.ctx.log.warning("carp_gate_repaired", device=vmac.device)

    def _remake(self, deleted: set[int]) -> None:
        """Somebody has deleted virtual MACs, or their parent is just going and took them along."""
        station = self._station
        gone = [key for key, vmac in station.vmacs.items() if vmac.index in deleted] if deleted else []
        for key in gone:
            port = station.ports.get(key[0])
            if port is None or not port.index or key not in station.vmacs:
                continue
            device = station.vmacs[key].device
            try:
                station.remake(key, port)
            except KernelError:
                if self._is_there(port.index, port.settings.device):
                    raise
                self._lose_device(port)
            else:
                station.ctx.log.warning("carp_device_made_again", device=device)
        if gone and station.guard is not None:
            station.renew_guard()

    def _is_there(self, index: int, device: str) -> bool:
        """Whether a device still exists; of one that has gone the report is on its way."""
        return any((link.index, link.name) == (index, device) for link in self._station.kernel.route.dump_links())

    def _link_event(self, link: fastpath.LinkInfo, *, deleted: bool) -> None:
        for port in self._station.all_ports():
            if deleted and link.index == port.index:
                self._lose_device(port)
            elif not deleted and link.name == port.settings.device:
                self._see_device(port, link)

    def resync(self) -> None:
        """Read all devices anew, in both directions: what has come and what has gone."""
        links = {link.name: link for link in self._station.kernel.route.dump_links()}
        for port in self._station.all_ports():
            link = links.get(port.settings.device)
            if link is not None:
                self._see_device(port, link)
            elif port.index:
                self._lose_device(port)
        for port in self._station.ports.values():
            if not port.up:  # also one that never was: a node that starts without a cable must not take the others
                self._station.perform(self._station.machine.set_link(port.name, False, trio.current_time()))

    def _see_device(self, port: Port, link: fastpath.LinkInfo) -> None:
        station = self._station
        if link.index != port.index:
            if port.index:
                self._lose_device(port)
            try:
                port.attach(link)
                self._learn_addresses(port)
                if self._carries_hosts(port):
                    station.attach_hosts(port)
            except KernelError:
                if self._is_there(link.index, link.name):
                    raise
                self._lose_device(port)  # renamed or deleted again before we looked
                return
            self._listen(port)
            if station.guard is not None:
                station.renew_guard()
        up = link.up and link.carrier
        port.mac = link.mac
        if up != port.up:
            port.up = up
            self._station.ctx.log.info("carp_link", interface=port.name, device=link.name, up=up)
            self._link_moved(port, up=up)

    def _lose_device(self, port: Port) -> None:
        self._station.ctx.log.warning("carp_device_gone", interface=port.name, device=port.settings.device)
        if self._carries_hosts(port):
            self._station.detach_hosts(port)
        was_up = port.up
        self._close(port)
        if was_up:
            self._link_moved(port, up=False)

    def _close(self, port: Port) -> None:
        if port.sockets is not None:
            for through in port.sockets.all_packet():
                trio.lowlevel.notify_closing(through.fileno())
        port.detach()

    def _carries_hosts(self, port: Port) -> bool:
        """Whether it is a CARP port; a sync port of its own may be in the middle of being replaced by one."""
        return self._station.ports.get(port.name) is port

    def _link_moved(self, port: Port, *, up: bool) -> None:
        station = self._station
        if self._carries_hosts(port):
            station.perform(station.machine.set_link(port.name, up, trio.current_time()))
        station.herald.hello_due = True
        if port is station.sync and not up and not self._probing:
            self._probing = True
            self._nursery.start_soon(self._probe_peers)

    def _learn_addresses(self, port: Port) -> None:
        before = port.every_own
        port.learn_addresses(self._station.kernel.route.dump_addresses(port.index))
        if port.every_own != before:
            self._station.herald.hello_due = True

    def _listen(self, port: Port) -> None:
        assert port.sockets is not None
        for through in port.sockets.all_packet():
            self._start_listening(port, through)

    async def _probe_peers(self) -> None:
        """The direct cable went dead: is the peer dead too, or only the cable?"""
        try:
            await prober.examine(self._station)
            self._after()
        finally:
            self._probing = False

    def change_ports(self, config: CarpSettings) -> None:
        """Take over another set of CARP interfaces; those that stay on their device are not touched.

        On the others we bow out and clean up first: their devices, unlike those that were pulled, still exist.
        """
        station = self._station
        wanted = {port.interface: port for port in config.ports}
        leaving = [
            name
            for name, port in station.ports.items()
            if name not in wanted or wanted[name].device != port.settings.device
        ]
        if leaving:
            station.withdraw(leaving, trio.current_time())
        for name in leaving:
            self._close(station.ports.pop(name))
            station.machine.forget_link(name)
        for name, settings in wanted.items():
            if name in station.ports:
                station.ports[name].settings = settings
            else:
                station.ports[name] = Port(settings)

    def change_sync(self, config: CarpSettings) -> None:
        """Take over another sync interface."""
        station = self._station
        current, wanted = station.sync, config.sync
        if current is not None and wanted is not None:
            shared = station.ports.get(wanted.interface)
            is_same = current.name == wanted.interface and current.settings.device == wanted.device
            if current is shared or (is_same and shared is None):
                current.settings = wanted
                return
        if current is not None and not self._carries_hosts(current):
            self._close(current)
        station.sync = station.sync_port(wanted)
