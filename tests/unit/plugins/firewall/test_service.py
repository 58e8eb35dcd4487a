"""The service `log` with a packet log on paper: what it records, tells and answers."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError, UsageError
from appliance.events import Alarm, Count, GetCounters, Health, Request, RulesetLoaded, Status
from appliance.net.fastpath import system_error
from appliance.plugin import Service, hookimpl
from appliance.testing.harness import run_service
from appliance.testing.node import RunningNode
from appliance_firewall import service
from appliance_firewall.events import GetAliases, GetFirewall, GetFirewallLog, PacketBlocked
from appliance_firewall.service import BATCH, EVENT_EVERY_S, EVENTS_BURST, PAUSE_S, RETRY_S, DeviceNames, Tickets
from appliance_firewall.settings import FirewallSettings
from tests.unit.plugins.firewall.fakes import SETTINGS, WEB, PaperLog, logged, shown

NAMES = {1: "lo", 2: "wan0", 3: "lan0", 4: "wan0.v200", 5: "tun7"}
Body = Callable[[RunningNode], Awaitable[None]]


class Plugin:
    """Only the service."""

    api = (1, 0)
    settings: FirewallSettings = SETTINGS

    @hookimpl
    def appliance_services(self) -> list[Service]:
        return [Service(key="log", run=service.run, config=self.settings)]


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperLog]:
    log = PaperLog()
    monkeypatch.setattr(service, "PacketLog", log.open)
    monkeypatch.setattr(Plugin, "settings", SETTINGS)

    def name(index: int) -> str:
        if index not in NAMES:
            raise OSError(errno.ENXIO, "no such device")
        return NAMES[index]

    monkeypatch.setattr(socket, "if_indextoname", name)
    yield log
    log.close()


def on_a_node(body: Body) -> None:
    """Run the body next to the service, in virtual time."""

    async def main() -> None:
        async with run_service(Plugin) as node:
            await node.settled()
            await body(node)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def ask(node: RunningNode, *words: str, **values: Any) -> dict[str, Any]:
    standard: dict[str, Any] = {"limit": 100}
    return await node.call(GetFirewallLog(words=words, **standard | values))


async def entries(node: RunningNode, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await ask(node, *words))["entries"]
    return found


def counting(values: dict[str, Count]) -> Callable[[Request[Any]], Awaitable[Any]]:
    async def answer(_: Request[Any]) -> Any:
        return values

    return answer


# --- recording -------------------------------------------------------------------------------------------------


def test_a_packet_is_recorded_by_rule_and_interface(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged())
        await trio.sleep(1)
        [entry] = await entries(node)
        assert entry["time"] == "2023-11-14T22:13:20.250Z"
        assert (entry["rule"], entry["action"], entry["direction"]) == ("default_in", "block", "in")
        assert (entry["interface"], entry["out_interface"]) == ("wan", None)
        assert (entry["proto"], entry["src"], entry["sport"]) == ("udp", "203.0.113.7", 40000)

    on_a_node(body)


@pytest.mark.parametrize(
    ("hook", "indev", "outdev", "direction", "interface", "out_interface"),
    [
        (0, 3, 0, "in", "lan", None),
        (1, 4, 0, "in", "wan", None),
        (2, 3, 2, "forward", "lan", "wan"),
        (3, 0, 2, "out", "wan", None),
        (4, 0, 5, "out", "tun7", None),
        (1, 99, 0, "in", "#99", None),
        (77, 3, 0, "in", "lan", None),
    ],
)
def test_the_hook_tells_the_direction_and_the_devices_the_interfaces(
    paper: PaperLog, hook: int, indev: int, outdev: int, direction: str, interface: str, out_interface: str | None
) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged(hook=hook, indev=indev, outdev=outdev))
        await trio.sleep(1)
        [entry] = await entries(node)
        assert (entry["direction"], entry["interface"], entry["out_interface"]) == (direction, interface, out_interface)

    on_a_node(body)


@pytest.mark.parametrize(
    ("prefix", "rule", "action"),
    [
        ("fw_r_web:pass", "web", "pass"),
        ("fw_r_night:reject", "night", "reject"),
        ("fw_h_0123:block", "h_0123", "block"),
        ("mine", "mine", "block"),
        ("", "", "block"),
        ("x:y:z", "x", "block"),
    ],
)
def test_the_prefix_tells_rule_and_action(paper: PaperLog, prefix: str, rule: str, action: str) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged(prefix))
        await trio.sleep(1)
        [entry] = await entries(node)
        assert (entry["rule"], entry["action"]) == (rule, action)

    on_a_node(body)


def test_a_packet_without_a_time_has_the_one_at_which_it_was_read(
    paper: PaperLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_001.0)

    async def body(node: RunningNode) -> None:
        paper.put(logged(timestamp=0.0))
        await trio.sleep(1)
        assert (await entries(node))[0]["time"] == "2023-11-14T22:13:21.000Z"

    on_a_node(body)


def test_it_tells_since_when_the_rules_are_those_of_now(paper: PaperLog, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_700_000_001.0]
    monkeypatch.setattr(time, "time", lambda: now[0])

    async def body(node: RunningNode) -> None:
        assert (await ask(node))["rules_since"] == "2023-11-14T22:13:21.000Z"
        now[0] += 60
        node.publish(RulesetLoaded(generation=2, rules=1))
        await node.settled()
        assert (await ask(node))["rules_since"] == "2023-11-14T22:14:21.000Z"

    on_a_node(body)


def test_what_the_kernel_dropped_is_told(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged(), logged(missed=7))
        await trio.sleep(1)
        answer = await ask(node)
        assert [entry["suppressed"] for entry in answer["entries"]] == [0, 7]
        assert (answer["recorded"], answer["suppressed"]) == (2, 7)
        assert "log_suppressed_total 7" in node.metrics.exposition()

    on_a_node(body)


def test_a_flood_is_read_in_batches_with_pauses(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(*[logged() for _ in range(10 * BATCH)])
        await trio.sleep(4.5 * PAUSE_S)
        assert paper.drained == [BATCH] * 5

    on_a_node(body)


def test_packets_have_few_events_and_these_tell_how_many_have_none(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(*[logged() for _ in range(EVENTS_BURST + 5)])
        await trio.sleep(1)
        assert len(node.events(PacketBlocked)) == EVENTS_BURST
        await trio.sleep(EVENT_EVERY_S)
        paper.put(logged(missed=3), logged())
        await trio.sleep(1)
        last = node.events(PacketBlocked)[-1]
        assert len(node.events(PacketBlocked)) == EVENTS_BURST + 1
        assert last == PacketBlocked(
            rule="default_in", action="block", direction="in", interface="wan", protocol="udp", source="203.0.113.7",
            destination="192.168.1.10", source_port=40000, destination_port=53, suppressed=8,
        )  # fmt: skip

    on_a_node(body)


def test_a_packet_that_passes_has_no_event(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged("fw_r_web:pass"))
        await trio.sleep(1)
        assert len(await entries(node)) == 1
        assert node.events(PacketBlocked) == []

    on_a_node(body)


# --- failures --------------------------------------------------------------------------------------------------


def test_a_group_that_is_taken_is_an_alarm_until_it_is_free(paper: PaperLog) -> None:
    paper.errors.append(system_error(errno.EPERM, "cannot use packet log group 40"))

    async def body(node: RunningNode) -> None:
        [alarm] = node.events(Alarm)
        assert alarm.key == "firewall/log"
        assert alarm.what == "blocked packets are not recorded: cannot use packet log group 40: Operation not permitted"
        assert "CAP_NET_ADMIN" in alarm.fix
        assert node.retained(Status)[-1].health is Health.WARN
        answer = await ask(node)
        assert (answer["recording"], answer["error"], answer["remedy"]) == (False, alarm.what, alarm.fix)
        await trio.sleep(RETRY_S + 1)
        assert [each.active for each in node.events(Alarm)] == [True, False]
        assert node.retained(Status)[-1] == Status(health=Health.OK, summary="5 rules; what they log is recorded")
        assert (await ask(node))["error"] is None

    on_a_node(body)


def test_the_same_failure_is_told_once(paper: PaperLog) -> None:
    paper.errors += [system_error(errno.EOPNOTSUPP, "cannot use packet log group 40")] * 3

    async def body(node: RunningNode) -> None:
        await trio.sleep(RETRY_S * 2.5)
        assert len(node.events(Alarm)) == 1
        assert "reads packet logs" in node.events(Alarm)[0].fix

    on_a_node(body)


def test_a_log_that_breaks_is_opened_again_and_what_was_recorded_stays(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged())
        await trio.sleep(1)
        paper.break_once(system_error(errno.EIO, "cannot read packet log group 40"))
        await trio.sleep(RETRY_S + 1)
        assert paper.opened == 2
        paper.put(logged())
        await trio.sleep(1)
        assert [entry["seq"] for entry in await entries(node)] == [1, 2]
        assert node.log("packet_log_failed")[0]["why"] == "cannot read packet log group 40: Input/output error"

    on_a_node(body)


# --- answers ---------------------------------------------------------------------------------------------------


def test_the_log_can_be_filtered_by_words(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged(), logged("fw_r_web:pass", indev=3))
        await trio.sleep(1)
        assert [entry["rule"] for entry in await entries(node, "wan")] == ["default_in"]
        assert [entry["rule"] for entry in await entries(node, "web", "udp")] == ["web"]
        with pytest.raises(UsageError, match="'wam' is no filter"):
            await entries(node, "wam")

    on_a_node(body)


def test_the_last_entries_are_shown_when_there_are_more_than_asked_for(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(*[logged() for _ in range(5)])
        await trio.sleep(1)
        answer = await ask(node, limit=2)
        assert [entry["seq"] for entry in answer["entries"]] == [4, 5]
        assert answer["last_seq"] == 5

    on_a_node(body)


def test_who_follows_waits_until_something_matches(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        answers: list[dict[str, Any]] = []

        async def follow() -> None:
            answers.append(await ask(node, "lan", after=0, wait_s=30))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.sleep(1)
            paper.put(logged())
            await trio.sleep(1)
            assert answers == []
            paper.put(logged(indev=3))
        assert [entry["seq"] for entry in answers[0]["entries"]] == [2]
        assert answers[0]["last_seq"] == 2

    on_a_node(body)


def test_several_may_follow_and_none_misses_anything(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        seen: dict[str, list[int]] = {"a": [], "b": []}

        async def follow(name: str, pause_s: float) -> None:
            after = 0
            while len(seen[name]) < 6:
                answer = await ask(node, after=after, wait_s=30)
                seen[name] += [entry["seq"] for entry in answer["entries"]]
                after = answer["last_seq"]
                await trio.sleep(pause_s)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, "a", 0.0)
            nursery.start_soon(follow, "b", 1.7)
            for _ in range(6):
                await trio.sleep(1)
                paper.put(logged())
        assert seen == {"a": [1, 2, 3, 4, 5, 6], "b": [1, 2, 3, 4, 5, 6]}

    on_a_node(body)


def test_who_follows_in_vain_is_answered_after_the_time_asked_for(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        began = trio.current_time()
        answer = await ask(node, after=0, wait_s=20)
        assert answer["entries"] == []
        assert trio.current_time() - began == pytest.approx(20)

    on_a_node(body)


def test_who_is_behind_gets_the_next_entries_in_parts(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(*[logged() for _ in range(3)])
        await trio.sleep(1)
        first = await ask(node, after=0, limit=2)
        second = await ask(node, after=first["last_seq"], limit=2)
        assert [entry["seq"] for answer in (first, second) for entry in answer["entries"]] == [1, 2, 3]

    on_a_node(body)


def test_a_number_from_before_a_restart_means_from_the_beginning(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged())
        await trio.sleep(1)
        assert [entry["seq"] for entry in (await ask(node, after=500))["entries"]] == [1]

    on_a_node(body)


def test_rules_are_told_with_their_hits(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        hits = {"fw_r_web": Count(packets=3, bytes=180)}
        with node.bus.serve(GetCounters, counting(hits), source="core"):
            answer = await node.call(GetFirewall(limit=100))
        assert [(rule["id"], rule["packets"]) for rule in answer["rules"]] == [
            ("lockout", 0), ("carp", 0), ("web", 3), ("night", 0), ("off", None), ("default_in", 0),
        ]  # fmt: skip

    on_a_node(body)


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), ApplianceError("nft refused", hint="look")])
def test_rules_are_told_without_hits_when_counting_fails(paper: PaperLog, failure: Exception) -> None:
    async def refuse(_: Request[Any]) -> Any:
        raise failure

    async def body(node: RunningNode) -> None:
        with node.bus.serve(GetCounters, refuse, source="core"):
            answer = await node.call(GetFirewall(limit=100))
        assert answer["counted"] is False
        assert answer["rules"][0]["packets"] is None
        assert node.log("counters_unknown")

    on_a_node(body)


def test_rules_are_told_without_hits_when_nobody_counts(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        assert (await node.call(GetFirewall(limit=100)))["counted"] is False

    on_a_node(body)


def test_rules_are_told_without_hits_when_counting_takes_too_long(paper: PaperLog) -> None:
    async def sleep(_: Request[Any]) -> Any:
        await trio.sleep_forever()

    async def body(node: RunningNode) -> None:
        with node.bus.serve(GetCounters, sleep, source="core"):
            assert (await node.call(GetFirewall(limit=100)))["counted"] is False

    on_a_node(body)


def test_aliases_are_told(paper: PaperLog) -> None:
    async def body(node: RunningNode) -> None:
        answer = await node.call(GetAliases())
        assert [alias["name"] for alias in answer["aliases"]] == ["mail", "web", "loop"]

    on_a_node(body)


def test_a_reload_changes_rules_and_devices_and_keeps_the_log(paper: PaperLog, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(node: RunningNode) -> None:
        paper.put(logged("fw_r_new:block"))
        await trio.sleep(1)
        changed = replace(SETTINGS, rules=(WEB, shown("fresh", counter="fw_r_new")), devices=(("wan0", "uplink"),))
        monkeypatch.setattr(Plugin, "settings", changed)
        await node.reload({})
        paper.put(logged("fw_r_new:block"))
        await trio.sleep(1)
        found = await entries(node)
        assert [(entry["rule"], entry["interface"]) for entry in found] == [("r_new", "wan"), ("fresh", "uplink")]
        assert node.retained(Status)[-1].summary == "2 rules; what they log is recorded"
        assert paper.opened == 1

    on_a_node(body)


# --- parts -----------------------------------------------------------------------------------------------------


def test_a_device_may_be_renamed_and_its_number_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    names = {2: "wan0"}

    def name(index: int) -> str:
        asked.append(index)
        return names[index]

    monkeypatch.setattr(socket, "if_indextoname", name)
    known = DeviceNames()
    assert [known.of(2, 10.0), known.of(2, 10.5)] == ["wan0", "wan0"]
    names[2] = "lan0"
    assert [known.of(2, 10.9), known.of(2, 11.0)] == ["wan0", "lan0"]
    assert asked == [2, 2]


def test_tickets_come_in_a_burst_and_then_one_by_one() -> None:
    tickets = Tickets(burst=2, every_s=10)
    assert [tickets.take(now) for now in (100, 100, 100, 105, 110.5, 111)] == [True, True, False, False, True, False]
    assert [tickets.take(now) for now in (900, 900, 900)] == [True, True, False]
