"""nftables through `nft -f -`: one transaction per call, with the tool operators debug with.

Either everything in a ruleset takes effect at once or nothing does. Output and time are bounded: a node
must not hang, or fill its memory, because a table is large.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from functools import partial

import trio

from appliance.errors import KernelError

DEADLINE_S = 10.0
"""Loading ten thousand elements takes well under a second; more means that the kernel or nft hangs."""
OUTPUT_MAX = 8 << 20
"""A table listed as JSON with tens of thousands of elements."""
ERROR_LINES_MAX = 20
"""Lines of nft's complaint that are shown; it can repeat itself for every rule."""

_CHUNK = 65536
_NO_SUCH = "No such file or directory"
_PLACE = re.compile(rb"^/dev/stdin:(\d+):", re.MULTILINE)

Ruleset = Mapping[str, object]
"""``{"nftables": [{"add": {"table": …}}, …]}``, see libnftables-json(5)."""


async def apply(ruleset: Ruleset) -> None:
    """Load a ruleset in one transaction.

    Raises:
        KernelError: With nft's own words; nothing has been changed.
    """
    await _run("-j", "-f", "-", text=json.dumps(ruleset))


async def check(ruleset: Ruleset) -> None:
    """As `apply`, without changing anything."""
    await _run("-c", "-j", "-f", "-", text=json.dumps(ruleset))


class NftError(KernelError):
    """nft refused a text; nothing has been changed."""

    def __init__(self, message: str, *, hint: str, line: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line
        """Of the text, from 1, that it complained about first."""


async def apply_text(text: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Load a text in nftables' own language in one transaction: half the time and memory of JSON.

    Raises:
        NftError: nft refused it; nothing has been changed.
        KernelError: nft is missing or did not finish in time.
    """
    await _run("-f", "-", text=text, deadline_s=deadline_s)


async def counters(family: str, table: str) -> dict[str, tuple[int, int]]:
    """Packets and bytes of every named counter of a table; nothing when there is no such table."""
    try:
        output = await _run("-j", "list", "counters", "table", family, table)
    except KernelError as error:
        if _NO_SUCH in error.message:
            return {}
        raise
    found = (item["counter"] for item in json.loads(output)["nftables"] if "counter" in item)
    return {each["name"]: (each["packets"], each["bytes"]) for each in found}


async def list_table(family: str, name: str) -> dict[str, object] | None:
    """The table as `nft -j list table` shows it, or ``None`` when there is none."""
    try:
        output = await _run("-j", "list", "table", family, name)
    except KernelError as error:
        if _NO_SUCH in error.message:
            return None
        raise
    listed: dict[str, object] = json.loads(output)
    return listed


async def delete_table(family: str, name: str) -> None:
    """Remove a table with all that is in it; no error when there is none."""
    table = {"table": {"family": family, "name": name}}
    # Adding first makes the deletion succeed in any case, still in one transaction.
    await apply({"nftables": [{"add": table}, {"delete": table}]})


async def _run(*arguments: str, text: str = "", deadline_s: float = DEADLINE_S) -> str:
    """Run nft; its standard output, or its complaint as an error."""
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin")
    if nft is None:
        raise KernelError("the program nft is not installed", hint="Install it: apt install nftables.")
    out, err = bytearray(), bytearray()
    status: int | None = None
    with trio.move_on_after(deadline_s):
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, stdin=text.encode(), stdout=-1, stderr=-1, check=False)
            process: trio.Process = await nursery.start(run, [nft, *arguments])
            assert process.stdout is not None
            assert process.stderr is not None
            nursery.start_soon(_read, process.stdout, out)
            nursery.start_soon(_read, process.stderr, err)
        status = process.returncode
    if status is None:
        raise KernelError(
            f"nft did not finish within {deadline_s:.0f} s",
            hint="See `dmesg`; another program may hold the ruleset: `fuser -v /proc/net/netlink`, `ps -C nft`.",
        )
    if status != 0:
        found = _PLACE.search(err)
        line = int(found[1]) if found else None
        raise NftError(f"nft refused: {_complaint(err)}", hint=_hint(err), line=line)
    if len(out) > OUTPUT_MAX:
        raise KernelError(
            f"nft listed more than {OUTPUT_MAX >> 20} MiB", hint="Look at it with `nft list table` on the command line."
        )
    return out.decode(errors="replace")


async def _read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
    """Read to the end so that nft never blocks, keeping no more than one byte too many."""
    async for chunk in stream:
        into += chunk[: max(0, OUTPUT_MAX + 1 - len(into))]


def _complaint(err: bytearray) -> str:
    lines = err.decode(errors="replace").strip().splitlines()
    # nft points into the JSON with lines of ^^^^, which mean nothing without the text.
    lines = [line for line in lines if line.strip("^~ \t")]
    shown = "\n".join(line[:400] for line in lines[:ERROR_LINES_MAX])
    rest = len(lines) - ERROR_LINES_MAX
    return (shown or "it gave no reason") + (f"\n… and {rest} more lines" if rest > 0 else "")


def _hint(err: bytearray) -> str:
    if b"Operation not permitted" in err:
        return "This needs CAP_NET_ADMIN: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN."
    if _NO_SUCH.encode() in err:
        return "A table, chain or set it names does not exist, or this kernel lacks the expression."
    return "Nothing was changed. `nft -c -j -f FILE` repeats the check."
