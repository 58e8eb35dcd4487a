"""When a node that has started counts as one that lacks leases. Everything else of the service is in `netns/dhcp`."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import trio

from appliance_dhcp_failover.service import CATCH_UP_S, FIRST_WORD_S, Keeper


def with_keeper(test: Callable[[Any], None]) -> None:
    """With a service whose other node is heard and has leases to fetch."""

    async def main() -> None:
        ctx: Any = SimpleNamespace(node=SimpleNamespace(name="fw1"), publish=print)
        async with trio.open_nursery() as nursery:
            keeper: Any = Keeper(ctx, nursery)
            keeper.replicator = SimpleNamespace(links={"fw2": None}, is_heard=True, is_behind=True)
            test(keeper)

    trio.run(main)


def test_a_node_lacks_leases_until_it_has_fetched_those_of_the_other() -> None:
    def test(keeper: Any) -> None:
        assert keeper._lacks_leases(0.0)
        assert not keeper._lacks_leases(CATCH_UP_S), "not for ever: nobody else may be there to serve"
        keeper.replicator.is_behind = False
        assert not keeper._lacks_leases(1.0)

    with_keeper(test)


def test_a_node_that_hears_nobody_waits_a_moment_for_the_first_word() -> None:
    def test(keeper: Any) -> None:
        keeper.replicator.is_heard = keeper.replicator.is_behind = False
        assert keeper._lacks_leases(0.0)
        assert not keeper._lacks_leases(FIRST_WORD_S)

    with_keeper(test)


def test_fetched_leases_count_when_kea_has_them() -> None:
    def test(keeper: Any) -> None:
        keeper.replicator.is_behind = False
        keeper._pools = {"lan": SimpleNamespace(is_catching_up=True)}
        assert keeper._lacks_leases(1.0)
        keeper._pools = {"lan": SimpleNamespace(is_catching_up=False)}
        assert not keeper._lacks_leases(1.0)

    with_keeper(test)


def test_a_node_that_had_all_leases_is_not_demoted_when_a_slow_peer_falls_behind() -> None:
    def test(keeper: Any) -> None:
        keeper.replicator.is_behind = False
        keeper._demote()
        keeper.replicator.is_behind = True
        keeper._demote()
        assert keeper._stacks == {}

    with_keeper(test)
