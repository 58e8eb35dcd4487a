"""Staged changes of this node: what waits for whom, when everything is put in force, what survives a restart.

`transaction` decides about one virtual host. Here all that are staged go together, so that an address that moves from
one to another is never on both or on none. The editions in force are remembered in the state directory: a node that
is restarted with a configuration that its peers do not have yet goes on with the former one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance_carp.alarms import Trouble
from appliance_carp.hello import HelloKey
from appliance_carp.host import VirtualHost
from appliance_carp.settings import VipSettings
from appliance_carp.transaction import Stance
from appliance_carp.vocabulary import VhidKey

if TYPE_CHECKING:
    from appliance_carp.station import Station

FILE = "editions.json"
FORMAT = 1
MATES_MAX = 16
"""Nodes remembered by name; clusters have two or three."""
LISTEN_S = 5.0
"""After a start everybody gets the time for a hello before it counts as away."""
ALARM_S = 10.0
"""A change that waits longer than this is worth an alarm: synchronization takes a second."""


def successors(hosts: Mapping[VhidKey, VirtualHost], vips: Sequence[VipSettings]) -> dict[VhidKey, VipSettings]:
    """Which of the configured virtual hosts each present one is going to be; those without one are to go.

    The same interface and VHID, else the same interface and name, when that VHID is nobody's: then it is a change of
    the VHID. Two that exchange their VHIDs therefore exchange their contents.
    """
    by_key = {vip.key: vip for vip in vips}
    found = {key: by_key[key] for key in hosts if key in by_key}
    free = {(vip.interface, vip.name): vip for vip in vips if vip.key not in hosts}
    for key, host in hosts.items():
        if key not in found and (vip := free.get((key[0], host.settings.name))) is not None:
            found[key] = vip
    return found


class Staging:
    """What one station has staged."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._mates: dict[str, None] = {}
        """Every node that was heard and not given up."""
        self._began = 0.0
        self._since: float | None = None
        """Since when something waits."""
        self.former_keys: list[HelloKey] = []
        """Under which hellos were spoken before the start."""
        self.waiting: dict[str, str] = {}
        """Who is waited for at present, and why."""

    # --- what can be asked ---------------------------------------------------------------------------------

    @property
    def mates(self) -> list[str]:
        """Every node that was heard and not given up, perhaps before the start."""
        return list(dict.fromkeys([*self._mates, *self._station.herald.peers.names()]))

    @property
    def staged(self) -> list[VirtualHost]:
        """The virtual hosts that are to change."""
        return [host for host in self._station.hosts.values() if host.transaction.is_open]

    def stances(self, host: VirtualHost) -> list[Stance]:
        """What the other nodes say of a virtual host, those included that were not heard since the start."""
        heard = self._station.herald.peers.names()
        unheard = [Stance(name, alive=False, active=None) for name in self._mates if name not in heard]
        return [*self._station.stances(host), *unheard]

    def waits_for(self, host: VirtualHost, now: float) -> list[Stance]:
        """The nodes that have not staged what is staged for a virtual host."""
        absent_too = self._station.settings.on_absent_peer == "wait" or now < self._began + LISTEN_S
        return host.transaction.waits_for(self.stances(host), absent_too=absent_too)

    def _obstacles(self, now: float) -> dict[str, str]:
        found: dict[str, str] = {}
        for host in self.staged:
            for stance in self.waits_for(host, now):
                found.setdefault(stance.name, "has not got it yet" if stance.alive else "is away")
        return found

    # --- what happens --------------------------------------------------------------------------------------

    def changed(self, now: float) -> None:
        """The configuration is another one."""
        self._store()
        self.consider(now)

    def consider(self, now: float, *, force: bool = False) -> bool:
        """Put in force what everybody has staged, forget what nobody uses; whether anything was put in force.

        Args:
            now: Monotonic.
            force: Nobody is waited for this time; nodes that were not heard since the start are forgotten.
        """
        self._meet()
        self._drop(now)
        station, staged = self._station, self.staged
        waiting = self._obstacles(now)
        if staged and (force or not waiting):
            station.switch(staged, now)
            vips = " ".join(host.settings.name for host in staged)
            station.ctx.log.info("carp_changed", vips=vips, without=" ".join(waiting))
            self._mates = dict.fromkeys(station.herald.peers.names())
            self._store()
            waiting = {}
        if waiting != self.waiting:
            for name in self.waiting.keys() - waiting.keys():
                station.herald.publish_alarms(station.herald.alarms.clear(Trouble.STAGED, name))
            self.waiting, station.herald.status_due = waiting, True
            self._since = (self._since or now) if waiting else None
        return bool(staged) and not waiting

    def beat(self, now: float) -> None:
        """To be called every second or so."""
        if any(host.is_changing for host in self._station.hosts.values()):
            self.consider(now)
        if self._station.herald.forget_keys():
            self._store()
        if self._since is not None and now - self._since > ALARM_S:
            for name, why in self.waiting.items():
                self._station.herald.raise_alarm(Trouble.STAGED, now, source=name, detail=why)

    def _drop(self, now: float) -> None:
        station = self._station
        dropped = [
            host.settings.name
            for host in station.hosts.values()
            if host.is_changing and host.drop(self.stances(host), now)
        ]
        if dropped:
            station.listen()
            station.herald.roles_changed()
            station.ctx.log.info("carp_change_settled", vips=" ".join(dropped))
            self._store()

    def _meet(self) -> None:
        """Remember whoever is heard."""
        new = [name for name in self._station.herald.peers.names() if name not in self._mates]
        if new:
            self._mates = dict.fromkeys([*self._mates, *new][:MATES_MAX])
            self._store()

    # --- over a restart ------------------------------------------------------------------------------------

    def begin(self, vips: Iterable[VipSettings], now: float) -> list[tuple[VipSettings, list[VipSettings]]]:
        """The virtual hosts with the editions that they had when this node was last heard, that in force first."""
        self._began = now
        stored = _load(self._station.ctx.state_dir)
        # Nobody was ever there: what is configured is what is in force.
        self._mates = dict.fromkeys(stored.get("mates", [])[:MATES_MAX])
        self.former_keys = [HelloKey.restored(text) for text in stored.get("keys", ()) if self._mates]
        rows = {(row["interface"], row["name"]): row["editions"] for row in stored.get("vips", ()) if self._mates}
        found = []
        taken = {vip.key for vip in vips}
        for vip in vips:
            former = [_vip(vip, row) for row in rows.get((vip.interface, vip.name), ())] or [vip]
            if former[0].key != vip.key and former[0].key in taken:
                former = [vip]  # its VHID is another one's by now
            taken.add(former[0].key)
            found.append((vip, former))
        return found

    def _store(self) -> None:
        station = self._station
        rows = [
            {
                "interface": host.settings.interface,
                "name": host.settings.name,
                "editions": [_row(voice.settings) for voice in host.voices.values()],
            }
            for host in station.hosts.values()
        ]
        path = station.ctx.state_dir / FILE
        new = path.with_suffix(".new")
        # A full disk is no reason to be without heartbeat: after a restart the configuration is in force at once, then.
        with contextlib.suppress(OSError):
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                keys = [key.text for key in station.herald.keys.spoken]
                json.dump({"format": FORMAT, "mates": list(self._mates), "keys": keys, "vips": rows}, file)
            new.rename(path)


def _row(vip: VipSettings) -> dict[str, Any]:
    return {
        "vhid": vip.vhid,
        "password": vip.password,
        "addresses": [str(each) for each in vip.addresses],
        "aliases": [str(each) for each in vip.aliases],
    }


def _vip(vip: VipSettings, row: Mapping[str, Any]) -> VipSettings:
    return replace(
        vip,
        vhid=row["vhid"],
        password=row["password"],
        addresses=tuple(map(ip_interface, row["addresses"])),
        aliases=tuple(map(ip_interface, row["aliases"])),
    )


def remembered_passwords(state_dir: Path) -> dict[tuple[str, str], str]:
    """Passwords in force when this node last ran, by interface and name of the virtual host."""
    return {(row["interface"], row["name"]): row["editions"][0]["password"] for row in _load(state_dir).get("vips", ())}


def _load(state_dir: Path) -> dict[str, Any]:
    """What was stored by this version; nothing when it cannot be read."""
    try:
        stored = json.loads((state_dir / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and stored.get("format") == FORMAT else {}
