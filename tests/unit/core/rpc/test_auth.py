"""Passwords, and the memory for wrong ones."""

from __future__ import annotations

import base64
import threading

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from appliance.rpc import auth
from appliance.rpc.auth import Backoff, Gate, Outcome, Peer, basic, parse_basic, source_of
from appliance.rpc.faults import Fault, FaultCode
from tests.unit.core.rpc.peers import run

PEER = Peer(address="192.0.2.2", fingerprint="ab" * 32)
RIGHT = basic("admin", "secret")
WRONG = basic("admin", "guess")


@given(st.text(max_size=50).filter(lambda user: ":" not in user), st.text(max_size=50))
def test_user_and_password_arrive(user: str, password: str) -> None:
    try:
        header = basic(user, password)
    except UnicodeEncodeError:
        return
    assert parse_basic(header) == (user, password)


def test_a_user_has_no_colon() -> None:
    with pytest.raises(ValueError, match="a user cannot have a colon"):
        basic("a:b", "c")
    assert parse_basic(basic("a", "b:c")) == ("a", "b:c")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Basic",
        b"Bearer abc",
        b"Basic !!!!",
        b"Basic " + base64.b64encode(b"no colon"),
        b"Basic " + base64.b64encode(b"\xff:\xff"),
        b"Basic " + base64.b64encode(b"a:" + b"x" * 2000),
        b"Basic " + b"A" * 100_000,
    ],
)
def test_other_headers_hold_no_credentials(header: bytes) -> None:
    assert parse_basic(header) is None


@given(st.binary(max_size=100))
def test_any_header_is_read_or_not(header: bytes) -> None:
    assert parse_basic(header) is None or b"asic" in header.lower()


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.2", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("fe80::1%sync", "fe80::/64"),
        ("strange", "strange"),
    ],
)
def test_one_source_is_one_address_or_one_network_of_many(address: str, source: str) -> None:
    assert source_of(address) == source


def test_five_failures_are_free_then_the_wait_doubles_up_to_a_minute() -> None:
    backoff = Backoff()
    waits = []
    for _ in range(14):
        waits.append(backoff.wait_s("x", 0))
        backoff.failed("x", 0)
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_wait_ends_and_counts_from_the_last_failure() -> None:
    backoff = Backoff()
    for moment in range(6):
        backoff.failed("x", moment)
    assert backoff.wait_s("x", 5) == 2
    assert backoff.wait_s("x", 6.5) == 0.5
    assert backoff.wait_s("x", 7) == 0
    assert backoff.wait_s("y", 5) == 0


def test_success_and_time_forgive() -> None:
    backoff = Backoff()
    for _ in range(6):
        backoff.failed("x", 0)
    backoff.succeeded("x")
    assert backoff.wait_s("x", 0) == 0
    for _ in range(20):
        backoff.failed("x", 0)
    assert backoff.wait_s("x", 901) == 0
    assert backoff.failed("x", 901) == 1


def test_no_number_of_failures_is_too_many() -> None:
    backoff = Backoff()
    for _ in range(5000):
        backoff.failed("x", 0)
    assert backoff.wait_s("x", 0) == 60


def test_a_flood_of_sources_neither_fills_memory_nor_frees_the_stubborn() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.failed("stubborn", 0)
    for number in range(10_000):
        backoff.failed(f"flood {number}", 1)
    assert len(backoff._sources) == auth.SOURCES_MAX
    assert backoff.wait_s("stubborn", 1) > 0


def test_old_sources_go_first() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.failed("old", 0)
    for number in range(auth.SOURCES_MAX):
        backoff.failed(f"new {number}", 1000)
    assert "old" not in backoff._sources
    assert "new 0" in backoff._sources


def knows(user: str, password: str, peer: Peer) -> bool:
    if user == "viewer":
        raise Fault(FaultCode.PRIVILEGE, "viewer has no role sync")
    return (user, password, peer) == ("admin", "secret", PEER)


def test_a_gate_tells_right_from_wrong() -> None:
    async def main() -> None:
        gate = Gate(knows, patience_s=5)
        right = await gate.check(RIGHT, PEER)
        assert (right.outcome, right.user) == (Outcome.ACCEPTED, "admin")
        wrong = await gate.check(WRONG, PEER)
        assert (wrong.outcome, wrong.user) == (Outcome.WRONG, "admin")
        assert (await gate.check(b"Bearer x", PEER)).outcome is Outcome.WRONG
        denied = await gate.check(basic("viewer", "x"), PEER)
        assert (denied.outcome, denied.reason) == (Outcome.FORBIDDEN, "viewer has no role sync")

    run(main)


def test_a_gate_locks_after_five_wrong_passwords_even_for_the_right_one_and_opens_again() -> None:
    async def main() -> None:
        gate = Gate(knows, patience_s=5)
        for _ in range(5):
            assert (await gate.check(WRONG, PEER)).outcome is Outcome.WRONG
        locked = await gate.check(RIGHT, PEER)
        assert locked.outcome is Outcome.LOCKED
        assert 0 < locked.wait_s <= 1
        elsewhere = Peer(address="192.0.2.99", fingerprint=PEER.fingerprint)
        assert (await gate.check(WRONG, elsewhere)).outcome is Outcome.LOCKED
        other = Peer(address=PEER.address, fingerprint="e" * 64)
        assert (await gate.check(WRONG, other)).outcome is Outcome.WRONG
        await trio.sleep(locked.wait_s + 0.05)
        assert (await gate.check(RIGHT, PEER)).outcome is Outcome.ACCEPTED
        assert (await gate.check(WRONG, PEER)).outcome is Outcome.WRONG

    run(main)


def test_the_right_password_of_one_user_forgives_no_guesses_at_another() -> None:
    def knows_eye(user: str, password: str, peer: Peer) -> bool:
        return (user, password) == ("eye", "own")

    async def main() -> None:
        gate = Gate(knows_eye, patience_s=5)
        outcomes = []
        for _ in range(6):
            outcomes.append((await gate.check(WRONG, PEER)).outcome)
            assert (await gate.check(basic("eye", "own"), PEER)).outcome is Outcome.ACCEPTED
        assert outcomes == [Outcome.WRONG] * 5 + [Outcome.LOCKED]

    run(main)


def test_to_ask_without_a_password_is_no_attempt() -> None:
    async def main() -> None:
        gate = Gate(knows, patience_s=5)
        for _ in range(20):
            assert (await gate.check(None, PEER)).outcome is Outcome.WRONG
        assert (await gate.check(RIGHT, PEER)).outcome is Outcome.ACCEPTED

    run(main)


def test_passwords_are_tried_one_at_a_time_in_a_thread() -> None:
    threads: set[int] = set()
    inside = 0

    def slow(user: str, password: str, peer: Peer) -> bool:
        nonlocal inside
        inside += 1
        assert inside == 1
        threads.add(threading.get_ident())
        threading.Event().wait(0.01)
        inside -= 1
        return False

    async def main() -> None:
        gate = Gate(slow, patience_s=5)
        outcomes = []

        async def one() -> None:
            outcomes.append((await gate.check(WRONG, PEER)).outcome)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)
        assert sorted(outcome.name for outcome in outcomes) == ["LOCKED"] * 15 + ["WRONG"] * 5

    run(main)
    assert threading.get_ident() not in threads


def test_a_check_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hangs(user: str, password: str, peer: Peer) -> bool:
        return release.wait(10)

    async def main() -> None:
        gate = Gate(hangs, patience_s=0.05)
        assert (await gate.check(RIGHT, PEER)).outcome is Outcome.TOO_SLOW
        release.set()

    run(main)


def test_a_check_waits_for_its_turn_no_longer_than_its_patience() -> None:
    async def main() -> None:
        gate = Gate(knows, patience_s=3)

        async def hold() -> None:
            async with gate._turn:
                await trio.sleep(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await trio.testing.wait_all_tasks_blocked()
            begun = trio.current_time()
            assert (await gate.check(RIGHT, PEER)).outcome is Outcome.TOO_SLOW
            assert trio.current_time() - begun == pytest.approx(3)

    trio.run(main, clock=MockClock(autojump_threshold=0))
