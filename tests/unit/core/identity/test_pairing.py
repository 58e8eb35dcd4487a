"""Pairing: both nodes know each other afterwards, and nobody who does not know the code gets anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.identity.certificates import Certificate, create_identity
from appliance.identity.introduction import Message, Refused, confirm_message, keys_of
from appliance.identity.keyring import Keyring, PairingSecret, keyring_of
from appliance.identity.pairing import (
    CODE_VALID_S,
    RUN_VALID_S,
    RUNS_MAX,
    SOURCE_TRIES_MAX,
    TRIES_MAX,
    Initiator,
    Listener,
    Outcome,
    Paired,
    Reply,
)
from appliance.identity.store import PEERS_MAX

ONE, TWO, THREE = (create_identity(name).certificate for name in ("fw1", "fw2", "fw3"))
MALLORY_AS_ONE, MALLORY_AS_TWO = (create_identity(name).certificate for name in ("fw1", "fw2"))
NOW, WALL = 1000.0, 1_790_000_000


def ring(*numbers: int, sending: int = 0) -> Keyring:
    secrets = [PairingSecret(created=number, secret=bytes([number]) * 32) for number in numbers]
    return keyring_of(secrets, sending=secrets[sending].id)


def listener(own: Certificate = TWO, peers: Collection[str] = (), seed: int = 1) -> Listener:
    return Listener(own, peers, now=NOW, random=Random(seed).randbytes)


def initiator(code: str, own: Certificate = ONE, peers: Collection[str] = (), seed: int = 2) -> Initiator:
    return Initiator(own, peers, code, random=Random(seed).randbytes)


def take(
    side: Listener, message: object, *, keyring: Keyring | None = None, now: float = NOW, source: str = "a"
) -> Outcome:
    return side.receive(message, keyring=keyring, now=now, wall=WALL, source=source)


def message_of(outcome: Outcome) -> Message:
    assert isinstance(outcome, Reply), outcome
    return outcome.message


def refused(outcome: Outcome) -> tuple[str, str]:
    assert isinstance(outcome, Refused), outcome
    assert outcome.hint
    return outcome.kind, outcome.message


def wrong_code(side: Listener, seed: int = 3, source: str = "a") -> Outcome:
    """A whole run with another code."""
    other = initiator("0000-0000", seed=seed)
    answer = message_of(take(side, other.hello(), source=source))
    return take(side, message_of(other.receive(answer, keyring=None)), source=source)


def pair(
    first: Initiator,
    second: Listener,
    *,
    mine: Keyring | None = None,
    theirs: Keyring | None = None,
    on_the_way: Callable[[Message], Message] = lambda message: message,
) -> tuple[Outcome, Outcome | None]:
    """Run both sides: what the listener makes of it, and what the initiator does, if it hears of it."""
    hello = take(second, on_the_way(first.hello()))
    if not isinstance(hello, Reply):
        return hello, None
    confirm = first.receive(on_the_way(hello.message), keyring=mine)
    if not isinstance(confirm, Reply):
        return hello, confirm
    result = take(second, on_the_way(confirm.message), keyring=theirs)
    if not isinstance(result, Paired):
        return result, None
    assert result.answer is not None
    return result, first.receive(on_the_way(result.answer), keyring=mine)


def test_two_new_nodes_know_each_other_and_share_one_new_secret() -> None:
    second = listener()
    at_two, at_one = pair(initiator(second.code), second)
    assert isinstance(at_two, Paired)
    assert isinstance(at_one, Paired)
    assert (at_one.certificate, at_two.certificate) == (TWO, ONE)
    assert at_one.keyring == at_two.keyring
    [secret] = at_one.keyring.secrets
    assert secret.created == WALL
    assert at_one.answer is None


def test_each_pairing_makes_another_secret() -> None:
    rings = []
    for seed in (1, 2):
        second = listener(seed=seed)
        at_two, _ = pair(initiator(second.code), second)
        assert isinstance(at_two, Paired)
        rings.append(at_two.keyring)
    assert rings[0] != rings[1]


@pytest.mark.parametrize("is_listener_in_cluster", [False, True])
def test_a_third_node_gets_the_secrets_of_the_cluster_whichever_side_listens(is_listener_in_cluster: bool) -> None:
    cluster = ring(1, 2)
    second = listener(THREE)
    rings: dict[str, Any] = {"theirs": cluster} if is_listener_in_cluster else {"mine": cluster}
    at_three, at_one = pair(initiator(second.code, peers=["fw2"]), second, **rings)
    assert isinstance(at_three, Paired)
    assert isinstance(at_one, Paired)
    assert at_one.keyring == at_three.keyring == cluster


def test_a_repeated_pairing_changes_no_secret() -> None:
    second = listener(peers=["fw1"])
    at_two, at_one = pair(initiator(second.code, peers=["fw2"]), second, mine=ring(1), theirs=ring(1))
    assert isinstance(at_two, Paired)
    assert isinstance(at_one, Paired)
    assert at_two.keyring == at_one.keyring == ring(1)


def test_a_pairing_during_a_rotation_leaves_each_side_sending_as_before() -> None:
    second = listener()
    at_two, at_one = pair(initiator(second.code), second, mine=ring(1, 2, sending=1), theirs=ring(1))
    assert isinstance(at_two, Paired)
    assert isinstance(at_one, Paired)
    assert at_two.keyring == ring(1, 2, sending=0)
    assert at_one.keyring == ring(1, 2, sending=1)


def test_nodes_of_different_clusters_are_told_so_and_the_code_stays_good() -> None:
    second = listener()
    at_two, _ = pair(initiator(second.code), second, mine=ring(1), theirs=ring(2))
    kind, message = refused(at_two)
    assert kind == "cluster"
    assert "different clusters" in message
    assert second.closed(NOW) is None
    assert second.tries_left == TRIES_MAX


def test_an_initiator_that_came_into_another_cluster_meanwhile_says_so() -> None:
    second = listener()
    first = initiator(second.code)
    confirm = first.receive(message_of(take(second, first.hello())), keyring=None)
    result = take(second, message_of(confirm))
    assert isinstance(result, Paired)
    assert refused(first.receive(result.answer, keyring=ring(7)))[0] == "cluster"


def test_the_code_may_be_typed_without_care() -> None:
    second = listener()
    _, at_one = pair(initiator(second.code.lower().replace("-", " ")), second)
    assert isinstance(at_one, Paired)


def test_a_code_that_is_none_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(UsageError, match="is not a code for pairing"):
        initiator("1234")


def test_the_code_has_the_promised_form_and_is_never_the_same() -> None:
    codes = {listener(seed=seed).code for seed in range(50)}
    assert len(codes) == 50
    assert all(len(code) == 9 and code[4] == "-" for code in codes)


def test_one_success_closes_the_listener() -> None:
    second = listener()
    pair(initiator(second.code), second)
    assert second.closed(NOW) == "the code was used by fw1"
    assert refused(take(second, initiator(second.code, THREE).hello())) == (
        "closed",
        "the other node does not pair: the code was used by fw1",
    )


def test_five_wrong_codes_close_the_listener_also_for_the_right_one() -> None:
    second = listener()
    for left in (4, 3, 2, 1, 0):
        assert refused(wrong_code(second, seed=left, source="b" if left < 2 else "a")) == (
            "code",
            f"the code is wrong, or somebody is in between; tries left: {left}",
        )
    assert second.closed(NOW) == "5 wrong codes were tried, from a (3), b (2)"
    assert refused(take(second, initiator(second.code).hello()))[0] == "closed"


def test_after_four_wrong_codes_the_right_one_is_good() -> None:
    second = listener()
    for seed in range(4):
        wrong_code(second, seed=seed, source="ab"[seed % 2])
    _, at_one = pair(initiator(second.code), second)
    assert isinstance(at_one, Paired)


def test_wrong_codes_at_the_same_time_do_not_give_more_tries() -> None:
    second = listener()
    others = {str(seed): initiator("0000-0000", seed=seed) for seed in range(RUNS_MAX)}
    confirms = {
        source: message_of(other.receive(message_of(take(second, other.hello(), source=source)), keyring=None))
        for source, other in others.items()
    }
    kinds = [refused(take(second, confirm, source=source))[0] for source, confirm in confirms.items()]
    assert kinds == ["code"] * TRIES_MAX + ["closed"] * (RUNS_MAX - TRIES_MAX)


def test_a_stranger_does_not_use_up_the_tries_of_others() -> None:
    second = listener()
    for seed in range(SOURCE_TRIES_MAX):
        assert refused(wrong_code(second, seed=seed, source="stranger"))[0] == "code"
    kind, said = refused(take(second, initiator(second.code, seed=7).hello(), source="stranger"))
    assert kind == "closed"
    assert said == "the other node takes no more codes from this address: 3 were wrong"
    assert second.tries_left == TRIES_MAX - SOURCE_TRIES_MAX
    _, at_one = pair(initiator(second.code), second)
    assert isinstance(at_one, Paired)


def test_a_stranger_who_begins_again_and_again_does_not_end_the_run_of_another() -> None:
    second = listener()
    early = initiator(second.code)
    answer = message_of(take(second, early.hello()))
    for seed in range(100, 100 + 2 * RUNS_MAX):
        take(second, initiator("0000-0000", seed=seed).hello(), source="stranger")
    assert isinstance(take(second, message_of(early.receive(answer, keyring=None))), Paired)


def test_a_code_is_valid_for_ten_minutes() -> None:
    second = listener()
    first = initiator(second.code)
    assert second.expires_at == NOW + 600
    assert second.closed(NOW + CODE_VALID_S - 0.001) is None
    assert second.closed(NOW + CODE_VALID_S) == "the code was valid for 10 minutes"
    confirm = first.receive(message_of(take(second, first.hello(), now=NOW + CODE_VALID_S - 1)), keyring=None)
    assert refused(take(second, message_of(confirm), now=NOW + CODE_VALID_S))[0] == "closed"


def test_a_run_takes_one_proof_and_thirty_seconds() -> None:
    second = listener()
    slow = initiator(second.code)
    confirm = message_of(slow.receive(message_of(take(second, slow.hello())), keyring=None))
    assert refused(take(second, confirm, now=NOW + RUN_VALID_S))[0] == "run"
    assert refused(take(second, confirm))[0] == "run"  # what was refused once is forgotten
    wrong = initiator("0000-0000", seed=9)
    confirm = message_of(wrong.receive(message_of(take(second, wrong.hello())), keyring=None))
    assert refused(take(second, confirm))[0] == "code"
    assert refused(take(second, confirm)) == ("run", "the other node does not remember this run of the pairing")
    assert second.tries_left == TRIES_MAX - 1


def test_runs_that_begin_and_do_nothing_do_not_keep_others_out() -> None:
    second = listener()
    early = initiator(second.code)
    answer = message_of(take(second, early.hello()))
    for seed in range(100, 100 + RUNS_MAX):
        take(second, initiator("0000-0000", seed=seed).hello(), source=str(seed))
    assert refused(take(second, message_of(early.receive(answer, keyring=None))))[0] == "run"
    _, at_one = pair(initiator(second.code, seed=5), second)
    assert isinstance(at_one, Paired)
    assert second.tries_left == TRIES_MAX


def test_two_nodes_of_one_name_are_refused_on_both_sides() -> None:
    second = listener(create_identity("FW1").certificate)
    assert refused(take(second, initiator(second.code).hello())) == ("name", "both nodes are called FW1")
    answer = message_of(take(listener(), initiator(second.code, THREE).hello()))
    assert refused(initiator(second.code, MALLORY_AS_TWO).receive(answer, keyring=None))[0] == "name"


def test_a_node_cannot_be_paired_with_itself() -> None:
    second = listener(ONE)
    assert refused(take(second, initiator(second.code, ONE).hello())) == ("name", "both nodes are called fw1")


def test_a_peer_in_other_capitals_is_refused_on_both_sides() -> None:
    second = listener(peers=["FW1"])
    kind, message = refused(take(second, initiator(second.code).hello()))
    assert (kind, message) == ("name", "fw2 is paired with another node called fw1 in other capitals")
    answer = message_of(take(listener(), initiator(second.code).hello()))
    assert refused(initiator(second.code, peers=["FW2"]).receive(answer, keyring=None))[0] == "name"


def test_a_full_cluster_takes_no_new_node_but_an_old_one_again() -> None:
    others = [f"node{number}" for number in range(PEERS_MAX)]
    second = listener(peers=others)
    assert refused(take(second, initiator(second.code).hello())) == ("full", "fw2 is paired with 7 others already")
    answer = message_of(take(listener(), initiator(second.code).hello()))
    assert refused(initiator(second.code, peers=others).receive(answer, keyring=None))[0] == "full"
    again = listener(peers=[*others[1:], "fw1"])
    assert isinstance(pair(initiator(again.code), again)[1], Paired)


def test_somebody_in_between_who_shows_own_certificates_is_found_out() -> None:
    def swap(message: Message) -> Message:
        swapped = {"fw1": MALLORY_AS_ONE.der, "fw2": MALLORY_AS_TWO.der}
        return {**message, "certificate": swapped[str(message["name"])]} if "name" in message else message

    second = listener()
    at_two, at_one = pair(initiator(second.code), second, on_the_way=swap)
    assert refused(at_two)[0] == "code"
    assert at_one is None


def test_somebody_in_between_who_plays_both_sides_needs_the_code_for_each() -> None:
    second = listener()
    first = initiator(second.code)
    fake_listener, fake_initiator = listener(MALLORY_AS_TWO, seed=7), initiator("0000-0000", MALLORY_AS_ONE, seed=8)
    proof = message_of(first.receive(message_of(take(fake_listener, first.hello())), keyring=ring(1)))
    assert refused(take(fake_listener, proof))[0] == "code"
    fake = message_of(fake_initiator.receive(message_of(take(second, fake_initiator.hello())), keyring=None))
    assert refused(take(second, fake))[0] == "code"
    # The proof of the real node is of no use with the other one.
    fake_initiator = initiator("0000-0000", MALLORY_AS_ONE, seed=9)
    take(second, fake_initiator.hello())
    assert refused(take(second, {**proof, "session": fake_initiator.hello()["session"]}))[0] == "code"
    assert second.tries_left == TRIES_MAX - 2


def test_a_listener_that_does_not_know_the_code_is_found_out() -> None:
    second = listener()
    first = initiator(second.code)
    take_part = message_of(take(second, first.hello()))
    first.receive(take_part, keyring=None)
    forged = confirm_message(keys_of(bytes(64))[1], ring(1))
    assert refused(first.receive(forged, keyring=None)) == (
        "code",
        "the other node did not prove that it knows the code; somebody may be in between",
    )


def test_a_listener_that_sends_back_what_it_got_is_found_out() -> None:
    first = initiator("0000-0000")
    hello = first.hello()
    other = {**hello, "name": "fw2", "certificate": TWO.der}
    mirrored = message_of(first.receive(other, keyring=None))
    assert refused(first.receive(mirrored, keyring=None))[0] == "code"


def test_the_listener_says_nothing_that_depends_on_the_code_before_the_proof() -> None:
    second = listener()
    answer = message_of(take(second, initiator("0000-0000").hello()))
    assert set(answer) == {"step", "version", "name", "certificate", "share"}


def test_a_share_that_cheats_is_refused_on_both_sides() -> None:
    second = listener()
    first = initiator(second.code)
    zero = {"share": bytes(32)}
    assert refused(take(second, {**first.hello(), **zero}))[1].endswith("malformed: share")
    answer = message_of(take(second, first.hello()))
    assert refused(first.receive({**answer, **zero}, keyring=None))[1].endswith("malformed: share")


def test_a_session_is_not_begun_twice() -> None:
    second = listener()
    first = initiator(second.code)
    answer = message_of(take(second, first.hello()))
    assert refused(take(second, first.hello()))[1].endswith("malformed: session")
    result = take(second, message_of(first.receive(answer, keyring=None)))
    assert isinstance(result, Paired)


def test_answers_in_the_wrong_order_are_refused() -> None:
    second = listener()
    first = initiator(second.code)
    confirm = confirm_message(keys_of(bytes(64))[1], ring(1))
    assert refused(first.receive(confirm, keyring=None))[1].endswith("malformed: step")
    hello = message_of(take(second, first.hello()))
    first.receive(hello, keyring=None)
    assert refused(first.receive(hello, keyring=None))[1].endswith("malformed: step")


def test_a_listener_that_gives_no_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    second = listener()
    first = initiator(second.code)
    answer = message_of(first.receive(message_of(take(second, first.hello())), keyring=None))
    monkeypatch.setattr(
        "appliance.identity.pairing.confirm_message", lambda keys, _keyring: confirm_message(keys, None)
    )
    result = take(second, answer)
    assert isinstance(result, Paired)
    assert refused(first.receive(result.answer, keyring=None))[1].endswith("malformed: sealed")


def test_another_version_is_named_by_both() -> None:
    second = listener()
    first = initiator(second.code)
    assert refused(take(second, {**first.hello(), "version": 2}))[0] == "version"
    answer = message_of(take(second, first.hello()))
    assert refused(first.receive({**answer, "version": 9}, keyring=None))[0] == "version"


values = st.one_of(st.none(), st.booleans(), st.integers(), st.binary(max_size=64), st.text(max_size=20))
nonsense = st.one_of(
    values,
    st.lists(values, max_size=3),
    st.dictionaries(
        st.sampled_from(["step", "version", "session", "name", "certificate", "share", "sealed", "proof"]),
        st.one_of(values, st.sampled_from(["hello", "confirm", "fw1", 1, ONE.der, bytes(16), bytes(32)])),
    ),
)


@settings(max_examples=200)
@given(nonsense)
def test_nonsense_is_refused_and_costs_no_try(message: object) -> None:
    second = listener()
    first = initiator(second.code)
    assert isinstance(take(second, message), Refused | Reply)
    assert second.tries_left == TRIES_MAX
    assert isinstance(first.receive(message, keyring=None), Refused | Reply)


@settings(max_examples=60)
@given(
    at=st.integers(min_value=0, max_value=3),
    part=st.sampled_from(["version", "session", "name", "certificate", "share", "sealed", "proof"]),
    change=st.integers(min_value=0, max_value=10_000),
)
def test_any_change_on_the_way_prevents_the_pairing(at: int, part: str, change: int) -> None:
    count = 0

    def alter(message: Message) -> Message:
        nonlocal count
        count += 1
        if count - 1 != at or part not in message:
            return message
        return {**message, part: altered(message[part], change)}

    second = listener()
    messages: list[dict[str, Any]] = []
    at_two, at_one = pair(
        initiator(second.code),
        second,
        on_the_way=lambda message: messages.append(dict(message)) or alter(message),  # type: ignore[func-returns-value]
    )
    if at < len(messages) and part in messages[at]:
        assert not isinstance(at_one, Paired)
        assert isinstance(at_two, Paired) == (at == 3)
    else:
        assert isinstance(at_two, Paired)
        assert isinstance(at_one, Paired)


def altered(value: bytes | str | int, change: int) -> bytes | str | int:
    if isinstance(value, bytes):
        at = change % len(value)
        return value[:at] + bytes([value[at] ^ 1 << change % 8]) + value[at + 1 :]
    return value + 1 if isinstance(value, int) else value + "x"


def test_messages_hold_nothing_but_bytes_text_and_numbers() -> None:
    second = listener()
    first = initiator(second.code)
    hello = first.hello()
    answer = message_of(take(second, hello))
    confirm = message_of(first.receive(answer, keyring=ring(1)))
    for message in (hello, answer, confirm):
        assert {type(value) for value in message.values()} <= {bytes, str, int}
        assert second.code.replace("-", "") not in json.dumps({key: str(value) for key, value in message.items()})
