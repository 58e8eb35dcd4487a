"""nft transactions. Each test is a process: trio starts children from threads of its own pool."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.netns

Inside = Callable[[Callable[[], Any]], Any]

PRELUDE = """
import trio
from appliance.errors import KernelError
from appliance.net import nft
TABLE = {"table": {"family": "inet", "name": "t"}}
CHAIN = {"chain": {"family": "inet", "table": "t", "name": "c"}}
GOOD = {"nftables": [{"add": TABLE}, {"add": CHAIN}]}
BAD = {"nftables": [{"add": TABLE}, {"add": {"rule": {"family": "inet", "table": "t", "chain": "none",
       "expr": [{"accept": None}]}}}]}
async def refused(what, ruleset):
    try:
        await what(ruleset)
    except KernelError as error:
        return error
    raise AssertionError("not refused")
"""


def run(inside: Inside, body: str) -> None:
    code = (
        PRELUDE + "async def main():\n" + "\n".join(f"    {line}" for line in body.splitlines()) + "\ntrio.run(main)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = inside(lambda: subprocess.run(command, capture_output=True, text=True, timeout=60, check=False))
    assert done.returncode == 0, done.stderr


def test_a_ruleset_is_loaded_listed_and_deleted(inside: Inside) -> None:
    run(
        inside,
        """
await nft.apply(GOOD)
listed = await nft.list_table("inet", "t")
assert [key for item in listed["nftables"] for key in item] == ["metainfo", "table", "chain"], listed
await nft.delete_table("inet", "t")
await nft.delete_table("inet", "t")
assert await nft.list_table("inet", "t") is None
""",
    )


def test_a_refused_ruleset_changes_nothing_and_is_told_in_nfts_words(inside: Inside) -> None:
    run(
        inside,
        """
error = await refused(nft.apply, BAD)
assert "nft refused: " in error.message, error.message
assert "No such file or directory" in error.message, error.message
assert "does not exist" in error.hint
assert await nft.list_table("inet", "t") is None
""",
    )


def test_a_check_changes_nothing(inside: Inside) -> None:
    run(
        inside,
        """
await nft.check(GOOD)
assert await nft.list_table("inet", "t") is None
await refused(nft.check, BAD)
""",
    )


def test_nonsense_is_refused_with_a_bounded_complaint(inside: Inside) -> None:
    run(
        inside,
        """
rules = [{"add": {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [{"bogus": n}]}}} for n in range(500)]
error = await refused(nft.apply, {"nftables": rules})
assert error.message.count(chr(10)) <= nft.ERROR_LINES_MAX + 1, error.message
""",
    )


def test_without_the_capability_the_remedy_is_told(inside: Inside) -> None:
    code = PRELUDE + "print(trio.run(refused, nft.apply, GOOD))"
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"]
    command = [*drop, sys.executable, "-c", code]
    done = inside(lambda: subprocess.run(command, capture_output=True, text=True, timeout=60, check=True))
    assert "Operation not permitted" in done.stdout
    assert "AmbientCapabilities=CAP_NET_ADMIN" in done.stdout


def test_a_missing_program_and_a_hanging_one_are_clear_errors(inside: Inside) -> None:
    run(
        inside,
        """
nft.shutil.which = lambda *a, **k: None
assert "not installed" in (await refused(nft.apply, GOOD)).message
nft.shutil.which = lambda *a, **k: "/usr/bin/tail"
nft.DEADLINE_S = 0.3
with trio.fail_after(20):
    try:
        await nft._run("-f", "/dev/null")
    except KernelError as error:
        assert "did not finish" in error.message
    else:
        raise AssertionError
""",
    )
