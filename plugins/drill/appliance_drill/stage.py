"""One rehearsal at a time: it begins, and it is put back, whoever dies meanwhile.

Three things guard it. Whoever began it may end it, and the command does so when its caller vanishes. Its time runs
out. And a journal outlives this process: what a node finds there when it starts is put back.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import Alarm, Health, Reclaim, Request, SetEnabled, SetMaintenance, Status, Switchover
from appliance.plugin import Context, NoProvider
from appliance.plugin.context import ProviderFailed
from appliance_drill.events import Begin, End
from appliance_drill.plan import Rehearsal

SetLink = Callable[[str, bool], Awaitable[None]]
"""Takes a device up or down."""
JOURNAL = "rehearsal.json"
ACT_S = 20.0
"""For the act itself: a role change settles in at most 10 s."""
RETRY_S = 1.0
"""Between two tries to put something back."""
PUT_BACK_S = 10.0
"""After this, who asked for it is told that it has not worked yet; it is tried on and on."""
_TROUBLE = (ApplianceError, NoProvider, ProviderFailed, trio.TooSlowError)


class Stage:
    """Where one node rehearses."""

    def __init__(self, ctx: Context, set_link: SetLink) -> None:
        self._ctx, self._set_link = ctx, set_link
        self._journal = ctx.state_dir / JOURNAL
        self._now: Rehearsal | None = None
        self._patience = trio.CancelScope()
        self._wake = trio.Event()
        self._finish = trio.Event()
        self._done = trio.Event()

    def recover(self) -> None:
        """Take over what a journal says was going on when this service, or this node, ended."""
        try:
            self._now = Rehearsal.from_text(self._journal.read_text())
        except FileNotFoundError:
            self._tell()
            return
        except (OSError, ValueError) as error:
            self._ctx.log.warning("rehearsal_forgotten", file=str(self._journal), why=str(error))
            self._journal.unlink(missing_ok=True)
            self._tell()
            return
        self._ctx.log.warning("rehearsal_interrupted", rehearsal=self._now.name)
        self._finish.set()
        self._wake.set()

    async def begin(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """`Begin`."""
        assert isinstance(request, Begin)
        if self._finish.is_set():  # the last one is just being put back
            with trio.move_on_after(PUT_BACK_S):
                await self._done.wait()
        if self._now is not None:
            raise RefusedError(
                f"{self._now.name} is being rehearsed", hint="Wait until it has been put back: 'appliance show ha'."
            )
        self._now = rehearsal = Rehearsal(name=request.name, device=request.device)
        self._finish, self._done = trio.Event(), trio.Event()
        self._patience = trio.CancelScope(deadline=trio.current_time() + ACT_S + request.seconds)
        _write(self._journal, rehearsal.to_text())
        self._tell(request.seconds)
        self._wake.set()
        self._ctx.log.info("rehearsal_begun", rehearsal=rehearsal.name, seconds=request.seconds)
        begun = time.time()
        try:
            with trio.fail_after(ACT_S):
                said = await self._happen(rehearsal)
        except BaseException:
            self._finish.set()
            raise
        self._patience.deadline = trio.current_time() + request.seconds
        return {"node": self._ctx.node.name, "rehearsal": rehearsal.name, "begun": rfc3339(begun), "result": said}

    async def end(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """`End`."""
        assert isinstance(request, End)
        rehearsal, done = self._now, self._done
        if rehearsal is None:
            return {"node": self._ctx.node.name, "rehearsal": None, "result": "nothing is rehearsed"}
        if request.at_once:
            self._finish.set()
        else:
            await self._finish.wait()
        with trio.move_on_after(PUT_BACK_S):
            await done.wait()
            return {"node": self._ctx.node.name, "rehearsal": rehearsal.name, "result": "it is put back"}
        raise ApplianceError(
            f"{rehearsal.name} could not be put back yet; it is tried every {RETRY_S:g} s",
            hint="See 'appliance show ha' and the log of this node for what is in the way.",
        )

    async def guard(self) -> None:
        """Put back what is over, for the life of the service."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            assert self._now is not None
            with self._patience:  # its deadline is set anew when the act is done
                await self._finish.wait()
            if not self._finish.is_set():
                self._ctx.log.warning("rehearsal_ran_out", rehearsal=self._now.name)
                self._finish.set()
            await self._put_back(self._now)

    async def _put_back(self, rehearsal: Rehearsal) -> None:
        failing = ""
        while True:
            try:
                with trio.fail_after(ACT_S):
                    await self._undo(rehearsal)
                break
            except _TROUBLE as error:
                why = str(error).partition("\n")[0] or type(error).__name__
            if why != failing:
                failing = why
                self._ctx.log.error("rehearsal_not_put_back", rehearsal=rehearsal.name, error=why)
                self._ctx.publish(_alarm(rehearsal, why))
            await trio.sleep(RETRY_S)
        self._journal.unlink(missing_ok=True)
        if failing:
            self._ctx.publish(_alarm(rehearsal, failing, active=False))
        self._ctx.log.info("rehearsal_put_back", rehearsal=rehearsal.name)
        self._now = None
        self._finish = trio.Event()
        self._done.set()
        self._tell()

    async def _happen(self, rehearsal: Rehearsal) -> str:
        match rehearsal.name:
            case "switchover":
                return await self._ctx.call(Switchover())
            case "maintenance":
                return await self._ctx.call(SetMaintenance(on=True))
            case "disable":
                return await self._ctx.call(SetEnabled(on=False))
        await self._set_link(rehearsal.device, False)
        return f"{rehearsal.device} is down"

    async def _undo(self, rehearsal: Rehearsal) -> None:
        """Does nothing to what is as it was."""
        match rehearsal.name:
            case "switchover":
                with contextlib.suppress(RefusedError):  # it has come to an end by itself
                    await self._ctx.call(Reclaim())
            case "maintenance":
                await self._ctx.call(SetMaintenance(on=False))
            case "disable":
                await self._ctx.call(SetEnabled(on=True))
            case _:
                await self._set_link(rehearsal.device, True)

    def _tell(self, seconds: float = 0.0) -> None:
        if self._now is None:
            self._ctx.publish(Status(summary="nothing is rehearsed"))
            return
        summary = f"{self._now.name} is being rehearsed, for {seconds:g} s at most"
        self._ctx.publish(Status(health=Health.WARN, summary=summary, fix="It is put back by itself."))


def _alarm(rehearsal: Rehearsal, why: str, *, active: bool = True) -> Alarm:
    by_hand = {"maintenance": "appliance ha maintenance off", "disable": "appliance ha enable"}
    by_hand["switchover"] = by_hand["disable"]
    fix = by_hand.get(rehearsal.name, f"ip link set {rehearsal.device} up")
    return Alarm(
        key="drill/not-put-back",
        active=active,
        health=Health.FAIL,
        what=f"the rehearsal {rehearsal.name} could not be put back: {why}",
        fix=f"It is tried every second. By hand: {fix}",
    )


def _write(path: Path, text: str) -> None:
    """On disk before anything happens."""
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def rfc3339(unix_time: float) -> str:
    """Seconds since 1970 as text in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
