"""What people type and read: rules, the log, aliases, and words for a service that is not there."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import trio.testing

from appliance.console.grammar import Grammar
from appliance.errors import ApplianceError, UsageError
from appliance.events import Count, Event, Request, RulesetLoaded
from appliance.plugin import Node, NoProvider
from appliance_firewall import report
from appliance_firewall.commands import (
    ANSWER_S,
    COMMANDS,
    ENTRIES,
    ENTRIES_MAX,
    FOLLOW_PAUSE_S,
    FOLLOW_S,
    MEMBERS_SHOWN,
    RULES,
    RULES_MAX,
)
from appliance_firewall.events import GetAliases, GetFirewall, GetFirewallLog
from appliance_firewall.schedule import make
from tests.unit.plugins.firewall.fakes import SETTINGS

LOADED = RulesetLoaded(generation=1, rules=12)
HITS = {"fw_r_web": Count(packets=3, bytes=180), "fw_default_in": Count(packets=70_000, bytes=4_200_000)}
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NIGHTS = replace(SETTINGS, schedules=(make("night", (), ("22:00-06:00",)),))
RULESET = report.rules(NIGHTS, HITS, interface=None, limit=100, now=NOON)
ROW: dict[str, Any] = {
    "time": "2023-11-14T22:13:20.250Z", "seq": 1, "rule": "default_in", "action": "block", "direction": "in",
    "interface": "wan", "out_interface": None, "family": 4, "proto": "tcp", "src": "203.0.113.7", "sport": 40000,
    "dst": "192.168.1.10", "dport": 443, "icmp": "", "flags": "S", "length": 60, "fragment": False,
    "malformed": False, "suppressed": 0,
}  # fmt: skip


def log(*rows: dict[str, Any], **values: Any) -> dict[str, Any]:
    last = rows[-1]["seq"] if rows else 0
    standard: dict[str, Any] = {"recording": True, "error": None, "remedy": None, "last_seq": last}
    return standard | {"entries": list(rows)} | values


class Console:
    """A command's world: answers each request in turn, keeps what was asked."""

    node = Node(name="fw1")

    def __init__(self, *answers: Any, facts: Sequence[Event] = (LOADED,)) -> None:
        self.answers = list(answers)
        self.facts = facts
        self.asked: list[Request[Any]] = []
        self.times: list[float] = []

    async def call(self, request: Request[Any]) -> Any:
        self.asked.append(request)
        self.times.append(trio.current_time())
        answer = self.answers.pop(0) if self.answers else NoProvider(type(request).__name__)
        if callable(answer):
            return await answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def data(console: Console, line: str) -> list[Any]:
    """Runs a line as the console does, in virtual time; everything it prints."""

    async def main() -> list[Any]:
        parsed = Grammar(COMMANDS).parse(line.split())
        result = parsed.command.run(console, **parsed.arguments)
        return [item async for item in result] if inspect.isasyncgen(result) else [await result]

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def said(console: Console, line: str) -> str:
    render = Grammar(COMMANDS).parse(line.split()).command.render
    assert render is not None
    return "\n".join(render(item) for item in data(console, line))


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# --- what is asked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("show firewall", GetFirewall(interface=None, limit=RULES)),
        ("show firewall lan --limit 5", GetFirewall(interface="lan", limit=5)),
        ("show firewall log", GetFirewallLog(words=(), limit=ENTRIES)),
        ("show firewall log --limit 7 tcp wan :443", GetFirewallLog(words=("tcp", "wan", ":443"), limit=7)),
        ("show aliases", GetAliases(name=None)),
        ("show aliases mail", GetAliases(name="mail")),
    ],
)
def test_a_line_asks_for_what_it_says(line: str, request_: Request[Any]) -> None:
    answer = log() if "log" in line else {}
    console = Console(answer)
    data(console, line)
    assert console.asked == [request_]


@pytest.mark.parametrize(
    ("line", "most"),
    [
        ("show firewall --limit 0", RULES_MAX),
        (f"show firewall --limit {RULES_MAX + 1}", RULES_MAX),
        ("show firewall log --limit 0", ENTRIES_MAX),
        (f"show firewall log --limit {ENTRIES_MAX + 1}", ENTRIES_MAX),
    ],
)
def test_a_number_of_rows_out_of_range_is_refused(line: str, most: int) -> None:
    with pytest.raises(UsageError, match="rows cannot be shown") as refused:
        data(Console(), line)
    assert refused.value.hint == f"Ask for 1 to {most}."


@pytest.mark.parametrize("line", ["show firewall", "show firewall log", "show aliases"])
def test_a_service_that_is_not_there_is_told(line: str) -> None:
    with pytest.raises(ApplianceError, match=r"firewall.* is not running on this node") as refused:
        data(Console(), line)
    assert "[firewall]" in refused.value.hint


def never() -> Callable[[], Awaitable[Any]]:
    return trio.sleep_forever


def test_a_service_that_does_not_answer_is_told_in_time() -> None:
    with pytest.raises(ApplianceError, match=f"did not answer within {ANSWER_S:g} s"):
        data(Console(never()), "show firewall")


def test_what_the_service_refuses_is_passed_on() -> None:
    with pytest.raises(UsageError, match="there is no alias"):
        data(Console(UsageError("there is no alias 'x'", hint="none")), "show aliases x")


# --- rules -------------------------------------------------------------------------------------------------------


def test_rules_are_a_table_with_hits() -> None:
    assert said(Console(RULESET), "show firewall").splitlines() == [
        "fw1: first match decides",
        "PACKETS  BYTES  KIND       RULE                                             ID",
        "      0      0  lockout    pass in on lan tcp to self port 22 443           lockout",
        "      0      0  automatic  pass in on wan carp                              carp",
        "      3    180  user       pass in on lan web  (the web)                    web",
        "      0      0  user       pass in on lan night  (off now by its schedule)  night",
        "      -      -  user       pass in on lan off  (disabled)                   off",
        "  70000   4.0M  default    block in                                         default_in",
    ]


def test_rules_that_are_not_loaded_or_not_counted_are_told() -> None:
    answer = report.rules(SETTINGS, None, interface=None, limit=100, now=NOON)
    lines = said(Console(answer, facts=()), "show firewall").splitlines()
    assert lines[0] == "fw1: first match decides; THE RULESET IS NOT LOADED"
    assert lines[1] == "the hits are not known: the kernel's counters could not be read"
    assert lines[3].split()[:2] == ["-", "-"]


def test_rules_that_are_not_shown_are_counted() -> None:
    answer = report.rules(SETTINGS, HITS, interface=None, limit=2, now=NOON)
    assert said(Console(answer), "show firewall --limit 2").splitlines()[-1] == "4 more rules are not shown (--limit)"


def test_programs_are_told_whether_the_rules_are_loaded() -> None:
    assert data(Console(RULESET), "show firewall")[0]["loaded"] is True
    assert data(Console(RULESET, facts=()), "show firewall")[0]["loaded"] is False


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1023, "1023"), (1536, "1.5K"), (200 * 1024, "200K"), (5 << 50, "5120T")]
)
def test_bytes_are_short(count: int, text: str) -> None:
    answer = report.rules(SETTINGS, {"fw_lockout": Count(packets=1, bytes=count)}, interface=None, limit=1, now=NOON)
    assert said(Console(answer), "show firewall --limit 1").splitlines()[2].split()[1] == text


# --- the log -----------------------------------------------------------------------------------------------------


def test_a_packet_is_one_line(in_utc: None) -> None:
    assert said(Console(log(ROW)), "show firewall log") == (
        "11-14 22:13:20.250 block  in      wan        "
        "tcp 203.0.113.7:40000 -> 192.168.1.10:443 S 60 bytes  rule default_in"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"direction": "forward", "out_interface": "lan", "suppressed": 12},
            "block  forward wan>lan    tcp 203.0.113.7:40000 -> 192.168.1.10:443 S 60 bytes  rule default_in"
            "  (12 before it are not recorded)",
        ),
        (
            {"proto": "icmp6", "src": "2001:db8::7", "dst": "2001:db8::1", "sport": None, "dport": None, "flags": "",
             "icmp": "echo-request"},
            "block  in      wan        icmp6 2001:db8::7 -> 2001:db8::1 echo-request 60 bytes  rule default_in",
        ),
        (
            {"proto": "udp", "src": "2001:db8::7", "dst": "2001:db8::1", "flags": ""},
            "block  in      wan        udp [2001:db8::7]:40000 -> [2001:db8::1]:443 60 bytes  rule default_in",
        ),
        (
            {"proto": "", "src": None, "dst": None, "flags": "", "malformed": True, "length": 0},
            "block  in      wan        ? ? -> ? 0 bytes MALFORMED  rule default_in",
        ),
        (
            {"sport": None, "dport": None, "flags": "", "fragment": True},
            "block  in      wan        tcp 203.0.113.7 -> 192.168.1.10 60 bytes fragment  rule default_in",
        ),
    ],
)  # fmt: skip
def test_a_line_says_what_is_known(changes: dict[str, Any], text: str) -> None:
    assert said(Console(log(ROW | changes)), "show firewall log").split(" ", 2)[2] == text


def test_nothing_logged_is_nothing_printed() -> None:
    assert data(Console(log()), "show firewall log") == []


def test_a_log_that_is_not_recorded_is_an_error_with_its_remedy() -> None:
    answer = log(recording=False, error="blocked packets are not recorded: busy", remedy="Stop ulogd.")
    with pytest.raises(ApplianceError, match="blocked packets are not recorded: busy") as refused:
        data(Console(answer), "show firewall log")
    assert refused.value.hint == "Stop ulogd."


def test_following_goes_on_from_the_last_entry_with_the_same_filter() -> None:
    console = Console(log(ROW), log(ROW | {"seq": 2}, ROW | {"seq": 3}), log(last_seq=9), log(ROW | {"seq": 10}))
    rows: list[int] = []

    async def main() -> None:
        parsed = Grammar(COMMANDS).parse(["show", "firewall", "log", "--follow", "wan"])
        rows.extend([row["seq"] async for row in parsed.command.run(console, **parsed.arguments)])

    with pytest.raises(ApplianceError, match="is not running"):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    asked = [request for request in console.asked if isinstance(request, GetFirewallLog)]
    assert [request.after for request in asked] == [None, 1, 3, 9, 10]
    assert {request.words for request in asked} == {("wan",)}
    assert {request.wait_s for request in asked[1:]} == {FOLLOW_S}
    assert [later - earlier for earlier, later in zip(console.times[1:], console.times[2:], strict=False)] == (
        [FOLLOW_PAUSE_S] * 3
    )


def test_following_shows_each_entry_as_it_comes() -> None:
    console = Console(log(ROW), log(ROW | {"seq": 2}), trio.sleep_forever)

    async def main() -> list[int]:
        parsed = Grammar(COMMANDS).parse(["show", "firewall", "log", "--follow"])
        async with aclosing(parsed.command.run(console, **parsed.arguments)) as rows:
            return [(await anext(rows))["seq"], (await anext(rows))["seq"]]

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == [1, 2]


# --- aliases -----------------------------------------------------------------------------------------------------


def test_aliases_are_a_table() -> None:
    assert said(Console(report.aliases(SETTINGS, None)), "show aliases").splitlines() == [
        "mail  networks       4  192.168.2.10, 192.168.2.20-192.168.2.29, 10.0.0.0/8, …  (mail servers)",
        "web   ports          2  80, 8000-8080",
        "loop  hosts      WRONG  loop",
    ]


def test_one_alias_is_shown_with_its_members() -> None:
    lines = said(Console(report.aliases(SETTINGS, "web")), "show aliases web").splitlines()
    assert lines == ["web  ports          2  80, 8000-8080", "  80", "  8000-8080"]


def test_of_many_members_the_first_are_shown() -> None:
    alias = {"name": "big", "type": "hosts", "description": "", "entries": [], "resolved": 30_000,
             "members": [str(n) for n in range(20_000)]}  # fmt: skip
    lines = said(Console({"aliases": [alias]}), "show aliases big").splitlines()
    assert len(lines) == MEMBERS_SHOWN + 2
    assert lines[-1] == f"  … {30_000 - MEMBERS_SHOWN} more (--json)"


def test_no_aliases_are_told_as_such() -> None:
    assert said(Console({"aliases": []}), "show aliases") == "no aliases are configured"
