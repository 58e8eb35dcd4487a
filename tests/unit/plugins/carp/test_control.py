"""Role control: who is refused and why, what is remembered over which restart, and what is told in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing

from appliance.errors import RefusedError
from appliance.events import HandoverMeasured, Reclaim, SetEnabled, SetMaintenance, Switchover
from appliance_carp import control as module
from appliance_carp import staging
from appliance_carp.control import SETTLE_S, TAKEN_OVER_S, RoleControl
from appliance_carp.events import GetCarp
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import LAN, WAN, Peer, Rig

MakeRig = Callable[..., Rig]
R = TypeVar("R")
FOLLOW_S = 0.030


class Console:
    """A running station, and a peer that may follow."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.peer = Peer()
        self.refreshed = 0
        self.control = RoleControl(rig.station, trio.current_time, self._after)

    def _after(self) -> None:
        self.refreshed += 1

    @property
    def words(self) -> list[str]:
        return sorted(path.name for path in self.rig.ctx.state_dir.iterdir() if path.name != staging.FILE)

    async def drive(self) -> None:
        """The timer of the service, punctual to a few milliseconds."""
        while True:
            await trio.sleep(0.005)
            self.rig.now = trio.current_time()
            self.rig.station.perform(self.rig.machine.tick(self.rig.now))

    async def follow(self) -> None:
        """The peer becomes MASTER a moment later."""
        await trio.sleep(FOLLOW_S)
        self.rig.now = trio.current_time()
        self.rig.take("lan", self.peer.advert(LAN))
        self.rig.take("wan", self.peer.advert(WAN))


def run(make_rig: MakeRig, story: Callable[[Console], Awaitable[R]], *, peer: bool = True, master: bool = True) -> R:
    """A story on a node that is MASTER of everything, with a healthy peer."""

    async def main() -> R:
        await trio.sleep(100)
        rig = make_rig(now=trio.current_time()).plugged()
        if master:
            await trio.sleep(7)
            rig.master()
        console = Console(rig)
        if peer:
            rig.take("lan", console.peer.hello())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.drive)
            result = await story(console)
            nursery.cancel_scope.cancel()
        return result

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def both(console: Console, asked: Callable[[], Awaitable[str]]) -> str:
    """A request, while the peer follows."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.follow)
        return await asked()


# --- switchover --------------------------------------------------------------------------------------------


def test_a_switchover_is_measured_and_told(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        said = await both(console, lambda: console.control.switchover(Switchover()))
        first, how_long = said.split("\n")
        assert first == "2 virtual hosts handed over to fw2 in 30.0 ms"
        assert "`appliance ha enable` on it lets it come back" in how_long
        await trio.sleep(0.02)
        assert console.rig.states() == {State.BACKUP}
        (measured,) = console.rig.ctx.events(HandoverMeasured)
        assert (measured.to, measured.duration_ms) == ("fw2", pytest.approx(30.0))
        assert console.refreshed >= 1
        assert console.rig.station.herald.hello_due, "the peers are told at once"

    run(make_rig, story)


def test_without_anybody_to_take_over_a_switchover_is_refused_with_the_reason(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        with pytest.raises(RefusedError, match=r"will not switch over: .*no other node is heard") as caught:
            await console.control.switchover(Switchover())
        assert "--force" in caught.value.hint
        assert console.rig.states() == {State.MASTER}

    run(make_rig, story, peer=False)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"maintenance": True}, "fw2: in maintenance"),
        ({"enabled": False}, "fw2: disabled by command"),
        ({"demotion": 240}, "fw2: BACKUP, demotion 240"),
    ],
)
def test_a_peer_that_is_not_healthy_is_named_with_what_it_has(
    make_rig: MakeRig, state: dict[str, int], why: str
) -> None:
    async def story(console: Console) -> None:
        console.rig.take("lan", console.peer.hello(**state))
        for asked in (
            console.control.switchover(Switchover()),
            console.control.set_maintenance(SetMaintenance(on=True)),
            console.control.set_enabled(SetEnabled(on=False)),
        ):
            with pytest.raises(RefusedError, match=why):
                await asked
        assert console.rig.states() == {State.MASTER}
        assert (console.words, console.rig.station.maintenance, console.rig.station.enabled) == ([], False, True)

    run(make_rig, story)


def test_who_has_just_bowed_out_is_no_successor_until_it_is_heard_again(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        rig = console.rig
        rig.take("lan", console.peer.advert(advskew=200), console.peer.bow_out())
        with pytest.raises(RefusedError, match="no healthy peer would take over"):
            await console.control.switchover(Switchover())
        rig.take("lan", console.peer.hello())
        await both(console, lambda: console.control.switchover(Switchover()))

    run(make_rig, story)


def test_a_node_that_is_master_of_nothing_has_nothing_to_hand_over(make_rig: MakeRig) -> None:
    async def story(console: Console) -> str:
        return await console.control.switchover(Switchover())

    assert run(make_rig, story, master=False) == "nothing to hand over: this node is MASTER of nothing"


def test_addresses_that_nobody_takes_are_taken_back_within_a_second(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        start = trio.current_time()
        with pytest.raises(RefusedError, match="nobody took over"):
            await console.control.switchover(Switchover())
        assert trio.current_time() - start <= TAKEN_OVER_S
        assert console.rig.states() == {State.MASTER}
        assert not console.rig.machine.resigned
        assert console.rig.ctx.events(HandoverMeasured) == []

    run(make_rig, story)


def test_by_force_the_node_lets_go_and_tells_when_it_had_to_come_back(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        start = trio.current_time()
        with pytest.raises(RefusedError, match="nobody took over: this node is MASTER again"):
            await console.control.switchover(Switchover(force=True))
        assert TAKEN_OVER_S < trio.current_time() - start < SETTLE_S

    run(make_rig, story, peer=False)


def test_half_a_handover_is_not_one(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        async def half() -> None:
            await trio.sleep(FOLLOW_S)
            console.rig.now = trio.current_time()
            console.rig.take("lan", console.peer.advert(LAN))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(half)
            with pytest.raises(RefusedError, match="nobody took over"):
                await console.control.switchover(Switchover())

    run(make_rig, story)


def test_a_switchover_can_be_ended_once(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        with pytest.raises(RefusedError, match="no switchover to end"):
            await console.control.reclaim(Reclaim())
        await both(console, lambda: console.control.switchover(Switchover()))
        assert await console.control.reclaim(Reclaim()) == "this node may become MASTER again"
        with pytest.raises(RefusedError, match="no switchover to end"):
            await console.control.reclaim(Reclaim())

    run(make_rig, story)


def test_one_role_change_at_a_time(make_rig: MakeRig) -> None:
    async def story(console: Console) -> list[str]:
        said: list[str] = []

        async def ask() -> None:
            said.append(await console.control.switchover(Switchover()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            nursery.start_soon(console.follow)
        return sorted(said)

    first, second = run(make_rig, story)
    assert first.startswith("2 virtual hosts handed over")
    assert second == "nothing to hand over: this node is MASTER of nothing"


# --- maintenance -------------------------------------------------------------------------------------------


def test_maintenance_hands_over_and_is_remembered_until_it_is_switched_off(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        control, state_dir = console.control, console.rig.ctx.state_dir
        assert not control.wants_maintenance(state_dir)
        said = await both(console, lambda: control.set_maintenance(SetMaintenance(on=True)))
        assert said == "maintenance is on; 2 virtual hosts handed over to fw2 in 30.0 ms"
        assert control.wants_maintenance(state_dir)
        assert console.rig.machine.reasons == {"maintenance": 240}
        assert await control.set_maintenance(SetMaintenance(on=True)) == "maintenance is already on"
        assert await control.set_maintenance(SetMaintenance(on=False)) == (
            "maintenance is off; this node takes part again"
        )
        assert not control.wants_maintenance(state_dir)
        assert await control.set_maintenance(SetMaintenance(on=False)) == "maintenance is already off"

    run(make_rig, story)


def test_maintenance_that_nobody_follows_is_not_entered(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        with pytest.raises(RefusedError, match="nobody took over"):
            await console.control.set_maintenance(SetMaintenance(on=True))
        assert (console.words, console.rig.station.maintenance) == ([], False)
        assert console.rig.states() == {State.MASTER}
        assert console.rig.machine.reasons == {}

    run(make_rig, story)


def test_a_backup_enters_maintenance_without_asking_anybody(make_rig: MakeRig) -> None:
    async def story(console: Console) -> str:
        return await console.control.set_maintenance(SetMaintenance(on=True))

    assert run(make_rig, story, peer=False, master=False) == "maintenance is on"


# --- disable -----------------------------------------------------------------------------------------------


def test_disabling_hands_over_and_is_remembered_for_this_run_of_the_node(make_rig: MakeRig) -> None:
    async def story(console: Console) -> None:
        control, state_dir = console.control, console.rig.ctx.state_dir
        said = await both(console, lambda: control.set_enabled(SetEnabled(on=False)))
        assert said.startswith("CARP is disabled on this node until the next start; 2 virtual hosts handed over to fw2")
        await trio.sleep(0.1)
        assert console.rig.states() == {State.DISABLED}
        assert control.was_disabled(state_dir)
        assert await control.set_enabled(SetEnabled(on=False)) == "CARP is already disabled on this node"
        assert await control.set_enabled(SetEnabled(on=True)) == "CARP is enabled; this node takes part again"
        assert not control.was_disabled(state_dir)
        assert console.rig.states() == {State.BACKUP}

    run(make_rig, story)


def test_disabled_is_kept_over_a_restart_of_the_heartbeat_process_and_not_over_one_of_the_node(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(console: Console) -> None:
        await both(console, lambda: console.control.set_enabled(SetEnabled(on=False)))

    rig: list[Rig] = []
    run(lambda **how: rig.append(make_rig(**how)) or rig[0], story)
    state_dir = rig[0].ctx.state_dir
    monkeypatch.setattr(module.os, "getpid", lambda: 4711)
    assert RoleControl.was_disabled(state_dir), "another heartbeat process of the same node"
    monkeypatch.setattr(module.os, "getppid", lambda: 4712)
    assert not RoleControl.was_disabled(state_dir), "another node"


def test_a_node_with_the_same_process_number_as_before_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.this_run()
    read = Path.read_text

    def later(path: Path) -> str:
        text = read(path)
        if path.name != "stat":
            return text
        head, end, rest = text.rpartition(")")
        fields = rest.split()
        return f"{head}{end} {' '.join([*fields[:19], str(int(fields[19]) + 1), *fields[20:]])}"

    assert module.this_run() == before
    monkeypatch.setattr(Path, "read_text", later)
    assert module.this_run() != before, "in a container every node may be process 1"


def test_by_force_disabling_is_done_and_the_truth_is_told(make_rig: MakeRig) -> None:
    async def story(console: Console) -> str:
        return await console.control.set_enabled(SetEnabled(on=False, force=True))

    assert run(make_rig, story, peer=False) == (
        "CARP is disabled on this node until the next start; "
        f"not settled after {SETTLE_S:g} s: nobody is heard as MASTER of all 2 virtual hosts"
    )


def test_the_state_is_told_on_request(make_rig: MakeRig) -> None:
    async def story(console: Console) -> dict[str, object]:
        return await console.control.get(GetCarp())

    assert run(make_rig, story)["node"] == "fw1"
