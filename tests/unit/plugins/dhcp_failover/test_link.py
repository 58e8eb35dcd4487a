"""What a node knows of another one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from appliance_dhcp_failover.link import DIFFERENT_MAX, HELLO_S, Greet, Link, PeerState, Pull, Rest
from appliance_dhcp_failover.wire import Hello, PoolSummary

HELLO = Hello(node="fw2", wall=0.0, epoch="b.0", pulled="", pools={"lan": PoolSummary(state="standby", digest="d")})


def test_a_new_link_greets_then_fetches_then_rests() -> None:
    link = Link("a", 0.0)
    assert (link.state, link.todo(0.0)) == (PeerState.UNREACHABLE, Greet())
    link.greeted(HELLO, 0.25, {}, 0.0)
    assert (link.name, link.skew_s, link.up, link.state) == ("fw2", 0.25, True, PeerState.SYNCHRONIZING)
    assert link.todo(0.1) == Pull("b.0")
    link.fetched("b.0")
    assert link.has_all_of_theirs
    assert link.todo(0.1) == Rest(HELLO_S)
    assert link.state is PeerState.SYNCHRONIZING, "the other one has not fetched ours"
    link.heard(replace(HELLO, pulled="a.0"))
    assert link.state is PeerState.SYNCHRONIZED
    assert link.todo(HELLO_S) == Greet()


def synchronized() -> Link:
    link = Link("a", 0.0)
    link.greeted(replace(HELLO, pulled="a.0"), 0.0, {}, 0.0)
    link.fetched("b.0")
    return link


def test_what_was_not_delivered_makes_a_new_epoch() -> None:
    link = synchronized()
    link.failed("it has not taken a lease", 5.0)
    assert (link.up, link.state, link.error) == (False, PeerState.UNREACHABLE, "it has not taken a lease")
    assert link.epoch == "a.1"
    link.missed()
    link.missed()
    assert link.epoch == "a.3"
    link.greeted(replace(HELLO, pulled="a.0"), 0.0, {}, 6.0)
    assert link.state is PeerState.SYNCHRONIZING, "it has to fetch all again"
    link.heard(replace(HELLO, pulled="a.3"))
    assert link.state is PeerState.SYNCHRONIZED


def test_a_link_that_is_down_already_does_not_fail_again() -> None:
    link = Link("a", 0.0)
    link.failed("no", 0.0)
    assert link.epoch == "a.0"
    assert link.todo(0.5) == Rest(HELLO_S)


def test_a_restarted_node_is_fetched_again() -> None:
    link = synchronized()
    link.heard(replace(HELLO, epoch="c.0"))
    assert link.todo(0.5) == Pull("c.0")
    assert not link.has_all_of_theirs


def test_words_of_a_node_that_cannot_be_reached_change_nothing() -> None:
    link = Link("a", 0.0)
    link.heard(HELLO)
    assert (link.name, link.state) == ("", PeerState.UNREACHABLE)


def test_news_is_told_at_once() -> None:
    link = synchronized()
    link.hurry(0.5)
    assert link.todo(0.5) == Greet()


def test_tables_that_stay_different_are_fetched_again() -> None:
    link = synchronized()
    hello = replace(HELLO, pulled="a.0")
    for _ in range(DIFFERENT_MAX - 1):
        link.greeted(hello, 0.0, {"lan": "other"}, 0.0)
        assert link.has_all_of_theirs
    link.greeted(hello, 0.0, {"lan": ""}, 0.0)  # changing: says nothing
    assert link.has_all_of_theirs
    link.greeted(hello, 0.0, {"lan": "other"}, 0.0)
    assert link.todo(0.5) == Pull("b.0")


def test_tables_that_are_the_same_again_are_left_alone() -> None:
    link = synchronized()
    for digest in ("other", "d") * DIFFERENT_MAX:
        link.greeted(replace(HELLO, pulled="a.0"), 0.0, {"lan": digest}, 0.0)
    assert link.has_all_of_theirs


@given(st.lists(st.sampled_from(["deliver", "lose", "cut", "greet", "fetch"]), max_size=80))
def test_who_says_synchronized_has_every_change(steps: list[str]) -> None:
    """A sender with a link to a receiver: whatever is lost, the epoch never claims too much."""
    link = Link("a", 0.0)
    sent: set[int] = set()
    received: set[int] = set()
    pulled, seen = "", ""
    for number, step in enumerate(steps):
        if step == "deliver" and link.up:
            sent.add(number)
            received.add(number)
        elif step in ("deliver", "lose"):
            sent.add(number)
            if link.up:
                link.failed("lost", 0.0)
            else:
                link.missed()
        elif step == "cut":
            link.failed("cut", 0.0)
        elif step == "greet":
            seen = link.epoch
            link.greeted(replace(HELLO, pulled=pulled), 0.0, {}, 0.0)
            link.fetched(HELLO.epoch)
        elif step == "fetch" and seen:
            received |= sent
            pulled = seen
            link.heard(replace(HELLO, pulled=pulled))
        if link.state is PeerState.SYNCHRONIZED:
            assert sent == received
