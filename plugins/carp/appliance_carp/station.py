"""The node's CARP station: every virtual host, port, peer and alarm of this node, and how effects are performed.

No waiting happens here. Every method runs from start to end without a checkpoint, so an advert that is
received, judged and answered is one step, and two tasks of the service never see a half-done change.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from appliance.events import Role, RoleChanged
from appliance.net.virtualmac import virtual_device
from appliance.plugin.context import Context
from appliance_carp import datapath
from appliance_carp import guard as guarding
from appliance_carp.datapath import Kernel, VirtualMac
from appliance_carp.guard import Guard, Send
from appliance_carp.herald import Herald
from appliance_carp.host import VirtualHost, Voice
from appliance_carp.ledger import Ledger
from appliance_carp.machine import Machine
from appliance_carp.paired import PairedKeys
from appliance_carp.port import Port
from appliance_carp.settings import CarpSettings, PortSettings, VipSettings, virtual_mac
from appliance_carp.staging import Staging, successors
from appliance_carp.transaction import Stance
from appliance_carp.vocabulary import (
    Activate,
    Announce,
    Changed,
    Count,
    Deactivate,
    Effect,
    GroupSettings,
    Note,
    SendAdvert,
    State,
    VhidKey,
)

SEND_ERROR_WEIGHT = 240
"""FreeBSD's net.inet.carp.senderr_demotion_factor."""
LINGER_S = 2.0
"""How long the virtual MAC of a former VHID still forwards: Linux takes a second change of a neighbour within a second
for a mistake, so whoever has just learned it may learn of the new one late."""
ROLES = {
    State.INIT: Role.INIT,
    State.BACKUP: Role.BACKUP,
    State.MASTER: Role.MASTER,
    State.RELEASING: Role.BACKUP,
    State.DISABLED: Role.DISABLED,
}


@dataclass(slots=True)
class Station:
    """Everything the service holds."""

    ctx: Context
    settings: CarpSettings
    kernel: Kernel
    incarnation: int
    machine: Machine
    ledger: Ledger = field(default_factory=Ledger)
    hosts: dict[VhidKey, VirtualHost] = field(default_factory=dict)
    vmacs: dict[VhidKey, VirtualMac] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    sync: Port | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    """Demotion asked for by other services."""
    settled: trio.Event = field(default_factory=trio.Event)
    """Replaced and set whenever a role moved or a peer's advert came in; for those who wait for a handover."""
    answered: dict[str, float] = field(default_factory=dict)
    """Addresses of the running probe and when they last answered ARP."""
    enabled: bool = True
    maintenance: bool = False
    guard: Guard | None = None
    listeners: dict[VhidKey, list[VirtualHost]] = field(default_factory=dict)
    """Whom an advert may be about: each virtual host understands the VHIDs of all its editions."""
    paired: PairedKeys = field(default_factory=PairedKeys)
    """What the pairing of the nodes gives."""
    left_out: int = 0
    """Virtual hosts that cannot take part, because nobody has given a password."""
    lingering: list[tuple[float, VirtualMac]] = field(default_factory=list)
    """Virtual MACs of former VHIDs that still forward, and until when."""
    staging: Staging = field(init=False)
    """Changes that wait until all nodes have them."""
    _holders: dict[tuple[str, str], VirtualHost] = field(default_factory=dict)
    herald: Herald = field(init=False)
    """Tells the bus and the other nodes."""

    def __post_init__(self) -> None:
        self.staging = Staging(self)
        self.herald = Herald(self)

    # --- building ------------------------------------------------------------------------------------------

    def build(self, now: float) -> None:
        """Make ports and hosts from the settings; the devices are found later."""
        for settings in self.settings.ports:
            self.ports[settings.interface] = Port(settings)
        self.sync = self.sync_port(self.settings.sync)
        for vip, former in self.staging.begin(self.settings.vips, now):
            host = self._add_host(former[0])
            host.propose(vip, now)
            for each in former[1:]:
                host.restore(each, now)
        self.herald.restore_keys(self.staging.former_keys)
        self.listen()

    def sync_port(self, settings: PortSettings | None) -> Port | None:
        """The sync port: the CARP port of the same interface, or one of its own."""
        if settings is None:
            return None
        return self.ports.get(settings.interface) or Port(settings)

    def _add_host(self, vip: VipSettings) -> VirtualHost:
        taken = {host.slot for host in self.hosts.values()}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        host = self.hosts[vip.key] = VirtualHost(vip, slot, self.ledger)
        return host

    def listen(self) -> None:
        """Find out anew which adverts are about which virtual host; after editions have changed."""
        self.listeners = {}
        for host in self.hosts.values():
            for vhid in {edition.vhid for edition in host.voices}:
                self.listeners.setdefault((host.settings.interface, vhid), []).append(host)

    def stances(self, host: VirtualHost) -> list[Stance]:
        """What the other nodes say of a virtual host."""
        return self.herald.peers.stances(host.settings.interface, [edition.vhid for edition in host.voices])

    def mates(self) -> list[str]:
        """Every node that was heard and not given up, perhaps before our own start."""
        return self.staging.mates

    def renamed(self) -> dict[VhidKey, VhidKey]:
        """Our present keys of virtual hosts whose VHID is being changed."""
        return {
            (host.settings.interface, edition.vhid): host.vhid_key
            for host in self.hosts.values()
            if host.is_changing
            for edition in host.voices
        }

    def all_ports(self) -> list[Port]:
        """CARP ports and the sync port, each once."""
        ports = list(self.ports.values())
        if self.sync is not None and self.sync.name not in self.ports:
            ports.append(self.sync)
        return ports

    def group(self, without: Container[VhidKey] = ()) -> GroupSettings:
        """The machine's settings."""
        return GroupSettings(
            vhids=tuple(host.election for key, host in self.hosts.items() if key not in without),
            preempt=self.settings.preempt,
            preempt_delay_s=self.settings.preempt_delay_s,
            maintenance=self.maintenance,
        )

    def attach_hosts(self, port: Port, keys: Iterable[VhidKey] | None = None) -> None:
        """Make the virtual MACs above a port: of all its hosts when it has appeared, or of new ones."""
        wanted = [key for key in (self.hosts if keys is None else keys) if key[0] == port.name]
        labels = {vhid: f"carp {name}@{vhid}" for name, vhid in wanted}
        self._reuse({virtual_device(port.settings.device, vhid) for vhid in labels})
        made = datapath.create(self.kernel, port.settings.device, port.index, labels) if labels else {}
        self.vmacs.update({(port.name, vhid): vmac for vhid, vmac in made.items()})
        self.ledger.beat(time.monotonic())  # many of them take a while; that is no reason for the guard to step in
        self._watch(port)

    def _reuse(self, devices: Container[str]) -> None:
        """Virtual MACs that were left and are needed again do not go."""
        for _, vmac in self.lingering:
            if vmac.device in devices:
                vmac.close(self.kernel)
                vmac.release()
        self.lingering = [(at, vmac) for at, vmac in self.lingering if vmac.device not in devices]

    def holder(self, interface: str, address: str) -> VirtualHost | None:
        """The virtual host that an address on an interface belongs to."""
        return self._holders.get((interface, address))

    def _watch(self, port: Port) -> None:
        self._holders = {
            (host.settings.interface, str(address)): host
            for host in self.hosts.values()
            for address in host.settings.all_addresses
        }
        port.watch(
            address
            for host in self.hosts.values()
            if host.settings.interface == port.name
            for address in host.settings.all_addresses
        )

    def detach_hosts(self, port: Port) -> None:
        """The parent is gone and its macvlans with it."""
        for key in [key for key in self.vmacs if key[0] == port.name]:
            self.vmacs.pop(key).release()
            self.ledger.record(self.hosts[key].slot, master=False)

    def withdraw(self, interfaces: Container[str], now: float) -> None:
        """Take our part in these interfaces back while their devices are still there: bow out, close, remove.

        Their hosts stay known and start anew as soon as `reconfigure` and a device bring them back.
        """
        keys = [key for key in self.hosts if key[0] in interfaces]
        self.perform(self.machine.reconfigure(self.group(without=keys), now))
        for key in keys:
            if (vmac := self.vmacs.pop(key, None)) is not None:
                vmac.remove(self.kernel)
        self.herald.roles_changed()

    def remake(self, key: VhidKey, port: Port) -> None:
        """Somebody has deleted a virtual MAC: make it again, and open it if it was open.

        Raises:
            KernelError: It cannot be made, perhaps because the parent is just being deleted, too.
        """
        old = self.vmacs.pop(key)
        old.release()
        self.attach_hosts(port, [key])
        if old.is_open:
            self._activate(key)
            self.announce(key, self.hosts[key].settings.all_addresses)

    # --- effects -------------------------------------------------------------------------------------------

    def perform(self, effects: Iterable[Effect]) -> None:
        """Do what the machine decided, in its order."""
        for effect in effects:
            match effect:
                case SendAdvert():
                    self._send(effect)
                case Activate(key):
                    self._activate(key)
                case Deactivate(key):
                    self._deactivate(key)
                case Announce(key):
                    self.announce(key, self.hosts[key].settings.all_addresses)
                case Changed():
                    self._changed(effect)
                case Count(key, counter):
                    counters = self.hosts[key].counters
                    counters[counter] = counters.get(counter, 0) + 1
                case Note(event, fields):
                    self.ctx.log.info(event, **fields)

    def _activate(self, key: VhidKey) -> None:
        vmac = self.vmacs.get(key)
        if vmac is None:
            return  # the device went away in this very moment; its event follows
        vmac.open(self.kernel, self.hosts[key].settings.placed)
        self.ledger.record(self.hosts[key].slot, master=True)

    def _deactivate(self, key: VhidKey) -> None:
        vmac = self.vmacs.get(key)
        if key in self.hosts:
            self.ledger.record(self.hosts[key].slot, master=False)
        if vmac is not None:
            vmac.close(self.kernel)

    def _changed(self, effect: Changed) -> None:
        interface, vhid = effect.key
        self.hosts[effect.key].counters["transitions"] += 1
        self.herald.roles_changed()
        role = ROLES[effect.new]
        if role is not ROLES[effect.old] or effect.old is State.INIT:
            self.ctx.publish(RoleChanged(interface=interface, vhid=vhid, role=role, reason=effect.reason))
        self.ctx.log.info(
            "carp_state", vhid=f"{interface}@{vhid}", old=effect.old.value, new=effect.new.value, reason=effect.reason
        )
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """Let everybody who waits for a handover look again."""
        self.settled.set()
        self.settled = trio.Event()

    def announce(self, key: VhidKey, addresses: Sequence[datapath.Address]) -> None:
        """GARP and NA for addresses of a virtual host."""
        port = self.ports.get(key[0])
        if port is not None:
            port.announce(addresses, self.hosts[key].settings.mac)

    def _send(self, effect: SendAdvert) -> None:
        host, port = self.hosts.get(effect.key), self.ports.get(effect.key[0])
        if host is None or port is None:
            return
        if not effect.only_sync:
            ok = self._send_on(port, host, effect)
            if host.sent(ok):
                self._send_health(host.settings.interface)
        if (effect.copy_to_sync or effect.only_sync) and self.sync is not None and self.sync is not port:
            family = next((each for each in (4, 6) if each in self.sync.own), 4)
            voice = self._voice(host)
            payload = self._payload(host, voice, self.sync.source(family), effect)
            self.sync.send_advert(payload, family, virtual_mac(voice.key.vhid))

    def _send_on(self, port: Port, host: VirtualHost, effect: SendAdvert) -> bool:
        voice = self._voice(host)
        if host.settings.peers:
            peers = [peer for peer in host.settings.peers if peer.version == effect.family]
            payloads = [(self._payload(host, voice, port.unicast_source(peer), effect), peer) for peer in peers]
            sent = [port.send_unicast(payload, peer) for payload, peer in payloads]
            return all(sent)  # and not a generator: every peer is sent to, whatever became of the one before
        payload = self._payload(host, voice, port.source(effect.family), effect)
        return port.send_advert(payload, effect.family, port.mac if effect.parting else virtual_mac(voice.key.vhid))

    def _voice(self, host: VirtualHost) -> Voice:
        return host.sending(self.stances(host)) if host.is_changing else host.voice

    def _payload(self, host: VirtualHost, voice: Voice, source: str, effect: SendAdvert) -> bytes:
        return host.payload(
            voice,
            source=source,
            advbase=effect.advbase,
            advskew=effect.advskew,
            demote=effect.demote,
            unix_time=time.time(),
        )

    def pardon_senders(self, now: float) -> None:
        """A node that failed to send and let go would stay demoted for ever: nothing shows that it could send again."""
        for host in self.hosts.values():
            if host.broken and self.machine.report(host.vhid_key).state is not State.MASTER and host.pardon(now):
                self._send_health(host.settings.interface)

    def _send_health(self, interface: str) -> None:
        """Sending began to fail or works again; the demotion follows (the caller's loop applies it)."""
        broken = any(each.broken for each in self.hosts.values() if each.settings.interface == interface)
        name = f"send:{interface}"
        if broken:
            self.reasons[name] = SEND_ERROR_WEIGHT
        else:
            self.reasons.pop(name, None)
        self.ctx.log.warning("carp_send", interface=interface, broken=broken)

    def say_goodbye(self, key: VhidKey, sequence: int) -> list[Send]:
        """The sends of a bow-out, for the guard."""
        host = self.hosts[key]
        self._voice(host).stamper.heard(sequence)
        port = self.ports[key[0]]
        if port.sockets is None:
            return []

        farewells = [
            SendAdvert(key, family, 255, 255, 0, copy_to_sync=True) for family in sorted(host.settings.families)
        ]
        return [partial(self._send, farewell) for farewell in farewells]

    # --- guard ---------------------------------------------------------------------------------------------

    def renew_guard(self) -> None:
        """Fork a guard that knows the present hosts, then let the old one go."""
        old = self.guard
        wards = [
            guarding.Ward(
                slot=self.hosts[key].slot,
                vmac=vmac,
                addresses=self.hosts[key].settings.placed,
                bow_out=partial(self.say_goodbye, key),
            )
            for key, vmac in self.vmacs.items()
        ]
        keep = [fd for vmac in self.vmacs.values() for fd in vmac.filenos()]
        for port in self.all_ports():
            if port.sockets is not None:
                keep += port.sockets.filenos()
        self.ledger.beat(time.monotonic())
        devices = [port.settings.device for port in self.all_ports() if port.sockets is not None]
        self.guard = guarding.start(self.ledger, wards, devices, keep)
        if old is not None:
            old.dismiss()

    # --- changing ------------------------------------------------------------------------------------------

    def reconfigure(self, settings: CarpSettings, now: float) -> None:
        """Take new settings as a difference; hosts that did not change are not touched.

        What the digest covers is only staged: `staging` puts it in force when the other nodes have it, too.
        """
        self.settings = settings
        self.herald.take_secrets(settings.password, self.paired.hellos)
        follow = successors(self.hosts, settings.vips)
        gone = self.hosts.keys() - follow.keys()
        former = {key: host.settings for key, host in self.hosts.items()}
        for key, vip in follow.items():
            self.hosts[key].propose(vip, now)
        new = [vip for vip in settings.vips if vip not in follow.values()]
        for vip in new:
            self._add_host(vip)
        self.listen()
        keys = {vip.key for vip in new}
        for port in self.ports.values():
            if port.index:
                self.attach_hosts(port, [key for key in keys if key[0] == port.name])
        self.herald.roles_changed()
        self.perform(self.machine.reconfigure(self.group(without=gone), now))
        for key in gone:
            if (vmac := self.vmacs.pop(key, None)) is not None:
                vmac.remove(self.kernel)
            if self.hosts.pop(key).broken:
                self._send_health(key[0])
            self.ctx.publish(RoleChanged(interface=key[0], vhid=key[1], role=Role.REMOVED, reason="removed"))
        self.listen()
        self.herald.roles_changed()
        for port in self.ports.values():
            self._watch(port)
        for key, settings_before in former.items():
            if key in self.hosts and self.hosts[key].settings != settings_before:
                self.place(key)
        self.staging.changed(now)

    def place(self, key: VhidKey) -> None:
        """Bring the kernel's addresses of a MASTER in line with its settings, and announce the new ones."""
        vmac = self.vmacs.get(key)
        if vmac is not None and vmac.is_open:
            self.announce(key, vmac.change(self.kernel, self.hosts[key].settings.placed))

    def switch(self, hosts: Sequence[VirtualHost], now: float) -> None:
        """Put in force what these have staged, each in the role that it has."""
        moved = {}
        for host in hosts:
            former = host.vhid_key
            host.switch(now)
            if host.vhid_key != former:
                moved[former] = host.vhid_key
        self.hosts = {host.vhid_key: host for host in self.hosts.values()}
        self.listen()
        for port in self.ports.values():
            self._watch(port)
        for former, key in moved.items():
            self._move_device(former, key, now)
        self.machine.rekey(moved)
        self.herald.roles_changed()
        for host in hosts:
            self.place(host.vhid_key)
        self.perform(self.machine.reconfigure(self.group(), now))
        for former, key in moved.items():
            self._tell_move(former, key)
        if self.guard is not None:
            self.renew_guard()

    def _move_device(self, former: VhidKey, key: VhidKey, now: float) -> None:
        """Another VHID is another virtual MAC. That of a MASTER is opened before the former one goes."""
        old, port = self.vmacs.pop(former, None), self.ports.get(key[0])
        if old is None or port is None or not port.index:
            return
        self.attach_hosts(port, [key])
        if old.is_open:
            self._activate(key)
            self.announce(key, self.hosts[key].settings.all_addresses)
            old.change(self.kernel, ())
            self.lingering.append((now + LINGER_S, old))
        else:
            old.remove(self.kernel)

    def remove_lingering(self, now: float) -> None:
        """Remove virtual MACs that were left, when everybody has learned of the new ones."""
        due = [vmac for at, vmac in self.lingering if at <= now]
        self.lingering = [(at, vmac) for at, vmac in self.lingering if at > now]
        for vmac in due:
            vmac.remove(self.kernel)

    def _tell_move(self, former: VhidKey, key: VhidKey) -> None:
        interface, vhid = key
        role = ROLES[self.machine.report(key).state]
        reason = f"VHID {former[1]} became {vhid}"
        self.ctx.publish(RoleChanged(interface=interface, vhid=vhid, role=role, reason=reason))
        self.ctx.publish(RoleChanged(interface=interface, vhid=former[1], role=Role.REMOVED, reason=reason))
        self.ctx.log.info("carp_vhid_changed", interface=interface, old=former[1], new=vhid)
