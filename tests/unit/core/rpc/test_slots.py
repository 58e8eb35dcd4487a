"""Who gets a place and who loses it."""

from __future__ import annotations

from appliance.rpc.limits import Limits
from appliance.rpc.slots import Slot, Slots

PEER, OTHER, EVIL = "192.0.2.2", "192.0.2.3", "192.0.2.66"
LIMITS = Limits(strangers_max=4, strangers_reserved=2, per_peer_max=2)


class Places:
    """Slots with a memory of who was closed."""

    def __init__(self, *known: str) -> None:
        self.slots = Slots(LIMITS, frozenset(known))
        self.closed: list[str] = []

    def admit(self, source: str, name: str = "") -> Slot | None:
        return self.slots.admit(source, lambda: self.closed.append(name or source))

    def must_admit(self, source: str, name: str = "") -> Slot:
        made = self.admit(source, name)
        assert made is not None
        return made


def test_a_place_is_free_again_after_its_release() -> None:
    places = Places()
    for _ in range(10):
        places.slots.release(places.must_admit(EVIL))
    assert len(places.slots) == 0
    assert places.closed == []


def test_a_release_counts_once() -> None:
    places = Places()
    slot = places.must_admit(EVIL)
    places.slots.release(slot)
    places.slots.release(slot)
    assert len(places.slots) == 0


def test_in_a_flood_the_newest_replaces_the_oldest() -> None:
    places = Places()
    for number in range(60):
        places.must_admit(EVIL, str(number))
    assert len(places.slots) == 4
    assert places.closed == [str(number) for number in range(56)]


def test_whoever_holds_most_pays_for_it() -> None:
    places = Places()
    places.must_admit(OTHER)
    for number in range(10):
        places.must_admit(EVIL, str(number))
    assert OTHER not in places.closed


def test_known_addresses_have_places_of_their_own() -> None:
    places = Places(PEER)
    for number in range(10):
        places.must_admit(EVIL, str(number))
    assert len(places.slots) == 2
    places.closed.clear()
    places.must_admit(PEER)
    places.must_admit(PEER)
    assert places.closed == []


def test_a_stranger_never_replaces_a_known_peer() -> None:
    places = Places(PEER)
    for _ in range(4):
        places.must_admit(PEER, "peer")
    assert places.admit(EVIL) is None
    assert places.closed == []


def test_a_known_peer_replaces_strangers_and_at_last_its_own_oldest() -> None:
    places = Places(PEER)
    places.must_admit(EVIL, "evil")
    for number in range(5):
        places.must_admit(PEER, str(number))
    assert places.closed == ["evil", "0"]


def test_whoever_shows_a_pinned_certificate_makes_room_for_others() -> None:
    places = Places()
    for name in ("a", "b", "c"):
        assert places.slots.identify(places.must_admit(PEER), name)
    for number in range(4):
        places.must_admit(EVIL, str(number))
    assert len(places.slots) == 7
    assert places.closed == []


def test_nobody_is_replaced_in_the_middle_of_a_call() -> None:
    places = Places()
    for _ in range(4):
        places.must_admit(EVIL).busy = True
    assert places.admit(OTHER) is None


def test_a_peer_replaces_its_own_forgotten_connections() -> None:
    places = Places()
    for number in range(3):
        assert places.slots.identify(places.must_admit(PEER, str(number)), "a")
    assert places.closed == ["0"]


def test_a_peer_that_uses_all_its_connections_gets_no_more() -> None:
    places = Places()
    for _ in range(2):
        slot = places.must_admit(PEER)
        assert places.slots.identify(slot, "a")
        slot.busy = True
    assert not places.slots.identify(places.must_admit(PEER), "a")
    assert places.slots.identify(places.must_admit(PEER), "b")
