"""Stamps: who is one of us, who is a stranger, and what is an echo or a replay."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_carp.stamp import (
    PEERS_MAX,
    REORDER_STEPS,
    SENT_REMEMBERED,
    SEQUENCE_CEILING,
    SEQUENCE_MAX,
    SPEAKS_FAST,
    Stamper,
    Verdict,
    Witness,
    wall_ticks,
)

ME, PEER, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.3"
NOW = 5_000_000


def pair(**how: int) -> tuple[Stamper, Stamper, Witness]:
    """Our stamper, the peer's, and our witness."""
    mine = Stamper("secret", 1)
    return mine, Stamper("secret", 1, **how), Witness("secret", 1, mine)


def recognised(**how: int) -> tuple[Stamper, Stamper, Witness]:
    mine, theirs, witness = pair(**how)
    assert witness.judge(theirs.next(PEER, NOW), PEER) is Verdict.FOREIGN
    assert witness.judge(theirs.next(PEER, NOW), PEER) is Verdict.OWN_KIND
    return mine, theirs, witness


def test_the_wall_clock_is_counted_in_512ths_from_2025() -> None:
    assert wall_ticks(1_735_689_600) == 0
    assert wall_ticks(1_735_689_601.5) == 768
    assert wall_ticks(0) == 0
    assert wall_ticks(1e12) == SEQUENCE_CEILING


def test_sequences_rise_even_when_the_clock_does_not() -> None:
    stamper = Stamper("secret", 1)
    counters = [stamper.next(ME, ticks) for ticks in (100, 100, 50, 0, 101, 200)]
    assert [counter >> 24 for counter in counters] == [100, 101, 102, 103, 104, 200]


def test_a_successor_starts_above_the_floor_it_is_given() -> None:
    assert Stamper("secret", 1, floor=900).next(ME, 100) >> 24 == 901


def test_the_sequence_stops_at_its_end_instead_of_wrapping() -> None:
    assert Stamper("secret", 1, floor=SEQUENCE_MAX).next(ME, 0) >> 24 == SEQUENCE_MAX


def test_a_peer_is_trusted_after_two_fitting_stamps_and_tells_its_capabilities() -> None:
    _, _, witness = recognised(capabilities=SPEAKS_FAST)
    assert witness.capabilities(PEER) == SPEAKS_FAST
    assert witness.capabilities(OTHER) == 0


def test_a_peer_named_by_a_hello_is_trusted_at_once() -> None:
    _, theirs, witness = pair()
    witness.expect([PEER])
    assert witness.judge(theirs.next(PEER, NOW), PEER) is Verdict.OWN_KIND


def test_our_sequence_rises_above_that_of_a_recognised_peer() -> None:
    mine, theirs, witness = recognised()
    witness.judge(theirs.next(PEER, NOW + 1000), PEER)
    assert mine.next(ME, 0) >> 24 == NOW + 1001


def test_an_insane_clock_is_not_adopted() -> None:
    mine, theirs, witness = recognised()
    witness.judge(theirs.next(PEER, SEQUENCE_MAX), PEER)
    assert mine.next(ME, 0) >> 24 < SEQUENCE_CEILING


def test_repeating_an_advert_of_a_recognised_peer_is_a_replay() -> None:
    _, theirs, witness = recognised()
    counter = theirs.next(PEER, NOW + 10)
    assert witness.judge(counter, PEER) is Verdict.OWN_KIND
    assert witness.judge(counter, PEER) is Verdict.REPLAY
    assert witness.judge(counter, PEER) is Verdict.REPLAY


def test_an_old_advert_is_a_replay_but_one_overtaken_a_moment_ago_is_only_stale() -> None:
    _, theirs, witness = recognised()
    old = theirs.next(PEER, NOW + 10)
    overtaken = theirs.next(PEER, NOW + 10 + REORDER_STEPS)
    assert witness.judge(theirs.next(PEER, 0), PEER) is Verdict.OWN_KIND
    assert witness.judge(overtaken, PEER) is Verdict.STALE
    assert witness.judge(overtaken, PEER) is Verdict.REPLAY
    assert witness.judge(old, PEER) is Verdict.REPLAY


def test_a_recorded_advert_under_another_source_address_is_a_replay() -> None:
    _, theirs, witness = recognised()
    counter = theirs.next(PEER, NOW + 10)
    assert witness.judge(counter, OTHER) is Verdict.REPLAY


def test_our_own_advert_is_a_loop_whoever_seems_to_send_it() -> None:
    mine, _, witness = pair()
    first = mine.next(ME, NOW)
    for _ in range(SENT_REMEMBERED + 1):
        mine.next(ME, NOW)
    recent = mine.next(ME, NOW)
    for counter in (first, recent):
        assert witness.judge(counter, ME) is Verdict.LOOP
        assert witness.judge(counter, OTHER) is Verdict.LOOP


def test_an_advert_of_our_earlier_life_is_a_loop_before_we_have_sent_anything() -> None:
    earlier = Stamper("secret", 1).next(ME, NOW)
    witness = Witness("secret", 1, Stamper("secret", 1))
    assert witness.judge(earlier, ME, own_sources=[ME]) is Verdict.LOOP


def test_ucarp_answering_with_our_counter_plus_one_is_a_stranger_and_no_loop() -> None:
    mine, _, witness = pair()
    counter = mine.next(ME, NOW)
    for _ in range(5):
        assert witness.judge(counter + 1, PEER) is Verdict.FOREIGN
        counter = mine.next(ME, NOW)


def test_a_constant_or_random_foreign_counter_is_never_a_replay() -> None:
    _, _, witness = pair()
    for counter in [7, 7, 7, 6, 2**63, 5]:
        assert witness.judge(counter, PEER) is Verdict.FOREIGN


def test_another_password_or_vhid_makes_a_stranger() -> None:
    _, _, witness = pair()
    for stranger in (Stamper("other", 1), Stamper("secret", 2)):
        for _ in range(3):
            assert witness.judge(stranger.next(PEER, NOW), PEER) is Verdict.FOREIGN


def test_a_floor_turns_recordings_from_before_a_restart_into_replays() -> None:
    theirs = Stamper("secret", 1)
    recorded = [theirs.next(PEER, NOW) for _ in range(3)]
    witness = Witness("secret", 1, Stamper("secret", 1), floor=NOW + 10)
    assert [witness.judge(counter, PEER) for counter in recorded] == [Verdict.REPLAY] * 3


def test_a_peer_that_lost_its_clock_is_accepted_again_once_it_has_heard_us() -> None:
    mine, _, witness = recognised()
    reborn = Stamper("secret", 1)
    assert witness.judge(reborn.next(PEER, 0), PEER) is Verdict.REPLAY
    peers_witness = Witness("secret", 1, reborn)
    peers_witness.expect([ME])
    peers_witness.judge(mine.next(ME, 0), ME)
    assert witness.judge(reborn.next(PEER, 0), PEER) is Verdict.OWN_KIND


def test_the_table_of_peers_is_bounded_and_keeps_those_that_speak() -> None:
    _, theirs, witness = recognised()
    for number in range(3 * PEERS_MAX):
        source = f"198.51.100.{number}"
        witness.judge(Stamper("secret", 1).next(source, NOW), source)
        assert witness.judge(theirs.next(PEER, 0), PEER) is Verdict.OWN_KIND
    assert len(witness._peers) <= PEERS_MAX


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.sampled_from([ME, PEER, OTHER])), max_size=30))
@settings(deadline=None, max_examples=60)
def test_whatever_strangers_send_a_recognised_peer_stays_recognised(noise: list[tuple[int, str]]) -> None:
    _, theirs, witness = recognised()
    sequence = NOW + 100
    for counter, source in noise:
        witness.judge(counter, source)
        sequence += 1
        assert witness.judge(theirs.next(PEER, sequence), PEER) in (Verdict.OWN_KIND, Verdict.STALE, Verdict.REPLAY)
    assert witness.capabilities(PEER) == 0


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=20))
@settings(deadline=None, max_examples=100)
def test_in_any_order_and_with_any_repetition_each_advert_counts_once(order: list[int], again: list[int]) -> None:
    _, theirs, witness = recognised()
    counters = [theirs.next(PEER, NOW + 100) for _ in range(12)]
    accepted = [index for index in [*order, *again] if witness.judge(counters[index], PEER) is Verdict.OWN_KIND]
    assert accepted == sorted(set(accepted))
