"""Steps are written in nftables' own language."""

from __future__ import annotations

from appliance_firewall.aliases import Ranges
from appliance_firewall.matching import INLINE_MAX, Condition, Field, Step, texts

MANY: Ranges = tuple((port, port) for port in range(1, 2 * INLINE_MAX, 2))


def lines(*conditions: Condition, verdict: str = "accept", counter: str = "", log: str = "") -> list[str]:
    asked: list[tuple[Field, int, tuple[str, ...]]] = []

    def pool(field: Field, ranges: Ranges, sets: tuple[str, ...]) -> str:
        asked.append((field, len(ranges), sets))
        return f"set{len(asked)}"

    return list(texts(Step(conditions=conditions, verdict=verdict, counter=counter, log=log), pool))


def written(*conditions: Condition, verdict: str = "accept") -> str:
    (only,) = lines(*conditions, verdict=verdict)
    return only


def test_a_step_compares_then_counts_then_decides() -> None:
    port = Condition(Field.DESTINATION_PORT, ((443, 443),))
    assert lines(port, counter="fw_r_web") == ["th dport 443 counter name fw_r_web accept"]
    assert lines(verdict="drop") == ["drop"]


def test_what_is_logged_has_a_limit_and_what_is_decided_has_none() -> None:
    port = Condition(Field.DESTINATION_PORT, ((443, 443),))
    log = 'limit rate 50/second burst 100 packets log prefix "fw_r_web:pass " group 40 snaplen 128'
    assert lines(port, counter="fw_r_web", log="fw_r_web:pass") == [
        f"th dport 443 {log}",
        "th dport 443 counter name fw_r_web accept",
    ]
    assert lines(verdict="drop", log="fw_r_web:pass") == [log, "drop"]


def test_the_set_of_a_rule_that_logs_is_made_once() -> None:
    many = Condition(Field.DESTINATION_PORT, (*MANY, (99, 99)))
    assert [line.split()[2] for line in lines(many, log="x:pass")] == ["@set1", "@set1"]


def test_the_text_of_a_condition_is_no_part_of_what_it_is() -> None:
    asked, fresh = (Condition(Field.DESTINATION_PORT, ((443, 443),)) for _ in range(2))
    assert asked.plain_text() == asked.plain_text() == "th dport 443"
    assert asked == fresh
    assert repr(asked) == repr(fresh)


def test_devices_are_quoted_and_other_names_are_not() -> None:
    assert written(Condition(Field.DEVICE_IN, names=("wan0", "wan0.v200"))) == 'iifname { "wan0", "wan0.v200" } accept'
    assert written(Condition(Field.ICMP_4, names=("echo-request",))) == "icmp type echo-request accept"


def test_a_few_values_are_written_and_many_are_a_set() -> None:
    few = Condition(Field.DESTINATION_PORT, MANY[:2])
    assert written(few) == "th dport { 1, 3 } accept"
    assert written(Condition(Field.DESTINATION_PORT, MANY[:INLINE_MAX])).startswith("th dport { 1, 3, ")
    assert written(Condition(Field.DESTINATION_PORT, (*MANY, (99, 99)))) == "th dport @set1 accept"


def test_sets_are_looked_up_and_together_with_values_they_become_one() -> None:
    assert written(Condition(Field.SOURCE_4, sets=("alias_a_v4",))) == "ip saddr @alias_a_v4 accept"
    assert written(Condition(Field.SOURCE_4, ((1, 1),), sets=("alias_a_v4",))) == "ip saddr @set1 accept"
    assert written(Condition(Field.SOURCE_4, sets=("alias_a_v4", "alias_b_v4"))) == "ip saddr @set1 accept"


def test_what_is_inverted_is_none_of_all() -> None:
    both = Condition(Field.SOURCE_6, ((1, 1),), sets=("alias_a_v6",), inverted=True)
    assert written(both) == "ip6 saddr != @alias_a_v6 ip6 saddr != ::1 accept"
    assert written(Condition(Field.SOURCE_PORT, (*MANY, (99, 99)), inverted=True)) == "th sport != @set1 accept"
    assert written(Condition(Field.DEVICE_OUT, names=("a",), inverted=True)) == 'oifname != "a" accept'


def test_each_field_knows_its_type_in_a_set() -> None:
    assert (Field.DESTINATION_6.key, Field.DESTINATION_6.version) == ("ipv6_addr", 6)
    assert (Field.SOURCE_PORT.key, Field.SOURCE_PORT.version) == ("inet_service", 0)
    assert len({field.value for field in Field}) == len(Field)
