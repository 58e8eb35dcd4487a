"""A machine on a bench: what is done to it, and the effects as lines of text."""

from __future__ import annotations

from typing import Any

from appliance_carp.machine import (
    Activate,
    Announce,
    Changed,
    Count,
    Deactivate,
    Effect,
    GroupSettings,
    Heard,
    Machine,
    Note,
    PeerView,
    SendAdvert,
    VhidKey,
    VhidSettings,
)

LAN, LAN2, WAN = ("lan", 1), ("lan", 2), ("wan", 3)
ME, PEER, THIRD = 2, 3, 4  # last byte of the addresses
BOTH = frozenset({4, 6})


def name(key: VhidKey) -> str:
    return f"{key[0]}/{key[1]}"


def render(effect: Effect) -> str:
    match effect:
        case SendAdvert(key, family, advbase, advskew, demote, copy, only, parting):
            where = " sync-only" if only else " +sync" if copy else " parting" if parting else ""
            return f"send {name(key)} v{family} {advbase}/{advskew}" + f" demote {demote}" * bool(demote) + where
        case Activate(key):
            return f"activate {name(key)}"
        case Deactivate(key):
            return f"deactivate {name(key)}"
        case Announce(key):
            return f"announce {name(key)}"
        case Changed(key, old, new, reason):
            return f"{name(key)} {old.name}>{new.name}: {reason}"
        case Count(key, counter):
            return f"count {name(key)} {counter}"
        case Note(event, _):
            return f"note {event}"


class Bench:
    """A machine, a clock, and effects as text."""

    def __init__(
        self,
        *keys: VhidKey,
        advskew: int = 0,
        families: frozenset[int] = frozenset({4}),
        fast: bool = False,
        **how: Any,
    ) -> None:
        self.how = how
        self.vhids = tuple(
            VhidSettings(key=key, advskew=advskew, families=families, fast=fast) for key in (keys or (LAN,))
        )
        self.now = 100.0
        self.machine = Machine(self.settings(), jitter=lambda: 0.0)
        for interface in sorted({key[0] for key in keys or (LAN,)}):
            self.machine.set_link(interface, True, self.now)

    def settings(self, **changes: Any) -> GroupSettings:
        return GroupSettings(vhids=self.vhids, **(self.how | changes))

    def started(self) -> Bench:
        self.machine.start(self.now)
        return self

    def master(self) -> Bench:
        """Started, and everything MASTER by time-out."""
        self.started().after(7)
        assert self.states() == {"MASTER"}
        return self

    def backup(self, sender: int = PEER, **advert: Any) -> Bench:
        """Started, and every VHID has heard a master (skew 50 when not told)."""
        self.started()
        for each in self.vhids:
            self.hear(each.key, sender, **advert)
        return self

    def states(self) -> set[str]:
        return {report.state.name for report in self.machine.reports()}

    def state(self, key: VhidKey) -> str:
        return self.machine.report(key).state.name

    def do(self, effects: list[Effect]) -> list[str]:
        return [render(effect) for effect in effects]

    def after(self, seconds: float) -> list[str]:
        """Let time pass with a punctual driver."""
        end = self.now + seconds
        said = []
        while (deadline := self.machine.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            said += self.do(self.machine.tick(self.now))
        self.now = end
        return said

    def hear(
        self,
        key: VhidKey = LAN,
        sender: int = PEER,
        *,
        skew: int = 50,
        base: int = 1,
        own_kind: bool = True,
        **how: Any,
    ) -> list[str]:
        heard = Heard(
            key=key,
            family=how.pop("family", 4),
            source=source(key[0], sender),
            advbase=base,
            advskew=skew,
            own_kind=own_kind,
            own_source=source(key[0], ME),
            **how,
        )
        return self.do(self.machine.receive(heard, self.now))

    def peers(self, *views: PeerView) -> list[str]:
        return self.do(self.machine.set_peers(views, self.now))

    def link(self, interface: str, up: bool) -> list[str]:
        return self.do(self.machine.set_link(interface, up, self.now))

    def reasons(self, **reasons: int) -> list[str]:
        return self.do(self.machine.set_reasons(reasons, self.now))


def source(interface: str, number: int) -> str:
    return {"lan": "10.1.0.", "wan": "10.2.0.", "sync": "10.9.0."}[interface] + str(number)


def peer(
    number: int = PEER, *, serves: tuple[VhidKey, ...] = (LAN, LAN2, WAN), alive: bool = True, **how: Any
) -> PeerView:
    return PeerView(
        name=f"fw{number}",
        alive=alive,
        serves=frozenset(serves),
        sources=frozenset(source(interface, number) for interface in ("lan", "wan", "sync")),
        **how,
    )


def takeover(key: VhidKey, reason: str, advert: str = "1/0") -> list[str]:
    return [
        f"activate {name(key)}",
        f"send {name(key)} v4 {advert}",
        f"announce {name(key)}",
        f"{name(key)} BACKUP>MASTER: {reason}",
    ]
