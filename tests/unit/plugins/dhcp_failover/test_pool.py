"""What a pool lets Kea say, and what it does for a Kea that does not know everything. The rest is in `netns/dhcp`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from appliance_dhcp_failover import leases
from appliance_dhcp_failover.leases import DECLINED, Lease
from appliance_dhcp_failover.pool import BACKLOG_USUAL, Pool
from appliance_dhcp_failover.wire import Change
from tests.unit.plugins.dhcp_failover.samples import lease, pool_of
from tests.unit.plugins.dhcp_failover.scenes import gate


def young(client: int, **values: Any) -> Lease:
    """A lease that was granted a moment ago, of address .100 unless said otherwise."""
    return replace(lease(**{"client": client, **values}), begun=float(round(time.time())))


def run(test: Callable[[Pool, list[Change]], Awaitable[None]], folder: Path) -> None:
    """With a pool of a node that serves, and what it tells other nodes."""

    async def main() -> None:
        told: list[Change] = []

        async def share(change: Change) -> list[Change]:
            await trio.lowlevel.checkpoint()
            told.append(change)
            return []

        ctx: Any = SimpleNamespace(log=SimpleNamespace(info=print, error=print, warning=print, debug=print))
        pool = Pool(ctx, pool_of(), folder, password="x", share=share, changed=lambda: None)
        pool.gate = gate()
        await test(pool, told)

    trio.run(main)


def test_a_lease_is_told_to_the_other_nodes_before_its_client(tmp_path: Path) -> None:
    async def test(pool: Pool, told: list[Change]) -> None:
        granted = young(1)
        assert await pool._asked("lease4-update", leases.to_kea(granted))
        assert [change.lease.address for change in told] == [granted.address]
        assert pool.table.get(granted.address) is not None

    run(test, tmp_path)


def test_kea_does_not_give_away_again_what_another_node_granted(tmp_path: Path) -> None:
    async def test(pool: Pool, told: list[Change]) -> None:
        owner = young(1, node="fw2")
        pool.take(owner)
        pool._backlog.clear()  # whatever became of it: Kea does not know it
        assert not await pool._asked("lease4-update", leases.to_kea(young(2)))
        assert (told, pool.table.get(owner.address)) == ([], owner)
        assert pool._backlog == {owner.address: owner}, "Kea is told who has it"

    run(test, tmp_path)


@pytest.mark.parametrize("again", [young(1), young(2, state=DECLINED)], ids=["its client renews", "declined"])
def test_what_its_owner_does_with_an_address_is_no_conflict(tmp_path: Path, again: Lease) -> None:
    async def test(pool: Pool, told: list[Change]) -> None:
        pool.take(young(1, node="fw2"))
        assert await pool._asked("lease4-update", leases.to_kea(again))
        assert len(told) == 1

    run(test, tmp_path)


def test_a_pool_whose_kea_lacks_many_leases_is_catching_up(tmp_path: Path) -> None:
    async def test(pool: Pool, _: list[Change]) -> None:
        await trio.lowlevel.checkpoint()
        for number in range(BACKLOG_USUAL):
            pool.take(replace(young(number), address=f"192.168.1.{100 + number}"))
        assert not pool.is_catching_up
        pool.take(replace(young(99), address="192.168.1.199"))
        assert pool.is_catching_up

    run(test, tmp_path)
