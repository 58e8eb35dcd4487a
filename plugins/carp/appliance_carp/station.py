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

from appliance.events import Alarm, Demotion, PeerChanged, Role, RoleChanged
from appliance.plugin.context import Context
from appliance_carp import datapath, hello
from appliance_carp import guard as guarding
from appliance_carp.alarms import AlarmBook, Trouble
from appliance_carp.datapath import Kernel, VirtualMac
from appliance_carp.guard import Guard, Send
from appliance_carp.host import VirtualHost
from appliance_carp.ledger import Ledger
from appliance_carp.machine import Machine
from appliance_carp.peers import PeerBook
from appliance_carp.port import UNSPECIFIED, Port
from appliance_carp.settings import CarpSettings, PortSettings
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

REANNOUNCE_MAX = 20
CLAIM_FORGOTTEN_S = 10.0
CLAIMANTS_MAX = 64
SEND_ERROR_WEIGHT = 240
"""FreeBSD's net.inet.carp.senderr_demotion_factor."""
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
    peers: PeerBook = field(default_factory=PeerBook)
    alarms: AlarmBook = field(default_factory=AlarmBook)
    reasons: dict[str, int] = field(default_factory=dict)
    """Demotion asked for by other services."""
    published: dict[str, int] = field(default_factory=dict)
    """Our own demotion reasons as the bus knows them."""
    since: dict[str, float] = field(default_factory=dict)
    """Wall clock since when a reason stands."""
    settled: trio.Event = field(default_factory=trio.Event)
    """Replaced and set whenever a role moved or a peer's advert came in; for those who wait for a handover."""
    answered: dict[str, float] = field(default_factory=dict)
    """When a probed address last answered ARP or ND."""
    enabled: bool = True
    maintenance: bool = False
    hello_due: bool = True
    """Something a peer should know at once has changed."""
    _hello_key: hello.HelloKey = field(init=False)
    assembler: hello.Assembler = field(init=False)
    _hello_sequence: int = 0
    guard: Guard | None = None
    known_sources: frozenset[str] = frozenset()
    """Addresses of peers known from hellos."""
    peer_facts: dict[str, PeerChanged] = field(default_factory=dict)
    claims: dict[str, tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._set_hello_key()

    def _set_hello_key(self) -> None:
        self._hello_key = hello.HelloKey(self.settings.password)
        self.assembler = hello.Assembler(self._hello_key)

    # --- building ------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Make ports and hosts from the settings; the devices are found later."""
        for settings in self.settings.ports:
            self.ports[settings.interface] = Port(settings)
        self.sync = self.sync_port(self.settings.sync)
        for vip in self.settings.vips:
            self._add_host(vip.key)

    def sync_port(self, settings: PortSettings | None) -> Port | None:
        """The sync port: the CARP port of the same interface, or one of its own."""
        if settings is None:
            return None
        return self.ports.get(settings.interface) or Port(settings)

    def _add_host(self, key: VhidKey) -> None:
        vip = self.settings.vip(key)
        assert vip is not None
        taken = {host.slot for host in self.hosts.values()}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        self.hosts[key] = VirtualHost(vip, slot, self.ledger)

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
        for key in list(self.hosts) if keys is None else keys:
            host = self.hosts[key]
            if host.settings.interface == port.name:
                self.vmacs[key] = VirtualMac.create(
                    self.kernel,
                    parent=port.settings.device,
                    parent_index=port.index,
                    vhid=host.settings.vhid,
                    label=f"carp {port.name}@{host.settings.vhid}",
                )

    def detach_hosts(self, port: Port) -> None:
        """The parent is gone and its macvlans with it."""
        for key in [key for key in self.vmacs if key[0] == port.name]:
            self.vmacs.pop(key).release()
            self.ledger.record(self.hosts[key].slot, master=False)

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
        vmac.open(self.kernel, self.hosts[key].settings.all_addresses)
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
        self.hello_due = True
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
                self._send_health(host)
        if (effect.copy_to_sync or effect.only_sync) and self.sync is not None and self.sync is not port:
            family = next((each for each in (4, 6) if each in self.sync.own), 4)
            self.sync.send_advert(self._payload(host, self.sync.source(family), effect), family, host.settings.mac)

    def _send_on(self, port: Port, host: VirtualHost, effect: SendAdvert) -> bool:
        peers = [peer for peer in host.settings.peers if peer.version == effect.family]
        if host.settings.peers:
            sent = [port.send_unicast(self._payload(host, port.unicast_source(peer), effect), peer) for peer in peers]
            return all(sent)  # and not a generator: every peer is sent to, whatever became of the one before
        payload = self._payload(host, port.source(effect.family), effect)
        return port.send_advert(payload, effect.family, host.settings.mac)

    def _payload(self, host: VirtualHost, source: str, effect: SendAdvert) -> bytes:
        key = host.key
        if host.is_changing:
            key = host.sending_key(self.peers.fingerprints(host.vhid_key))
        return host.payload(
            key,
            source=source,
            advbase=effect.advbase,
            advskew=effect.advskew,
            demote=effect.demote,
            unix_time=time.time(),
        )

    def _send_health(self, host: VirtualHost) -> None:
        """Sending began to fail or works again; the demotion follows (the caller's loop applies it)."""
        interface = host.settings.interface
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
        host.stamper.heard(sequence)
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

    # --- telling -------------------------------------------------------------------------------------------

    def raise_alarm(self, trouble: Trouble, now: float, **words: object) -> None:
        """Note trouble on the wire and tell everybody when it is new."""
        alarm = self.alarms.saw(trouble, now, **words)  # type: ignore[arg-type]
        if alarm is not None:
            self.ctx.log.warning("carp_alarm", what=alarm.what)
            self.ctx.publish(alarm)

    def publish_alarms(self, alarms: Iterable[Alarm]) -> None:
        """Tell everybody about alarms that are over."""
        for alarm in alarms:
            self.ctx.publish(alarm)

    def publish_demotion(self) -> None:
        """Bring the bus in line with the machine's own reasons (links, maintenance, sending)."""
        own = {name: weight for name, weight in self.machine.reasons.items() if is_own_reason(name)}
        for name in self.published.keys() - own.keys():
            self.ctx.publish(Demotion(reason=name, weight=0))
        for name, weight in own.items():
            if self.published.get(name) != weight:
                self.ctx.publish(Demotion(reason=name, weight=weight))
        if own != self.published:
            self.hello_due = True
        self.published = own
        wall = time.time()
        self.since = {name: self.since.get(name, wall) for name in self.machine.reasons}

    def hellos(self) -> list[bytes]:
        """The next hello of this node."""
        self._hello_sequence += 1
        statuses = tuple(
            hello.VhidStatus(
                report.key,
                report.state,
                self.hosts[report.key].settings.advskew,
                self.hosts[report.key].settings.families,
                self.hosts[report.key].settings.fingerprint,
            )
            for report in self.machine.reports()
        )
        return hello.encode(
            hello.Hello(
                node=self.settings.node,
                incarnation=self.incarnation,
                sequence=self._hello_sequence,
                demotion=self.machine.demotion,
                enabled=self.enabled,
                maintenance=self.maintenance,
                fast=self.settings.profile == "fast",
                preempt=self.settings.preempt,
                vhids=statuses,
                sources={port.name: tuple(sorted(port.every_own)) for port in self.all_ports()},
            ),
            self._hello_key,
        )

    def send_hellos(self) -> None:
        """Send it on the sync interface and, unless configured otherwise, on the CARP interfaces."""
        self.hello_due = False
        parts = self.hellos()
        for port in self.all_ports():
            if port.up and (port is self.sync or self.settings.hello == "all"):
                family = next((each for each in (4, 6) if each in port.own), 4)
                if port.source(family) == UNSPECIFIED[family] and port is not self.sync:
                    continue
                for part in parts:
                    port.send_advert(part, family, port.mac)

    def peers_changed(self, now: float) -> None:
        """A peer said something new, or fell silent: the election, the bus and the witnesses hear of it."""
        self.perform(self.machine.set_peers(self.peers.views(), now))
        self.known_sources = frozenset(source for view in self.peers.views() for source in view.sources)
        for fact in self.peers.facts(self.machine.demotion):
            if self.peer_facts.get(fact.peer) != fact:
                self.peer_facts[fact.peer] = fact
                self.ctx.publish(fact)
                if fact.alive:
                    self.publish_alarms(self.alarms.clear(Trouble.PEER_LOST, fact.peer))
        self.wake_waiters()

    def claimed_by_stranger(self, host: VirtualHost, address: str, mac: str, now: float) -> None:
        """Somebody announces one of our addresses with another MAC: a duplicate, or a parting ucarp.

        A MASTER announces the right MAC again, at most `REANNOUNCE_MAX` times in a row per claimant, so that
        two stubborn machines do not shout at each other for ever; the alarm stays.
        """
        vmac = self.vmacs.get(host.vhid_key)
        if vmac is None or not vmac.is_open:
            return
        self.raise_alarm(
            Trouble.DUPLICATE,
            now,
            interface=host.settings.interface,
            vhid=host.settings.vhid,
            source=mac,
            detail=address,
        )
        count, at = self.claims.get(mac, (0, 0.0))
        count = count + 1 if now - at < CLAIM_FORGOTTEN_S else 1
        if mac in self.claims or len(self.claims) < CLAIMANTS_MAX:
            self.claims[mac] = (count, now)
        if count <= REANNOUNCE_MAX:
            self.announce(host.vhid_key, host.settings.all_addresses)

    # --- changing ------------------------------------------------------------------------------------------

    def reconfigure(self, settings: CarpSettings, now: float) -> None:
        """Take new settings as a difference; hosts that did not change are not touched."""
        old, self.settings = self.settings, settings
        if old.password != settings.password:
            self._set_hello_key()
        wanted = {vip.key for vip in settings.vips}
        for key in [key for key in self.hosts if key in wanted]:
            self._change_host(key, now)
        gone = self.hosts.keys() - wanted
        new = wanted - self.hosts.keys()
        for key in new:
            self._add_host(key)
        for port in self.ports.values():
            if port.index:
                self.attach_hosts(port, [key for key in new if key[0] == port.name])
        self.perform(self.machine.reconfigure(self.group(without=gone), now))
        for key in gone:
            if (vmac := self.vmacs.pop(key, None)) is not None:
                vmac.remove(self.kernel)
            del self.hosts[key]

    def _change_host(self, key: VhidKey, now: float) -> None:
        host, vip = self.hosts[key], self.settings.vip(key)
        assert vip is not None
        if host.settings == vip:
            return
        host.change(vip, now, bridged=bool(self.peers.fingerprints(key)))
        vmac = self.vmacs.get(key)
        if vmac is not None and vmac.is_open:
            self.announce(key, vmac.change(self.kernel, vip.all_addresses))


def is_own_reason(name: str) -> bool:
    """Whether a demotion reason is this plugin's own; all others come from other services."""
    return name.startswith(("link:", "send:")) or name in ("maintenance", "switchover")
