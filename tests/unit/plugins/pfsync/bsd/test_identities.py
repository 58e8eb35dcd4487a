"""Names of states, and which two belong together."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from appliance_pfsync.bsd import convert
from appliance_pfsync.bsd.identities import Identities, Pair
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.state import State
from tests.unit.plugins.pfsync.bsd.flows import dnat, snat


def indexes(database: Identities) -> tuple[Any, Any, Any, Any]:
    return database._by_id, database._by_wire, database._by_flow, database._halves


def identities(limit: int = 1000) -> Identities:
    return Identities(random.Random(3).randbytes, limit)


def states(record: Record, first: int = 1, creator: int = 9) -> tuple[State, State]:
    keys = convert.keys_of(record)
    assert keys is not None
    return convert.make_states(record, keys, ((first, creator), (first + 1, creator)), 0.0)


def adopt(database: Identities, state: State) -> Pair:
    known, replaced = database.adopt(state, 1.0)
    assert replaced is None
    return known.pair


def test_a_creator_is_never_zero_and_names_never_repeat() -> None:
    zeros = Identities(bytes)
    assert zeros.creator == 1
    names = [name for _ in range(50) for name in zeros.next_names()]
    assert len(set(names)) == 100
    assert all(creator == 1 and number > 1 << 32 for number, creator in names)


def test_two_halves_find_each_other_in_any_order() -> None:
    for first, second in ((0, 1), (1, 0)):
        database = identities()
        both, others = states(snat()), states(dnat(), 5)
        pair = adopt(database, both[first])
        assert adopt(database, others[first]) is not pair
        assert adopt(database, both[second]) is pair
        assert pair.to_record(0.0) == snat()


def test_a_pair_ends_with_its_last_state() -> None:
    database = identities()
    pair = adopt(database, states(snat())[0])
    adopt(database, states(snat())[1])
    database.bind(pair, snat())
    one, two = pair.states
    assert not database.retire(one)
    assert pair.to_record(0.0) == snat(), "what it said still counts"
    assert database.retire(two)
    assert (len(database), database.find_flow(snat().key)) == (0, None)
    assert pair.record == snat()


def test_a_second_name_for_one_flow_replaces_the_first() -> None:
    database = identities()
    pair = adopt(database, states(snat())[0])
    adopt(database, states(snat())[1])
    again = states(snat(), first=50, creator=3)
    assert adopt(database, again[0]) is pair
    assert adopt(database, again[1]) is pair
    assert database.find((1, 9)) is None
    assert database.find((50, 3)) is pair.inward
    assert len(database) == 2


def test_another_translation_of_the_same_flow_replaces_all_of_it() -> None:
    database = identities()
    pair = adopt(database, states(dnat())[0])
    elsewhere = replace(states(dnat(), 50)[0], stack=states(snat())[0].stack)
    known, replaced = database.adopt(elsewhere, 2.0)
    assert replaced is pair
    assert known.pair is not pair
    assert len(database) == 1


def test_flows_of_this_node_are_found_by_name_and_by_key() -> None:
    database = identities()
    made = states(snat(), 1, database.creator)
    assert database.in_the_way(made) == []
    pair = database.create(snat(), made)
    assert database.find_flow(snat().key) is pair
    assert database.pairs() == [pair]
    assert [known.state.identity for known in database.states()] == [(1, database.creator), (2, database.creator)]
    assert database.in_the_way(states(snat(outer_port=6000), 7)) == [pair]


def test_the_oldest_goes_when_there_are_too_many() -> None:
    database = identities(limit=10)
    for number in range(20):
        record = snat(client_port=number, outer_port=number)
        database.create(record, states(record, 2 * number))
    assert len(database) == 10
    assert database.find_flow(snat(client_port=0, outer_port=0).key) is None
    assert database.find_flow(snat(client_port=19, outer_port=19).key) is not None
    for index in (database._by_wire, database._by_flow, database._halves):
        assert len(index) <= 10
    database.clear()
    assert len(database) == 0


def test_nothing_is_left_behind() -> None:
    database = identities()
    for number in range(20):
        adopt(database, states(snat(client_port=number), 2 * number)[0])
    for known in database.states():
        database.retire(known)
    assert [len(index) for index in (database._by_id, database._by_wire, database._by_flow, database._halves)] == [
        0
    ] * 4
