"""Things on the wire that an operator must know of: each with its cause and its remedy.

Pure: the service says what it saw, this says which alarms to raise and which have run out. An alarm ends
when its cause has not been seen for `EXPIRE_S`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.events import Alarm, Health

EXPIRE_S = 10.0
"""Ten heartbeats of silence: whatever it was has stopped."""
ALARMS_MAX = 256
"""A flood of forged sources must not fill the memory; beyond this new alarms are only counted."""


class Trouble(StrEnum):
    """What was seen."""

    BAD_AUTH = "bad-auth"
    ADDRESSES_DIFFER = "addresses-differ"
    PASSWORD_DIFFERS = "password-differs"
    FOREIGN = "foreign"
    REPLAY = "replay"
    LOOP = "loop"
    BAD_TTL = "bad-ttl"
    DUPLICATE = "duplicate"
    PEER_LOST = "peer-lost"
    STAGED = "staged"


TEXTS: dict[Trouble, tuple[Health, str, str]] = {
    Trouble.BAD_AUTH: (
        Health.FAIL,
        "adverts of VHID {vhid} on {interface} from {source} fail authentication; both nodes may be MASTER",
        "Compare the password and the complete address list of VHID {vhid} on both nodes.",
    ),
    Trouble.ADDRESSES_DIFFER: (
        Health.FAIL,
        "VHID {vhid} on {interface} has other addresses on {source} than here; both nodes are MASTER",
        "Give VHID {vhid} the same addresses and aliases on both nodes.",
    ),
    Trouble.PASSWORD_DIFFERS: (
        Health.FAIL,
        "VHID {vhid} on {interface} has another password on {source} than here; both nodes are MASTER",
        "Set the same password for VHID {vhid} on both nodes.",
    ),
    Trouble.FOREIGN: (
        Health.FAIL,
        "{detail} at {source} uses VHID {vhid} on {interface}, and with it our virtual MAC",
        "Give one of the two another VHID: both answer with 00:00:5e:00:01:{vhid:02x}.",
    ),
    Trouble.REPLAY: (
        Health.WARN,
        "old adverts of VHID {vhid} on {interface} are being replayed as {source}; they are ignored",
        "Look for the sender with 'appliance capture' on {interface}; somebody on that network records and resends.",
    ),
    Trouble.LOOP: (
        Health.WARN,
        "our own adverts of VHID {vhid} come back on {interface}",
        "The network loops or mirrors frames: check spanning tree and port mirroring of the switch.",
    ),
    Trouble.BAD_TTL: (
        Health.WARN,
        "adverts of VHID {vhid} on {interface} from {source} have crossed a router (TTL below 255); they are ignored",
        "CARP peers share a network; for peers across a router set 'peers' of the VIP on both nodes.",
    ),
    Trouble.DUPLICATE: (
        Health.FAIL,
        "{detail} is claimed on {interface} by {source}, which is not a node of this cluster",
        "Find that machine and give it another address; this node keeps announcing the right one.",
    ),
    Trouble.PEER_LOST: (
        Health.WARN,
        "the other node ({source}) is not heard any more",
        "Look whether it runs and whether its cables are in; until it is back nothing can take over from this node.",
    ),
    Trouble.STAGED: (
        Health.WARN,
        "a change of the virtual hosts is staged and waits for {source}, which {detail}",
        "Bring {source} back or synchronize it ('appliance sync now'); 'appliance ha commit --force' does not wait.",
    ),
}


REFUSALS = (
    Trouble.BAD_AUTH,
    Trouble.ADDRESSES_DIFFER,
    Trouble.PASSWORD_DIFFERS,
    Trouble.REPLAY,
    Trouble.BAD_TTL,
)
"""Adverts that arrive and are not believed."""


@dataclass(slots=True)
class _Entry:
    alarm: Alarm
    last_seen: float


class AlarmBook:
    """Which alarms are standing."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def saw(
        self, trouble: Trouble, now: float, *, interface: str = "", vhid: int = 0, source: str = "", detail: str = ""
    ) -> Alarm | None:
        """Note one sighting; the alarm to publish when it is new, else ``None``."""
        key = "/".join(filter(None, ("carp", interface, str(vhid or ""), str(trouble), source)))
        entry = self._entries.get(key)
        if entry is not None:
            entry.last_seen = now
            return None
        if len(self._entries) >= ALARMS_MAX:
            return None
        health, what, fix = TEXTS[trouble]
        words = {"interface": interface, "vhid": vhid, "source": source, "detail": detail}
        alarm = Alarm(key=key, health=health, what=what.format(**words), fix=fix.format(**words))
        self._entries[key] = _Entry(alarm, now)
        return alarm

    def expire(self, now: float) -> list[Alarm]:
        """The alarms to withdraw because their cause has stopped."""
        old = [key for key, entry in self._entries.items() if now - entry.last_seen > EXPIRE_S]
        return [self._clear(key) for key in old]

    def clear(self, trouble: Trouble, source: str) -> list[Alarm]:
        """Withdraw every alarm of this kind about this source at once."""
        tail = f"/{trouble}/{source}"
        return [self._clear(key) for key in list(self._entries) if key.endswith(tail)]

    def _clear(self, key: str) -> Alarm:
        gone = self._entries.pop(key).alarm
        return Alarm(key=gone.key, active=False, health=Health.OK, what=gone.what, fix=gone.fix)

    def is_about(self, interface: str, vhid: int, source: str) -> bool:
        """Whether adverts of a node for a VHID are being refused, with an alarm that says why."""
        return any(f"carp/{interface}/{vhid}/{trouble}/{source}" in self._entries for trouble in REFUSALS)

    @property
    def standing(self) -> bool:
        """Whether any alarm stands."""
        return bool(self._entries)
