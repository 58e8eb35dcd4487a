"""The other nodes, as the election asks about them: who could take over, whose address is this."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from appliance_carp.election import demote_byte
from appliance_carp.vocabulary import PeerView, VhidKey

PEERS_MAX = 16
"""More nodes than any cluster has."""


class Cluster:
    """The latest views of all peers."""

    def __init__(self) -> None:
        self._views: tuple[PeerView, ...] = ()
        self._owners: dict[str, str] = {}

    def replace(self, views: Sequence[PeerView]) -> None:
        """Take the present views."""
        self._views = tuple(views[:PEERS_MAX])
        self._owners = {source: view.name for view in self._views for source in view.sources}

    @property
    def views(self) -> tuple[PeerView, ...]:
        """All peers, dead ones included."""
        return self._views

    def name_of(self, source: str) -> str:
        """Return the node that owns a source address, "" when no hello has told."""
        return self._owners.get(source, "")

    def healthier(self, demotion: int, *, besides: str = "") -> list[PeerView]:
        """Return the peers that could take over and are less demoted than we are."""
        ours = demote_byte(demotion)
        return [view for view in self._able(besides) if demote_byte(view.demotion) < ours]

    def outranks(self, key: VhidKey, demotion: int, *, besides: str = "") -> bool:
        """Whether somebody else is the better heir of this VHID."""
        return any(key in view.serves for view in self.healthier(demotion, besides=besides))

    def has_elder(self, key: VhidKey, advskew: int, demotion: int, *, besides: str = "") -> bool:
        """Whether somebody as healthy as we are goes before us in this VHID by its skew."""
        ours = demote_byte(demotion)
        return any(
            key in view.serves and demote_byte(view.demotion) == ours and view.skews.get(key, advskew) < advskew
            for view in self._able(besides)
        )

    def all_fast(self) -> bool:
        """Whether there is a living peer, and every living one speaks sub-second adverts."""
        living = [view.fast for view in self._views if view.alive]
        return bool(living) and all(living)

    def best(self, keys: Iterable[VhidKey], demotion: int) -> PeerView | None:
        """Return the peer that can take all of `keys` and is not more demoted than we are."""
        wanted = frozenset(keys)
        ours = demote_byte(demotion)
        able = [view for view in self._able("") if wanted <= view.serves and demote_byte(view.demotion) <= ours]
        return min(able, key=lambda view: (view.demotion, view.name), default=None)

    def _able(self, besides: str) -> list[PeerView]:
        return [
            view
            for view in self._views
            if view.alive and view.enabled and not view.maintenance and view.name != (besides or None)
        ]
