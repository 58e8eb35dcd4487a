"""What people type and read: states, replication, key files, and words for a service that is not there."""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.console.grammar import Grammar
from appliance.errors import ApplianceError, RefusedError, UsageError
from appliance.events import Event, Request
from appliance.plugin import Node, NoProvider, Where
from appliance_pfsync import states
from appliance_pfsync.commands import ANSWER_S, COMMANDS, LIMIT, LIMIT_MAX, TABLE_S
from appliance_pfsync.events import CountStates, FlushStates, GetPfsync, GetStates, KillStates, ResyncStates
from appliance_pfsync.flow import ICMP, ICMPV6, UDP, Flows, Status
from appliance_pfsync.keyfile import KeyFile
from tests.unit.plugins.pfsync.fakes import CLIENT6, SERVER6, flows, flows6


class Console:
    """A command's world: answers each request by its type, keeps what was asked."""

    node = Node(name="fw1")

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[Request[Any]] = []

    async def call(self, request: Request[Any]) -> Any:
        self.asked.append(request)
        answer = self.answers.get(type(request).__name__, NoProvider(type(request).__name__))
        if callable(answer):
            return await answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return []


def said(console: Console, line: str) -> str:
    """Runs a line as the console does, in virtual time; the text for people."""

    async def main() -> str:
        parsed = Grammar(COMMANDS).parse(line.split())
        data = await parsed.command.run(console, **parsed.arguments)
        assert parsed.command.render is not None
        return parsed.command.render(data)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# --- what is asked -----------------------------------------------------------------------------------------

NO_STATES: dict[str, Any] = {"matching": 0, "states": []}


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("show states", GetStates(words=(), limit=LIMIT)),
        ("show states --limit 5 tcp :443", GetStates(words=("tcp", ":443"), limit=5)),
        ("states resync", ResyncStates()),
        ("states flush", FlushStates()),
        ("states kill tcp 10.0.0.0/8", KillStates(words=("tcp", "10.0.0.0/8"))),
    ],
)
def test_a_command_asks_exactly_what_it_says(line: str, request_: Request[Any]) -> None:
    console = Console(GetStates=NO_STATES, ResyncStates="done", FlushStates="done", KillStates="done")
    assert said(console, line) == ("0 states match" if line.startswith("show") else "done")
    assert console.asked == [request_]


@pytest.mark.parametrize("limit", [0, -1, LIMIT_MAX + 1])
def test_a_limit_out_of_range_is_refused_before_anybody_is_asked(limit: int) -> None:
    console = Console(GetStates=NO_STATES)
    with pytest.raises(UsageError, match=f"{limit} states cannot be shown"):
        said(console, f"show states --limit {limit}")
    assert console.asked == []


@pytest.mark.parametrize(
    "line", ["states kill", "show states --limit many", "states count tcp", "states", "pfsync key"]
)
def test_words_that_mean_nothing_are_refused(line: str) -> None:
    console = Console()
    with pytest.raises(UsageError):
        said(console, line)
    assert console.asked == []


def test_an_option_behind_the_filter_is_told_where_it_belongs() -> None:
    with pytest.raises(UsageError) as refused:
        states.StateFilter(["tcp", "--limit", "5"])
    assert refused.value.hint == "Options go before the filter."


def test_a_refusal_comes_through_as_it_was_said() -> None:
    refusal = RefusedError("no pfsync peer is heard", hint="Start it.")
    with pytest.raises(RefusedError) as caught:
        said(Console(ResyncStates=refusal), "states resync")
    assert caught.value is refusal


LINES = ["show pfsync", "show states", "states count", "states resync", "states flush", "states kill udp"]


@pytest.mark.parametrize("line", LINES)
def test_without_the_service_every_command_says_so_and_where_to_look(line: str) -> None:
    with pytest.raises(ApplianceError, match=r"pfsync.* is not running on this node") as caught:
        said(Console(), line)
    assert "show services" in caught.value.hint


@pytest.mark.parametrize("line", LINES)
def test_a_service_that_hangs_is_not_waited_for_for_ever(line: str) -> None:
    never: Callable[[], Awaitable[None]] = trio.sleep_forever
    kinds = (GetPfsync, GetStates, CountStates, ResyncStates, FlushStates, KillStates)
    deadline_s = ANSWER_S if line in ("show pfsync", "states resync") else TABLE_S
    with pytest.raises(ApplianceError, match=f"did not answer within {deadline_s:g} s"):
        said(Console(**{kind.__name__: never for kind in kinds}), line)


# --- show states -------------------------------------------------------------------------------------------


def lines_of(*made: Flows, matching: int | None = None) -> list[str]:
    rows = [row for each in made for row in states.rows(each)]
    answer = {"matching": len(rows) if matching is None else matching, "states": rows}
    return said(Console(GetStates=answer), "show states").splitlines()


def changed(made: Flows, **values: object) -> Flows:
    for name, value in values.items():
        made[name] = value
    return made


def test_a_state_is_one_line_with_both_ends_state_and_timeout() -> None:
    assert lines_of(flows(40000), flows6(40000)) == [
        "tcp    192.168.1.100:40000 -> 198.51.100.1:443  ESTABLISHED  1000 s",
        f"tcp    [{CLIENT6}]:40000 -> [{SERVER6}]:443  ESTABLISHED  1000 s",
        "2 states match",
    ]


def test_a_translation_is_shown_with_the_end_that_it_changes() -> None:
    snat = changed(flows(40000), reply_dst=0xC6336402, reply_dport=5001)
    dnat = changed(flows(40000), reply_src=0x0A000050, reply_sport=8080)
    port_only = changed(flows(40000), reply_dport=1)
    known = "tcp    192.168.1.100:40000 -> 198.51.100.1:443"
    assert lines_of(snat, dnat, port_only)[:-1] == [
        f"{known}  source 198.51.100.2:5001  ESTABLISHED  1000 s",
        f"{known}  destination 10.0.0.80:8080  ESTABLISHED  1000 s",
        f"{known}  source 192.168.1.100:1  ESTABLISHED  1000 s",
    ]


def ping(family: int = 4, **values: object) -> Flows:
    """Echo request and reply: the type is 8 (128) in one direction and 0 (129) in the other."""
    made = flows(77, proto=ICMP) if family == 4 else flows(77, proto=ICMPV6, client=CLIENT6, server=SERVER6)
    request, reply = (8 << 8, 0) if family == 4 else (128 << 8, 129 << 8)
    ids = {"orig_sport": 77, "orig_dport": request, "reply_sport": 77, "reply_dport": reply}
    return changed(made, **ids | {"status": Status.SEEN_REPLY, "tcp_state": 0, "timeout": 30} | values)


def test_a_ping_is_no_translation_because_its_answer_has_another_type() -> None:
    assert lines_of(ping(), ping(6))[:-1] == [
        "icmp   192.168.1.100 id 77 -> 198.51.100.1  SEEN_REPLY  30 s",
        f"icmp6  {CLIENT6} id 77 -> {SERVER6}  SEEN_REPLY  30 s",
    ]
    assert not states.StateFilter(["nat"]).mask(ping()).any()


def test_a_ping_that_is_translated_shows_the_address_and_the_id() -> None:
    by_address, by_id = ping(reply_dst=0xC6336402), ping(reply_sport=1024)
    forwarded = ping(reply_src=0x0A000050)
    known = "icmp   192.168.1.100 id 77 -> 198.51.100.1"
    assert lines_of(by_address, by_id, forwarded)[:-1] == [
        f"{known}  source 198.51.100.2 id 77  SEEN_REPLY  30 s",
        f"{known}  source 192.168.1.100 id 1024  SEEN_REPLY  30 s",
        f"{known}  destination 10.0.0.80  SEEN_REPLY  30 s",
    ]
    for each in (by_address, by_id, forwarded):
        assert states.StateFilter(["nat"]).mask(each).all()


def test_a_state_without_an_answer_is_new_and_one_without_a_tcp_state_shows_its_status() -> None:
    fresh = changed(flows(1, proto=UDP), status=0, tcp_state=0)
    answered = changed(flows(1, proto=UDP), status=Status.SEEN_REPLY | Status.ASSURED, tcp_state=0)
    assert lines_of(fresh, answered)[:-1] == [
        "udp    192.168.1.100:1 -> 198.51.100.1:443  NEW  1000 s",
        "udp    192.168.1.100:1 -> 198.51.100.1:443  ASSURED SEEN_REPLY  1000 s",
    ]


def test_what_is_not_shown_is_counted() -> None:
    assert lines_of(flows(1), matching=8)[-1] == "8 states match, 7 of them not shown (--limit)"


def test_the_count_has_a_line_for_each_protocol() -> None:
    answer = {"states": 12, "max": 262144, "replicated": 9, "protocols": {"udp": 2, "tcp": 10}}
    assert said(Console(CountStates=answer), "states count").splitlines() == [
        "12 states of at most 262144, 9 of them replicated",
        "  tcp    10",
        "  udp    2",
    ]


# --- show pfsync -------------------------------------------------------------------------------------------

PEER = {
    "name": "fw2", "address": "172.16.1.3", "alive": True, "version": "1", "secured": True, "lag_ms": 1.234,
    "states": 7, "losses": 0, "bulk": "done",
}  # fmt: skip
ANSWER: dict[str, Any] = {
    "node": "fw1", "interface": "sync", "version": "native", "secured": True, "states": 7, "active": True,
    "bulk": "done", "bulk_text": "7 states of fw2 in 0.02 s", "peers": [PEER], "error": None, "remedy": None,
    "audit": {"rounds": 3, "sent": 1, "wanted": 0, "deleted": 2, "last": "2025-06-15T15:06:40Z"},
    "counters": {"ipackets": 40, "opackets": 50, "badttl": 0, "created": 7},
}  # fmt: skip


def shown(**values: Any) -> list[str]:
    return said(Console(GetPfsync=ANSWER | values), "show pfsync").splitlines()


def test_replication_that_works_is_shown_in_a_few_lines_without_zeros() -> None:
    assert shown() == [
        "fw1: pfsync on sync, version native, authenticated and encrypted",
        "  states 7, active; bulk update done (7 states of fw2 in 0.02 s)",
        "  peer fw2 (172.16.1.3)  up  version 1  lag 1.2 ms  states 7  losses 0  bulk done",
        "  audit: 3 rounds, sent 1, deleted 2, last 2025-06-15T15:06:40Z",
        "  ipackets 40, opackets 50, created 7",
    ]


def test_what_should_not_be_is_in_capitals() -> None:
    down = PEER | {"alive": False, "lag_ms": None, "states": None}
    text = "\n".join(shown(secured=False, peers=[down]))
    assert "PLAIN: neither authenticated nor encrypted" in text
    assert "peer fw2 (172.16.1.3)  DOWN  version 1  lag unknown  states unknown" in text
    assert shown(error="there is no key", remedy="Make one.")[2:4] == [
        "  DOES NOT REPLICATE: there is no key",
        "    Make one.",
    ]


def test_a_lonely_node_that_has_just_started_says_so() -> None:
    audit = {"rounds": 0, "sent": 0, "wanted": 0, "deleted": 0, "last": None}
    lines = shown(peers=[], audit=audit, counters={"badttl": 0}, active=False, bulk="none", bulk_text="")
    assert lines[1:] == [
        "  states 7, standby; bulk update none",
        "  no peer has been heard",
        "  audit: 0 rounds, sent 0, deleted 0, last never",
        "  nothing counted yet",
    ]


# --- pfsync key --------------------------------------------------------------------------------------------


def make_key(path: Path) -> str:
    parsed = Grammar(COMMANDS).parse(["pfsync", "key", str(path)])
    assert parsed.command.where is Where.LOCAL
    assert parsed.command.render is not None
    return parsed.command.render(parsed.command.run(**parsed.arguments))


def test_a_new_key_file_is_for_root_only_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "pfsync.key"
    assert "copy it to the other nodes" in make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keyring = KeyFile(str(path)).read_if_changed()
    assert keyring is not None
    assert [(key.name, len(key.secret)) for key in keyring.keys] == [("key1", 32)]


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    made = [tmp_path / name for name in "ab"]
    for path in made:
        make_key(path)
    assert made[0].read_bytes() != made[1].read_bytes()


def test_a_file_that_is_there_is_never_overwritten_not_even_through_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "pfsync.key", tmp_path / "link"
    path.write_text("precious")
    link.symlink_to(tmp_path / "elsewhere")
    for taken in (path, link):
        with pytest.raises(ApplianceError, match="exists and is left as it is") as kept:
            make_key(taken)
        assert "rotate" in kept.value.hint
    assert path.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_place_that_does_not_exist_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="cannot be written: No such file or directory"):
        make_key(tmp_path / "no" / "pfsync.key")
