"""The tasks of the heartbeat service, each on its own and in virtual time."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import KernelError
from appliance.events import Alarm, Demotion, Event, Retracted, Status
from appliance.identity.remedy import PAIR
from appliance.net import fastpath, frames
from appliance_carp import heartbeat as module
from appliance_carp.devices import Devices
from appliance_carp.heartbeat import BEAT_S, DRAIN_MAX, SLACK_S, GateClosedByGuard, HeartbeatService, incarnation
from appliance_carp.hello import HelloKey
from appliance_carp.peers import SILENT_S
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import LAN, VIPS, Peer, Rig, carp, framed, hellos_in, vip

MakeRig = Callable[..., Rig]


class Running:
    """A service whose tasks are started one by one."""

    def __init__(self, rig: Rig, nursery: trio.Nursery) -> None:
        self.rig = rig
        self.nursery = nursery
        self.service = HeartbeatService(rig.ctx, rig.station, rig.station.settings)  # type: ignore[arg-type]
        self.service._nursery = nursery

    def start(self, *tasks: str) -> None:
        for task in tasks:
            self.nursery.start_soon(getattr(self.service, task))


Story = Callable[[Running], Awaitable[None]]


@pytest.fixture
def tell(make_rig: MakeRig) -> Callable[..., None]:
    """Tells a story on a station that listens."""

    def run(story: Story, *vips: Any, **how: Any) -> None:
        async def main() -> None:
            await trio.sleep(100)
            rig = make_rig(*vips, now=trio.current_time(), **how).plugged()
            async with trio.open_nursery() as nursery:
                await story(Running(rig, nursery))
                nursery.cancel_scope.cancel()

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    return run


# --- the number of a start ---------------------------------------------------------------------------------


def test_every_start_has_a_higher_number_also_when_the_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([2000.0, 1000.0, 3000.0])
    monkeypatch.setattr(module.time, "time", lambda: next(clock))
    assert [incarnation(tmp_path) for _ in range(3)] == [2_000_000, 2_000_001, 3_000_000]


@pytest.mark.parametrize("content", ["", "garbage", "12 monkeys"])
def test_a_damaged_file_costs_nothing_but_the_memory(tmp_path: Path, content: str) -> None:
    (tmp_path / "incarnation").write_text(content)
    first = incarnation(tmp_path)
    assert first > 1_700_000_000_000
    assert incarnation(tmp_path) > first


# --- time --------------------------------------------------------------------------------------------------


def test_a_master_that_is_not_heard_any_more_is_replaced_in_time(tell: Callable[..., None]) -> None:
    async def story(running: Running) -> None:
        running.start("_timers")
        await trio.sleep(2.9)
        assert running.rig.states() == {State.BACKUP}
        await trio.sleep(0.2)
        assert running.rig.states() == {State.MASTER}

    tell(story)


def test_an_advert_that_waits_in_the_socket_is_taken_before_its_sender_is_declared_dead(
    tell: Callable[..., None],
) -> None:
    async def story(running: Running) -> None:
        running.start("_timers")
        peer = Peer()
        await trio.sleep(2.9)
        running.rig.sockets("lan")[0].inbox.append(peer.advert())
        running.rig.sockets("wan")[0].inbox.append(peer.advert(("wan", 2)))
        await trio.sleep(0.2)
        assert running.rig.states() == {State.BACKUP}
        assert running.rig.counters(LAN)["received"] == 1

    tell(story)


def test_a_nearer_deadline_brings_the_timer_forward(tell: Callable[..., None]) -> None:
    async def story(running: Running) -> None:
        running.start("_timers")
        rig, peer = running.rig, Peer(*(replace(each, fast=True) for each in VIPS))
        await trio.testing.wait_all_tasks_blocked()
        rig.now = trio.current_time()
        rig.take("lan", peer.hello(fast=True), *(peer.advert(advbase=0, advskew=26) for _ in range(2)))
        running.service._after()
        await trio.sleep(0.5)
        assert rig.state(LAN) is State.MASTER, "three fast intervals, not three seconds"

    tell(story, *(replace(each, fast=True) for each in VIPS))


@pytest.mark.parametrize(
    ("vips", "slack_s"),
    [
        ([VIPS[0]], SLACK_S),
        ([replace(VIPS[0], fast=True)], 0.1 / 8),
        ([vip("lan", 1, "192.168.1.1/24", advbase=0, advskew=13)], 13 / 256 / 8),
    ],
)
def test_wake_ups_are_gathered_but_never_over_an_eighth_of_a_heartbeat(
    tell: Callable[..., None], vips: list[Any], slack_s: float
) -> None:
    async def story(running: Running) -> None:
        running.service._measure_shortest()
        assert running.service._slack_s() == pytest.approx(slack_s)

    tell(story, *vips)


def test_many_deadlines_in_a_row_are_served_by_few_wake_ups(
    tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(running: Running) -> None:
        served: list[float] = []
        monkeypatch.setattr(running.service, "_drain_port", lambda port: served.append(trio.current_time()))
        await trio.sleep(7)
        running.rig.master()
        running.start("_timers")
        await trio.sleep(5)
        wakes = sorted(set(served))
        assert min(after - before for before, after in itertools.pairwise(wakes)) >= SLACK_S - 1e-9
        assert running.rig.counters(("lan", 1))["sent"] >= 5

    tell(story, *(vip(f"v{n}", n, f"192.168.1.{n}/24", interface="lan") for n in range(1, 200)), ports=("lan",))


# --- the second-beat ---------------------------------------------------------------------------------------


@pytest.fixture
def ruled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whether the drop rule has to be restored: one entry for each time that it was gone."""
    gone: list[int] = []

    def restore(kernel: object, vmacs: object) -> bool:
        return bool(gone) and bool(gone.pop())

    monkeypatch.setattr(module.datapath, "restore_drop_rule", restore)
    return gone


def test_the_beat_greets_every_second_and_tells_the_guard_twice(
    tell: Callable[..., None], ruled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[float] = []

    async def story(running: Running) -> None:
        monkeypatch.setattr(type(running.rig.station.ledger), "beat", lambda _, now: beats.append(now))
        running.rig.station.herald.hello_due = False
        running.start("_beat")
        await trio.sleep(10 * BEAT_S - 0.1)
        assert len(beats) == 10
        assert len(hellos_in(running.rig.sockets("sync")[0].sent)) == 5

    tell(story)


def test_a_peer_that_falls_silent_is_an_alarm_within_a_second(tell: Callable[..., None], ruled: list[int]) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.now = trio.current_time()
        rig.take("lan", Peer().hello())
        running.start("_beat")
        await trio.sleep(SILENT_S)
        assert rig.ctx.events(Alarm) == []
        await trio.sleep(1)
        assert [(alarm.key, alarm.active) for alarm in rig.ctx.events(Alarm)] == [("carp/peer-lost/fw2", True)]
        await trio.sleep(60)
        assert len(rig.ctx.events(Alarm)) == 1, "it stands as long as the peer is missing"

    tell(story)


def test_a_restored_drop_rule_is_logged(tell: Callable[..., None], ruled: list[int]) -> None:
    async def story(running: Running) -> None:
        ruled.append(1)
        running.start("_beat")
        await trio.sleep(3)
        assert len(running.rig.ctx.log.named("carp_drop_rule_restored")) == 1

    tell(story)


def test_a_change_of_password_is_settled_when_its_window_is_over(tell: Callable[..., None], ruled: list[int]) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.now = trio.current_time()
        rig.take("lan", Peer().hello())
        changed = [replace(each, password="other") for each in VIPS]
        rig.station.reconfigure(carp(*changed), rig.now)
        running.start("_beat")
        rig.take("lan", Peer(*changed).hello(incarnation=2))
        assert [host.transaction.is_open for host in rig.station.hosts.values()] == [False, False]
        await trio.sleep(59)
        assert rig.station.hosts[LAN].is_changing
        await trio.sleep(2)
        assert rig.ctx.log.named("carp_change_settled") == [{"vips": "lan wan"}]

    tell(story)


@pytest.mark.parametrize("task", ["_beat", "_timers"])
def test_a_process_whose_gates_were_closed_by_its_guard_starts_anew(
    make_rig: MakeRig, ruled: list[int], task: str
) -> None:
    async def main() -> None:
        await trio.sleep(100)
        rig = make_rig(now=trio.current_time()).plugged()
        async with trio.open_nursery() as nursery:
            running = Running(rig, nursery)
            rig.station.ledger.fenced = True
            running.start(task)
            await trio.sleep(10)

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [type(error) for error in caught.value.exceptions] == [GateClosedByGuard]


# --- after every step --------------------------------------------------------------------------------------


def test_after_a_step_the_bus_and_the_peers_know(tell: Callable[..., None]) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.station.reasons["send:lan"] = 240
        running.service._after()
        assert [(event.reason, event.weight) for event in rig.ctx.events(Demotion)] == [("send:lan", 240)]
        assert len(rig.ctx.events(Status)) == 1
        assert [said.demotion for said in hellos_in(rig.sockets("sync")[0].sent)] == [240]
        running.service._after()
        assert len(rig.ctx.events(Demotion)) == 1
        assert len(hellos_in(rig.sockets("sync")[0].sent)) == 1, "nothing new, nothing said"

    tell(story)


# --- frames ------------------------------------------------------------------------------------------------


def test_a_flood_on_one_socket_is_taken_in_portions(tell: Callable[..., None]) -> None:
    async def story(running: Running) -> None:
        ipv4 = running.rig.sockets("lan")[0]
        ipv4.inbox = [framed(b"\x21\x01" + bytes(40), "192.168.1.9")] * (DRAIN_MAX + 7)
        running.service._drain_port(running.rig.station.ports["lan"])
        assert len(ipv4.inbox) == 7
        assert running.rig.counters(LAN)["bad_sum"] == DRAIN_MAX

    tell(story)


def test_every_socket_is_read_as_what_it_is(tell: Callable[..., None]) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.now = trio.current_time()
        ipv4, ipv6, arp = rig.sockets("lan")
        dual = Peer(replace(VIPS[0]))
        ipv4.inbox.append(dual.advert())
        ipv6.inbox.append(dual.advert(family=6))
        rig.station.answered = {"192.168.1.3": -math.inf}
        arp.inbox.append(frames.gratuitous_arp(b"\x02" * 6, IPv4Address("192.168.1.3")))
        running.service._drain_port(rig.station.ports["lan"])
        assert rig.counters(LAN)["received"] == 2
        assert rig.station.answered["192.168.1.3"] == trio.current_time()

    tell(story)


def test_a_port_whose_device_is_gone_has_nothing_to_drain(tell: Callable[..., None]) -> None:
    async def story(running: Running) -> None:
        port = running.rig.station.ports["lan"]
        port.detach()
        running.service._drain_port(port)

    tell(story)


# --- what others want --------------------------------------------------------------------------------------


async def heard(*events: Event) -> AsyncIterator[Event]:
    for event in events:
        yield event


def test_demotion_of_other_services_is_followed_and_withdrawn(tell: Callable[..., None]) -> None:
    kind = f"{Demotion.__module__}:{Demotion.__qualname__}"

    async def story(running: Running) -> None:
        rig = running.rig
        await running.service._demotions(
            heard(Demotion(reason="gateway", weight=100), Demotion(reason="bulk", weight=8))
        )
        assert (rig.station.reasons, rig.machine.demotion) == ({"gateway": 100, "bulk": 8}, 108)
        await running.service._demotions(heard(Demotion(reason="gateway", weight=0)))
        assert rig.station.reasons == {"bulk": 8}
        await running.service._demotions(heard(Retracted(event_type=kind, key=("bulk",), source="pfsync/states")))
        assert (rig.station.reasons, rig.machine.demotion) == ({}, 0)

    tell(story)


def test_our_own_reasons_do_not_come_back_to_us_over_the_bus(tell: Callable[..., None]) -> None:
    async def story(running: Running) -> None:
        own = [Demotion(reason=name, weight=240) for name in ("link:lan", "send:wan", "maintenance")]
        await running.service._demotions(heard(*own, Retracted(event_type="x:Status", key=("gateway",), source="y")))
        assert (running.rig.station.reasons, running.rig.machine.demotion) == ({}, 0)

    tell(story)


def test_a_reload_that_changes_nothing_moves_nothing(
    tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.master()
        monkeypatch.setattr(type(rig.station), "renew_guard", lambda self: None)
        monkeypatch.setattr(fastpath, "Monitor", lambda *groups: None)
        running.service._devices = Devices(rig.station, running.nursery, running.service._listen, lambda: None)
        before = (list(rig.kernel.journal), rig.counters(LAN)["transitions"])
        await running.service._reload(rig.station.settings)
        assert (rig.kernel.journal, rig.counters(LAN)["transitions"]) == before
        assert rig.states() == {State.MASTER}

    tell(story)


def test_keys_of_the_pairing_bring_in_virtual_hosts_that_had_no_password(
    tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.master()
        monkeypatch.setattr(type(rig.station), "renew_guard", lambda self: None)
        monkeypatch.setattr(fastpath, "Monitor", lambda *groups: None)
        running.service._devices = Devices(rig.station, running.nursery, running.service._listen, lambda: None)
        open_one = vip("open", 9, "192.168.1.9/24", interface="lan", password="")
        await running.service._reload(carp(*VIPS, open_one))
        assert (rig.station.left_out, len(rig.station.hosts)) == (1, 2)
        status = rig.ctx.events(Status)[-1]
        assert "1 without a password" in status.summary
        assert status.fix == PAIR
        rig.station.paired.passwords, rig.station.paired.hellos = (b"p" * 32,), (b"h" * 32,)
        running.service._take_keys()
        assert (rig.station.left_out, len(rig.station.hosts["lan", 9].settings.password)) == (0, 19)
        assert rig.station.herald.keys.spoken == (HelloKey(b"h" * 32),)
        rig.station.paired.problem = "broken"
        running.service._take_keys()
        assert rig.ctx.log.named("carp_keys") == [{"problem": "broken"}]
        assert rig.states() >= {State.MASTER}

    tell(story)


# --- the end -----------------------------------------------------------------------------------------------


def test_leaving_bows_out_holds_closes_and_removes_in_this_order(
    tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.master()
        monkeypatch.setattr(module.datapath, "remove_drop_rule", lambda: rig.kernel.journal.append("table removed"))
        rig.kernel.journal.clear()
        start = trio.current_time()
        await running.service._leave()
        assert trio.current_time() - start == pytest.approx(0.02)
        assert rig.states() == {State.INIT}
        first_close = rig.kernel.journal.index("drop lan0.v1")
        removed = rig.kernel.journal.index("link - lan0.v1")
        assert first_close < removed < rig.kernel.journal.index("table removed") == len(rig.kernel.journal) - 1
        assert not any(vmac.is_open for vmac in rig.station.vmacs.values())

    tell(story)


def test_a_process_that_its_guard_has_spoken_for_leaves_without_a_word(
    tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(running: Running) -> None:
        rig = running.rig
        rig.master()
        monkeypatch.setattr(module.datapath, "remove_drop_rule", lambda: None)
        said = [socket for name in ("lan", "wan", "sync") for socket in rig.sockets(name)]
        for socket in said:
            socket.sent.clear()
        rig.station.ledger.fenced = True
        await running.service._leave()
        assert not any(socket.sent for socket in said), "a peer has the virtual MACs by now"
        assert not [name for name in rig.kernel.route.links.values() if ".v" in name.name]

    tell(story)


def test_a_socket_that_closes_just_when_its_reader_wakes_up_ends_the_reader_and_nothing_else(
    tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(running: Running) -> None:
        port, socket = running.rig.station.ports["lan"], running.rig.sockets("lan")[0]

        async def wait_readable(fd: int) -> None:
            assert fd >= 0
            await trio.lowlevel.checkpoint()
            port.detach()
            monkeypatch.setattr(socket, "fileno", lambda: -1)

        monkeypatch.setattr(module.trio.lowlevel, "wait_readable", wait_readable)
        with trio.fail_after(5):
            await running.service._receive(port, socket)  # type: ignore[arg-type]

    tell(story)


def test_an_nft_that_refuses_is_told_once_and_tried_again(
    tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [True, True, True, False]

    def restore(kernel: object, vmacs: object) -> bool:
        if refusals.pop(0):
            raise KernelError("nft refused", hint="look")
        refusals.append(False)
        return True

    async def story(running: Running) -> None:
        monkeypatch.setattr(module.datapath, "restore_drop_rule", restore)
        running.start("_beat")
        await trio.sleep(4 * BEAT_S - 0.1)
        log = running.rig.ctx.log
        assert log.named("carp_drop_rule_missing") == [{"error": "nft refused", "hint": "look"}]
        assert len(log.named("carp_drop_rule_restored")) == 1

    tell(story)
