"""Rotation: whatever is lost, late, repeated or killed, any two nodes share a secret, and repeating it finishes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.identity.keyring import (
    CREATED_MAX,
    Keyring,
    PairingSecret,
    decode_keyring,
    encode_keyring,
    keyring_of,
)
from appliance.identity.rotation import (
    REASON_MAX,
    SETTLE_S,
    Answer,
    Ask,
    Done,
    Failed,
    Request,
    Rotation,
    Wait,
    answer,
    parse_answer,
    parse_request,
    second_proposal,
)

WALL = 1_790_000_000


def secret(number: int, created: int | None = None) -> PairingSecret:
    return PairingSecret(created=number if created is None else created, secret=bytes([number]) * 32)


def ring(*numbers: int, sending: int | None = None) -> Keyring:
    return keyring_of(map(secret, numbers), sending=secret(numbers[0] if sending is None else sending).id)


class Cluster:
    """Nodes with their keyrings; all are paired with all."""

    def __init__(self, *names: str, keyring: Keyring | None = None) -> None:
        self.rings: dict[str, Keyring | None] = dict.fromkeys(names, keyring or ring(1))
        self.peers = {name: sorted(set(names) - {name}) for name in names}
        self._seeds = count()

    def ask(self, node: str, request: Request) -> Answer:
        """A call as it is made: over the wire, stored before it is answered."""
        carried = parse_request(json.loads(json.dumps(request.wire())))
        self.rings[node], made = answer(self.rings[node], carried, own=node, peers=self.peers[node])
        self.check()
        return parse_answer(json.loads(json.dumps(made.wire())))

    def check(self) -> None:
        """What holds at any moment."""
        rings = [keyring for keyring in self.rings.values() if keyring is not None]
        for keyring in rings:
            assert all(other.find(keyring.sending) for other in rings), "somebody cannot read what is sent"

    def lead(self, node: str, settle: float = SETTLE_S) -> Rotation:
        seed = next(self._seeds)
        return Rotation(node, self.peers[node], wall=WALL, settle=settle, random=Random(seed).randbytes)

    def rotate(self, node: str) -> Done | Failed:
        """A rotation without trouble."""
        leader, now = self.lead(node), 0.0
        while True:
            match leader.poll(now):
                case Ask(requests=requests):
                    assert requests
                    for name, request in requests.items():
                        leader.answered(name, self.ask(name, request))
                case Wait(until=until):
                    assert until > now
                    now = until
                case Done() | Failed() as end:
                    assert leader.poll(now) == end
                    return end

    def held(self) -> set[tuple[str, ...]]:
        return {tuple(held.id for held in keyring.secrets) for keyring in self.rings.values() if keyring}


def failed(end: Done | Failed) -> str:
    assert isinstance(end, Failed)
    assert end.hint
    prefix = "the pairing secret is not rotated: "
    assert end.message.startswith(prefix)
    return end.message.removeprefix(prefix)


def steps_of(cluster: Cluster, leader: Rotation) -> Iterator[tuple[str, str]]:
    """Each call of a rotation, as it is made."""
    now = 0.0
    while True:
        action = leader.poll(now)
        if isinstance(action, Wait):
            now = action.until
            yield "", f"wait {now:g}"
        elif isinstance(action, Ask):
            for name, request in action.requests.items():
                yield name, request.step
                leader.answered(name, cluster.ask(name, request))
        else:
            return


@pytest.mark.parametrize("names", [("fw1",), ("fw1", "fw2"), ("fw1", "fw2", "fw3"), tuple("abcdefgh")])
def test_all_nodes_have_the_new_secret_and_it_alone(names: tuple[str, ...]) -> None:
    cluster = Cluster(*names)
    end = cluster.rotate(names[-1])
    assert isinstance(end, Done)
    assert cluster.held() == {(end.id,)}
    assert end.id != secret(1).id
    assert all(keyring and keyring.newest.created == WALL for keyring in cluster.rings.values())


def test_the_leader_holds_the_new_secret_before_anybody_hears_of_it_and_old_ones_go_last() -> None:
    cluster = Cluster("fw1", "fw2")
    assert list(steps_of(cluster, cluster.lead("fw1"))) == [
        ("fw1", "survey"),
        ("fw2", "survey"),
        ("fw1", "propose"),
        ("fw2", "propose"),
        ("fw1", "switch"),
        ("fw2", "switch"),
        ("", f"wait {SETTLE_S:g}"),
        ("fw1", "forget"),
        ("fw2", "forget"),
    ]


def test_each_rotation_brings_a_newer_secret_even_if_the_clock_went_back() -> None:
    cluster = Cluster(
        "fw1", "fw2", keyring=keyring_of([far := PairingSecret(created=2**33, secret=bytes(32))], sending=far.id)
    )
    first, second = cluster.rotate("fw1"), cluster.rotate("fw2")
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    newest = cluster.rings["fw1"]
    assert newest is not None
    assert newest.newest.created == 2**33 + 2


@pytest.mark.parametrize("stop", range(16))
@pytest.mark.parametrize("next_leader", ["fw1", "fw2", "fw3"])
def test_a_rotation_that_stops_after_any_call_is_finished_by_any_node(stop: int, next_leader: str) -> None:
    cluster = Cluster("fw1", "fw2", "fw3")
    calls = steps_of(cluster, cluster.lead("fw1"))
    done = [next(calls, None) for _ in range(stop)]
    end = cluster.rotate(next_leader)
    assert isinstance(end, Done)
    assert cluster.held() == {(end.id,)}
    assert end.id != secret(1).id
    assert None not in done[:13]


def test_what_was_proposed_before_the_interruption_is_used() -> None:
    cluster = Cluster("fw1", "fw2")
    calls = steps_of(cluster, cluster.lead("fw1"))
    while next(calls) != ("fw2", "propose"):
        pass
    proposed = cluster.rings["fw1"]
    assert proposed is not None
    assert cluster.rings["fw2"] == ring(1)
    assert cluster.rotate("fw2") == Done(proposed.newest.id)


def test_no_node_can_use_up_the_room_for_newer_secrets() -> None:
    def propose(keyring: Keyring, created: int) -> tuple[Keyring | None, str]:
        request = Request(step="propose", members=("fw1", "fw2"), secret=secret(9, created=created))
        kept, said = answer(keyring, request, own="fw1", peers=["fw2"])
        return kept, said.refused

    kept, refused = propose(ring(1), CREATED_MAX + 1)
    assert (kept, refused) == (ring(1), "fw1 takes no secret that leaves no room for a newer one")
    last = keyring_of([secret(1, created=CREATED_MAX)], sending=secret(1).id)
    kept, refused = propose(last, CREATED_MAX + 1)
    assert not refused
    assert kept is not None
    assert decode_keyring(encode_keyring(kept)) == kept


def test_what_is_left_over_when_all_send_with_the_newest_is_removed_and_a_new_one_made() -> None:
    cluster = Cluster("fw1", "fw2", keyring=ring(1, 2, 3, 4, sending=4))
    cluster.rings["fw2"] = ring(4)
    end = cluster.rotate("fw1")
    assert isinstance(end, Done)
    assert cluster.held() == {(end.id,)}
    assert end.id != secret(4).id


def test_a_node_that_does_not_answer_stops_it_with_everything_as_before() -> None:
    cluster = Cluster("fw1", "fw2", "fw3")
    leader = cluster.lead("fw1")
    action = leader.poll(0)
    assert isinstance(action, Ask)
    leader.answered("fw1", cluster.ask("fw1", action.requests["fw1"]))
    leader.unanswered("fw3", "connection refused")
    end = leader.poll(0)
    assert isinstance(end, Failed)
    assert failed(end) == "fw3 does not answer: connection refused"
    assert "appliance pair remove fw3" in end.hint
    leader.answered("fw2", Answer(refused="late"))
    leader.unanswered("fw2", "late")
    assert leader.poll(9) == end
    assert cluster.held() == {(secret(1).id,)}


def test_a_poll_in_between_asks_only_who_has_not_answered() -> None:
    cluster = Cluster("fw1", "fw2")
    leader = cluster.lead("fw1")
    action = leader.poll(0)
    assert isinstance(action, Ask)
    given_back = cluster.ask("fw2", action.requests["fw2"])
    leader.answered("fw2", given_back)
    leader.answered("fw2", Answer(refused="twice"))
    leader.unanswered("fw9", "nobody asked")
    action = leader.poll(0)
    assert isinstance(action, Ask)
    assert list(action.requests) == ["fw1"]


def test_it_waits_before_old_secrets_go() -> None:
    cluster = Cluster("fw1")
    leader, now = cluster.lead("fw1", settle=3.0), 10.0
    while isinstance(action := leader.poll(now), Ask):
        leader.answered("fw1", cluster.ask("fw1", action.requests["fw1"]))
    assert action == Wait(13.0)
    assert leader.poll(12.9) == Wait(13.0)
    last = leader.poll(13.0)
    assert isinstance(last, Ask)
    assert last.requests["fw1"].step == "forget"


def test_a_node_with_a_peer_that_the_leader_does_not_know_refuses() -> None:
    cluster = Cluster("fw1", "fw2", "fw3")
    cluster.peers["fw1"] = ["fw2"]
    assert failed(cluster.rotate("fw1")) == ("fw2 is paired with fw3, and the leading node is not: pair them first")
    cluster.peers["fw1"] = ["fw2", "fw3"]
    assert isinstance(cluster.rotate("fw1"), Done)


def test_a_node_that_is_paired_in_the_middle_is_not_left_behind() -> None:
    cluster = Cluster("fw1", "fw2")
    calls = steps_of(cluster, cluster.lead("fw1"))
    while next(calls) != ("fw1", "switch"):
        pass
    cluster.rings["fw3"], cluster.peers["fw3"] = cluster.rings["fw2"], ["fw2"]
    cluster.peers["fw2"].append("fw3")
    list(calls)
    cluster.check()
    for one, other in (("fw1", "fw3"), ("fw3", "fw1")):
        cluster.peers[one].append(other)
    end = cluster.rotate("fw1")
    assert isinstance(end, Done)
    assert cluster.held() == {(end.id,)}


def test_a_node_without_a_secret_says_so() -> None:
    cluster = Cluster("fw1", "fw2")
    cluster.rings["fw2"] = None
    assert failed(cluster.rotate("fw1")) == "fw2 has no pairing secret: pair it again"
    assert cluster.rings["fw2"] is None


def test_a_full_node_says_so() -> None:
    cluster = Cluster("fw1", "fw2")
    cluster.rings["fw1"], cluster.rings["fw2"] = ring(1, 9), ring(1, 2, 3, 4)
    assert failed(cluster.rotate("fw1")) == ("fw2 holds 4 secrets, left over from interrupted rotations: pair it anew")


def test_a_node_that_proposes_without_ever_finishing_gets_one_place() -> None:
    held = ring(1, 2, sending=1)  # 2 is what it proposed before
    refused = second_proposal(held, secret(3), secret(2).id, "fw2")
    assert refused is not None
    assert refused.refused == "fw2 still holds another secret of the same node, which it has to finish first"
    assert parse_answer(refused.wire()) == refused
    assert second_proposal(held, secret(2), secret(2).id, "fw2") is None  # repeated
    assert second_proposal(ring(1, 2, sending=2), secret(3), secret(2).id, "fw2") is None  # finished
    assert second_proposal(held, secret(3), "", "fw2") is None
    assert second_proposal(None, secret(3), secret(2).id, "fw2") is None


def asked(keyring: Keyring, step: Any, number: int) -> tuple[Keyring | None, str]:
    proposed = secret(number) if step == "propose" else None
    identifier = "" if step in ("propose", "survey") else secret(number).id
    request = Request(step=step, members=("fw1", "fw2"), id=identifier, secret=proposed)
    after, made = answer(keyring, request, own="fw2", peers=["fw1"])
    return after, made.refused


def test_requests_that_were_overtaken_are_refused_or_change_nothing() -> None:
    new = ring(5)
    for step, why in (
        ("propose", "uses a newer secret already"),
        ("switch", "does not hold this secret; another rotation may have overtaken"),
        ("forget", "does not send with this secret; another rotation may have overtaken"),
        ("fetch", "does not hold this secret any more"),
    ):
        after, refused = asked(new, step, 4)
        assert why in refused
        assert refused.startswith("fw2 ")
        assert after == new
    assert asked(ring(5, 4), "switch", 4) == (ring(5, 4), "")
    assert asked(ring(5, 4), "forget", 4) == (ring(5, 4), "")


def test_a_secret_that_is_not_used_yet_is_not_made_the_only_one() -> None:
    after, refused = asked(ring(1, 2, sending=1), "forget", 2)
    assert "does not send with this secret" in refused
    assert after == ring(1, 2, sending=1)


def test_repeated_requests_change_nothing() -> None:
    for step, before in (
        ("propose", ring(1, 2, sending=1)),
        ("switch", ring(2, 1)),
        ("forget", ring(2)),
        ("survey", ring(1)),
    ):
        assert asked(before, step, 2) == (before, "")


def test_the_secret_itself_travels_only_when_it_is_asked_for() -> None:
    for step, number in (("survey", 1), ("switch", 1), ("forget", 1), ("fetch", 1)):
        identifier = "" if step == "survey" else secret(number).id
        request = Request(step=step, members=("fw1", "fw2"), id=identifier)  # type: ignore[arg-type]
        _, made = answer(ring(1), request, own="fw2", peers=["fw1"])
        assert made.secret == (secret(1) if step == "fetch" else None)
        assert ("secret" in made.wire()) == (step == "fetch")


@pytest.mark.parametrize("sent", [None, 2])
def test_a_node_that_sends_another_secret_than_it_was_asked_for_is_not_believed(sent: int | None) -> None:
    cluster = Cluster("fw1", "fw2")
    cluster.rings["fw2"] = ring(1, 9)
    leader = cluster.lead("fw1")
    action = leader.poll(0)
    assert isinstance(action, Ask)
    for name, request in action.requests.items():
        leader.answered(name, cluster.ask(name, request))
    action = leader.poll(0)
    assert isinstance(action, Ask)
    assert {name: request.step for name, request in action.requests.items()} == {"fw2": "fetch"}
    wrong = None if sent is None else secret(sent)
    leader.answered("fw2", Answer(holds=(secret(1).age,), sending=secret(1).id, secret=wrong))
    end = leader.poll(0)
    assert isinstance(end, Failed)
    assert failed(end) == "fw2 did not send the secret it was asked for"


class Storm:
    """Several leaders at once, and calls that are lost, late, or answered in vain. Every choice is a number."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.now = cluster, 0.0
        self.leaders: list[Rotation] = []
        self.calls: list[tuple[Rotation, str, Request]] = []
        self.late: list[tuple[Rotation, str, Request]] = []

    def lead(self, node: str) -> None:
        if len(self.leaders) < 6:
            self.leaders.append(self.cluster.lead(node, settle=2.0))

    def kill(self, number: int) -> None:
        """A leader is gone; what it has sent may still arrive."""
        if self.leaders:
            gone = self.leaders.pop(number % len(self.leaders))
            self.late += [call for call in self.calls if call[0] is gone]
            self.calls = [call for call in self.calls if call[0] is not gone]

    def arrive_late(self, number: int) -> None:
        """What its leader does not wait for any more is carried out after all."""
        if self.late:
            _, node, request = self.late.pop(number % len(self.late))
            self.cluster.ask(node, request)

    def carry(self, number: int, *, is_carried_out: bool = True, is_answered: bool = True) -> None:
        if not self.calls:
            return
        call = self.calls.pop(number % len(self.calls))
        leader, node, request = call
        made = self.cluster.ask(node, request) if is_carried_out else None
        if made is not None and is_answered:
            leader.answered(node, made)
            return
        leader.unanswered(node, "lost")
        if made is None:
            self.late.append(call)

    def poll(self) -> None:
        """The leaders go on."""
        self.now += 1.0
        for leader in self.leaders:
            action = leader.poll(self.now)
            if isinstance(action, Ask):
                waiting = {node for asking, node, _ in self.calls if asking is leader}
                self.calls += [(leader, *one) for one in action.requests.items() if one[0] not in waiting]

    def calm(self, node: str) -> None:
        """It is over: a rotation finishes, and what is still under way does no harm."""
        end = self.cluster.rotate(node)
        assert isinstance(end, Done), end
        if not self.late:
            assert self.cluster.held() == {(end.id,)}
        while self.late:
            self.arrive_late(0)
        again = self.cluster.rotate(node)
        assert isinstance(again, Done)
        assert self.cluster.held() == {(again.id,)}

    def do(self, what: str, number: int) -> None:
        match what:
            case "lead":
                names = list(self.cluster.rings)
                self.lead(names[number % len(names)])
            case "kill":
                self.kill(number)
            case "late":
                self.arrive_late(number)
            case "carry":
                self.carry(number)
            case "deaf":
                self.carry(number, is_answered=False)
            case "drop":
                self.carry(number, is_carried_out=False)
        self.poll()


WHAT = ("carry", "carry", "carry", "carry", "lead", "late", "deaf", "drop", "kill")


# With three nodes there are never more than the old secret and one of each node: the limit of four is not met.
@settings(max_examples=100, deadline=None)
@given(
    names=st.sampled_from([("fw1", "fw2"), ("fw1", "fw2", "fw3")]),
    choices=st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 999)), max_size=100),
    repeated_by=st.sampled_from(["fw1", "fw2"]),
)
def test_any_two_nodes_share_a_secret_at_any_moment_and_a_repetition_finishes(
    names: tuple[str, ...], choices: list[tuple[str, int]], repeated_by: str
) -> None:
    storm = Storm(Cluster(*names))
    for what, number in choices:
        storm.do(what, number)
    storm.calm(repeated_by)


@pytest.mark.parametrize("block", range(4))
def test_leaders_that_begin_together_do_no_harm_to_each_other(block: int) -> None:
    """Where the races are: both have seen a quiet cluster before either proposes."""
    for seed in range(block * 100, block * 100 + 100):
        random = Random(seed)
        names = ("fw1", "fw2", "fw3")[: random.choice((2, 3))]
        storm = Storm(Cluster(*names))
        for node in names[: random.choice((2, len(names)))]:
            storm.lead(node)
        storm.poll()
        while storm.calls and storm.calls[0][2].step == "survey":
            storm.carry(0)
        storm.poll()
        # Half of the storms lose nothing, so that both leaders get to their ends.
        kinds, weights = ("carry", "drop", "deaf", "late", "kill", "lead"), (100, 1, 1, 2, 0.5, 0.5)
        is_lossless = random.random() < 0.5
        for _ in range(80):
            what = "carry" if is_lossless else random.choices(kinds, weights)[0]
            storm.do(what, random.randrange(1000))
        storm.calm(random.choice(names))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (None, "has no step"),
        ({}, "has no step"),
        ({"step": "erase"}, "has no step"),
        ({"step": "switch", "id": "x", "members": []}, "names no secret"),
        ({"step": "switch", "members": []}, "a request to switch does not come with what it needs"),
        ({"step": "survey", "id": "0" * 16, "members": []}, "a request to survey does not come"),
        ({"step": "propose", "members": []}, "a request to propose does not come"),
        ({"step": "forget", "id": "0" * 16, "secret": {}, "members": []}, "a request to forget does not come"),
        ({"step": "propose", "secret": {}, "members": []}, "a secret has other entries"),
        ({"step": "survey"}, "names of nodes in a rotation are malformed"),
        ({"step": "survey", "members": ["fw1"] * 9}, "names of nodes in a rotation are malformed"),
        ({"step": "survey", "members": ["../x"]}, "names of nodes in a rotation are malformed"),
    ],
)
def test_a_malformed_request_is_refused(data: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_request(data)


AN_ANSWER = Answer(holds=(secret(1).age,), sending=secret(1).id, peers=("fw1",)).wire()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (None, "is malformed"),
        ({**AN_ANSWER, "refused": None}, "has no reason"),
        ({**AN_ANSWER, "refused": "x" * (REASON_MAX + 1)}, "has no reason"),
        ({**AN_ANSWER, "holds": None}, "does not say what the node holds"),
        ({**AN_ANSWER, "holds": []}, "does not say what the node holds"),
        ({**AN_ANSWER, "holds": [["1", secret(1).id]] * 5}, "does not say what the node holds"),
        ({**AN_ANSWER, "holds": [1]}, "the age of a secret is malformed"),
        ({**AN_ANSWER, "sending": 5}, "does not say what the node sends with"),
        ({**AN_ANSWER, "peers": None}, "names of nodes"),
        ({**AN_ANSWER, "peers": ["a"] * 8}, "names of nodes"),
        ({**AN_ANSWER, "secret": 1}, "a secret has other entries"),
    ],
)
def test_a_malformed_answer_is_refused(data: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_answer(data)


def test_a_long_reason_is_cut_before_it_is_sent() -> None:
    sent = Answer(refused="x" * 9999).wire()
    assert parse_answer(sent).refused == "x" * REASON_MAX
