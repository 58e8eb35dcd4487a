"""What the doctor finds about the firewall, and that what is not good news carries a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError
from appliance.events import Event, Health, Request, RulesetLoaded
from appliance.plugin import Finding, Node, NoProvider
from appliance_firewall import checks as module
from appliance_firewall.checks import NAMED_MAX, RECENT_S, checks
from appliance_firewall.events import GetFirewallLog
from tests.unit.plugins.firewall.fakes import configured

LOADED = RulesetLoaded(generation=1, rules=12)
GOOD_LOG: dict[str, Any] = {
    "recording": True, "error": None, "remedy": None, "recorded": 5, "suppressed": 2, "entries": [],
    "rules_since": "2026-01-01T00:00:00.000Z",
}  # fmt: skip
PASS_ALL = '[[rule]]\ninterface = "any"\naction = "pass"\n'


class Patient:
    """What the doctor looks at."""

    node = Node(name="fw1")

    def __init__(self, *facts: Event, answer: Any = None, tables: str = "table inet appliance\n") -> None:
        self.facts, self.answer, self.tables = facts, answer, tables
        self.asked: list[Request[Any]] = []

    async def call(self, request: Request[Any]) -> Any:
        self.asked.append(request)
        if self.answer is None:
            raise NoProvider(type(request).__name__)
        if self.answer == "never":
            await trio.sleep_forever()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def output(self, *argv: str) -> str:
        assert argv == ("nft", "list", "tables", "inet")
        return self.tables

    def read(self, path: str) -> str:
        raise AssertionError("these checks read nothing")


def find(name: str, text: str = "", patient: Patient | None = None, **tables: Any) -> Finding:
    """The finding of one check, in virtual time."""
    [check] = [check for check in checks(configured(text, **tables)) if check.name == f"firewall-{name}"]

    async def main() -> Finding:
        return await check.run(patient or Patient(LOADED, answer=GOOD_LOG))

    finding = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert isinstance(finding, Finding)
    return finding


def blocked(**values: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    standard = {"time": now, "action": "block", "rule": "default_in", "proto": "carp", "src": "172.16.1.3"}
    return standard | values


def found_blocked(*entries: dict[str, Any], text: str = "", **tables: Any) -> Finding:
    return find("nodes", text, Patient(answer=GOOD_LOG | {"entries": list(entries)}), cluster=True, **tables)


# --- rules and log -----------------------------------------------------------------------------------------------


def test_rules_that_are_in_the_kernel_are_well() -> None:
    assert find("ruleset") == Finding(health=Health.OK, what="the rules are in the kernel")


def test_rules_that_were_never_loaded_are_a_failure() -> None:
    finding = find("ruleset", patient=Patient())
    assert (finding.health, finding.what) == (Health.FAIL, "the rules have not been loaded")
    assert "which rule the kernel refuses" in finding.fix


def test_rules_that_somebody_has_flushed_are_a_failure() -> None:
    finding = find("ruleset", patient=Patient(LOADED, tables="table inet filter\n"))
    assert (finding.health, finding.what) == (Health.FAIL, "table inet appliance is not in the kernel")
    assert "firewalld" in finding.fix


def test_a_log_that_records_is_well() -> None:
    assert find("log").what == "5 packets recorded, 2 not kept"


@pytest.mark.parametrize("answer", [None, "never", ApplianceError("no", hint="none")])
def test_a_service_that_does_not_answer_is_a_failure(answer: Any) -> None:
    finding = find("log", patient=Patient(answer=answer))
    assert (finding.health, finding.what) == (Health.FAIL, "the firewall's service does not answer")


def test_a_log_that_does_not_record_is_told_with_its_own_words() -> None:
    answer = GOOD_LOG | {"recording": False, "error": "not recorded: busy", "remedy": "Stop ulogd."}
    finding = find("log", patient=Patient(answer=answer))
    assert (finding.health, finding.what, finding.fix) == (Health.WARN, "not recorded: busy", "Stop ulogd.")


# --- the operator ------------------------------------------------------------------------------------------------


def test_anti_lockout_is_well() -> None:
    finding = find("lockout")
    assert (finding.health, finding.what) == (Health.OK, "ports 22 and 443 of this node are always reachable at lan")


def test_without_anti_lockout_and_without_a_rule_the_console_is_all_there_is() -> None:
    finding = find("lockout", 'anti_lockout = ""\n')
    assert (finding.health, finding.what) == (Health.WARN, "anti-lockout is off and no rule passes port 22 or 443")


@pytest.mark.parametrize(
    ("rule", "ports"),
    [
        ('interface = "lan"\naction = "pass"', "22 and 443"),
        ('interface = "lan"\naction = "pass"\nprotocol = "tcp"\ndestination_port = 22', "22"),
        ('interface = "lan"\naction = "pass"\nprotocol = "tcp/udp"\ndestination_port = "400-500"', "443"),
        ('interface = "lan"\naction = "pass"\nprotocol = "tcp"\ndestination_port = "!22"', "443"),
        ('interface = "lan"\naction = "pass"\nprotocol = "tcp"\ndestination_port = "admin"', "22 and 443"),
    ],
)
def test_own_rules_may_do_what_anti_lockout_does(rule: str, ports: str) -> None:
    alias = '[alias.admin]\ntype = "ports"\nentries = [22]\n'
    finding = find("lockout", f'anti_lockout = ""\n{alias}[[rule]]\n{rule}\n')
    assert finding == Finding(health=Health.OK, what=f"anti-lockout is off; own rules pass port {ports}")


@pytest.mark.parametrize(
    "rule",
    [
        'interface = "lan"\naction = "block"',
        'interface = "lan"\naction = "pass"\ndirection = "out"',
        'interface = "lan"\naction = "pass"\ndisabled = true',
        'interface = "lan"\naction = "pass"\nprotocol = "udp"',
        'interface = "lan"\naction = "pass"\nprotocol = "tcp"\ndestination_port = 80',
    ],
)
def test_rules_that_pass_something_else_are_no_way_in(rule: str) -> None:
    assert find("lockout", f'anti_lockout = ""\n[[rule]]\n{rule}\n').health is Health.WARN


# --- what the appliance needs ------------------------------------------------------------------------------------


def test_automatic_rules_pass_what_is_needed() -> None:
    finding = find("automatic", cluster=True)
    assert finding == Finding(health=Health.OK, what="what the appliance needs is passed by automatic rules")


def test_a_kind_that_is_replaced_without_a_rule_is_a_failure() -> None:
    finding = find("automatic", 'replace = ["carp"]\n', cluster=True)
    assert finding.health is Health.FAIL
    assert finding.what == "automatic rules are replaced, and no rule passes: carp at sync"
    assert "[firewall] replace" in finding.fix


def test_without_automatic_rules_everything_that_is_missing_is_named() -> None:
    finding = find("automatic", "automatic = false\n", cluster=True)
    assert finding.what == (
        "automatic rules are replaced, and no rule passes: carp at sync, api at sync, probe at sync, ping at sync, "
        "ipv6 at lan"
    )


@pytest.mark.parametrize(
    "rule",
    ['interface = "sync"\nprotocol = "carp"', 'interface = ["lan", "sync"]\nprotocol = 112', 'interface = "any"'],
)
def test_a_rule_in_the_place_of_an_automatic_one_is_well(rule: str) -> None:
    finding = find("automatic", f'replace = ["carp"]\n[[rule]]\naction = "pass"\n{rule}\n', cluster=True)
    assert finding.what == "what the appliance needs is passed by own rules in the place of automatic ones (carp)"


def test_a_rule_for_everything_replaces_all_automatic_ones() -> None:
    assert find("automatic", f"automatic = false\n{PASS_ALL}", cluster=True).health is Health.OK


@pytest.mark.parametrize(
    "rule",
    ['interface = "lan"\nprotocol = "carp"', 'interface = "sync"\nprotocol = "tcp"\ndestination_port = 112'],
)
def test_a_rule_for_something_else_is_no_replacement(rule: str) -> None:
    assert find("automatic", f'replace = ["carp"]\n[[rule]]\naction = "pass"\n{rule}\n', cluster=True).health is (
        Health.FAIL
    )


def test_a_port_has_to_be_the_right_one() -> None:
    rule = '[[rule]]\naction = "pass"\ninterface = "sync"\nprotocol = "tcp"\ndestination_port = '
    assert find("automatic", f'replace = ["api"]\n{rule}8765\n', cluster=True).health is Health.OK
    assert find("automatic", f'replace = ["api"]\n{rule}8766\n', cluster=True).health is Health.FAIL


def test_ping_between_nodes_is_needed_in_the_families_they_have() -> None:
    rule = '[[rule]]\naction = "pass"\ninterface = "sync"\nprotocol = "icmp"\n'
    assert find("automatic", f'replace = ["ping"]\n{rule}family = "ipv4"\n', cluster=True).health is Health.OK
    assert find("automatic", f'replace = ["ping"]\n{rule}family = "ipv6"\n', cluster=True).health is Health.FAIL


# --- the other nodes ---------------------------------------------------------------------------------------------


def test_nodes_that_are_not_blocked_are_well() -> None:
    assert found_blocked().health is Health.OK


def test_the_log_of_the_sync_interface_is_looked_at() -> None:
    patient = Patient(answer=GOOD_LOG)
    find("nodes", patient=patient, cluster=True)
    assert patient.asked == [GetFirewallLog(words=("on:sync",), limit=module.ENTRIES)]


def test_heartbeats_of_the_peer_that_are_blocked_are_told_with_the_rule() -> None:
    finding = found_blocked(blocked(), blocked(), blocked(proto="tcp", rule="web"))
    assert finding.health is Health.WARN
    assert finding.what == (
        "3 packets of other nodes were blocked in the last 10 minutes: "
        "carp of 172.16.1.3 at sync, tcp of 172.16.1.3 at sync"
    )
    assert finding.why == "blocked by default_in, web"
    assert "'appliance show firewall log on:sync'" in finding.fix


@pytest.mark.parametrize(
    "entry",
    [
        {"action": "pass"},
        {"src": None},
        {"src": "172.16.1.99"},
        {"src": "172.16.1.2"},
        {"src": "2001:db8::1"},
        {"time": (datetime.now(UTC) - timedelta(seconds=RECENT_S + 60)).isoformat()},
    ],
    ids=["passed", "no address", "another host", "this node", "another family", "long ago"],
)
def test_other_packets_are_nothing_to_tell(entry: dict[str, Any]) -> None:
    assert found_blocked(blocked(**entry)).health is Health.OK


def test_what_earlier_rules_blocked_is_nothing_to_tell() -> None:
    later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    answer = GOOD_LOG | {"entries": [blocked()], "rules_since": later}
    assert find("nodes", patient=Patient(answer=answer), cluster=True).health is Health.OK


def test_nodes_may_be_named_in_the_table() -> None:
    assert found_blocked(blocked(src="172.16.1.9"), text='nodes = ["172.16.1.9"]\n').health is Health.WARN


def test_peers_that_are_not_known_are_somewhere_in_the_network() -> None:
    assert found_blocked(blocked(src="172.16.1.77"), peers=()).health is Health.WARN
    assert found_blocked(blocked(src="172.16.2.77"), peers=()).health is Health.OK


def test_many_things_are_told_in_part() -> None:
    entries = [blocked(proto=str(number)) for number in range(NAMED_MAX + 3)]
    assert found_blocked(*entries).what.endswith("and 3 more")


def test_a_node_without_a_cluster_and_without_a_service_has_nothing_blocked() -> None:
    assert find("nodes").health is Health.OK
    assert find("nodes", patient=Patient(), cluster=True).health is Health.OK


# --- schedules ---------------------------------------------------------------------------------------------------

NIGHT = (
    '[schedule.night]\ntimes = ["22:00-06:00"]\n'
    '[[rule]]\ninterface = "lan"\naction = "pass"\nschedule = "night"\nid = "games"\n'
    '[[rule]]\ninterface = "lan"\naction = "pass"\nschedule = "night"\n'
    '[[rule]]\ninterface = "lan"\naction = "pass"\nschedule = "night"\ndisabled = true\n'
)


@pytest.mark.parametrize(
    ("hour", "what"),
    [
        (12, "at Mon 12:00 off by schedule: games (night), rule 2 (night)"),
        (23, "no rule is off by its schedule"),
    ],
)
def test_rules_that_are_off_by_their_schedule_are_told(monkeypatch: pytest.MonkeyPatch, hour: int, what: str) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(2026, 3, 2, hour)

    monkeypatch.setattr(module, "datetime", Clock)
    assert find("schedules", NIGHT) == Finding(health=Health.OK, what=what)
