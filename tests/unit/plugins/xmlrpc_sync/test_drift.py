"""What came from another node and was changed here since."""

from __future__ import annotations

import json

import pytest

from appliance_xmlrpc_sync.drift import Drift, Ledger, Origin, decode, encode, fresh, observe, settle, stage, warning

NOW = 1_700_000_000.0
PUSHED = {"rules": "a" * 64, "aliases": "b" * 64}


def received() -> Ledger:
    """Both sections were received and confirmed."""
    return settle(stage(Ledger(), PUSHED, sender="fw1", at=NOW), PUSHED)


def changed(name: str) -> dict[str, str]:
    return PUSHED | {name: "c" * 64}


def test_what_was_confirmed_has_an_origin() -> None:
    ledger = received()
    assert ledger.origins["rules"] == Origin(digest="a" * 64, sender="fw1", at=NOW)
    assert ledger.staged == {}


def test_a_node_that_died_before_the_confirmation_has_its_old_configuration_and_no_drift() -> None:
    staged = stage(received(), {"rules": "d" * 64}, sender="fw1", at=NOW + 9)
    after = observe(settle(staged, PUSHED), PUSHED, who="", now=NOW + 20)
    assert after == received()


def test_a_node_that_died_after_the_confirmation_finds_out_that_it_has_the_new_one() -> None:
    new = PUSHED | {"rules": "d" * 64}
    staged = stage(received(), {"rules": "d" * 64}, sender="fw1", at=NOW + 9)
    after = observe(settle(staged, new), new, who="", now=NOW + 20)
    assert after.origins["rules"].digest == "d" * 64
    assert after.drifts == {}


def test_a_change_on_this_node_is_a_drift_with_who_and_since_when() -> None:
    after = observe(received(), changed("rules"), who="an operator", now=NOW + 60)
    assert after.drifts == {"rules": Drift(who="an operator", since=NOW + 60)}
    assert fresh(received(), after) == ("rules",)


def test_a_further_change_leaves_the_time_of_the_first() -> None:
    first = observe(received(), changed("rules"), who="one", now=NOW + 60)
    second = observe(first, PUSHED | {"rules": "e" * 64}, who="two", now=NOW + 90)
    assert second.drifts["rules"].since == NOW + 60
    assert fresh(first, second) == ()


def test_a_change_that_is_undone_is_none() -> None:
    first = observe(received(), changed("rules"), who="one", now=NOW + 60)
    assert observe(first, PUSHED, who="one", now=NOW + 90).drifts == {}


def test_a_push_ends_the_drift() -> None:
    drifted = observe(received(), changed("rules"), who="one", now=NOW + 60)
    after = settle(stage(drifted, PUSHED, sender="fw1", at=NOW + 70), PUSHED)
    assert after.drifts == {}


def test_sections_that_were_never_received_cannot_drift() -> None:
    assert observe(Ledger(), PUSHED, who="", now=NOW).drifts == {}


def test_a_section_that_nobody_declares_any_more_does_not_drift() -> None:
    assert observe(received(), {"aliases": "b" * 64}, who="", now=NOW).drifts == {}


def test_the_operator_is_told_what_will_happen() -> None:
    one = observe(received(), changed("rules"), who="", now=NOW)
    assert warning(one, ["rules"], refused=False) == "changed here and not on fw1, which will overwrite it: rules"
    both = warning(one, ["rules", "aliases"], refused=False)
    assert both == "changed here and not on fw1, which will overwrite it: aliases, rules"
    assert warning(one, ["rules"], refused=True).endswith("was changed here: it is refused there until this is undone")


def test_the_file_says_it_all() -> None:
    drifted = observe(stage(received(), PUSHED, sender="fw3", at=NOW), changed("rules"), who="x", now=NOW)
    assert decode(encode(drifted)) == drifted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "Expecting"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[]", "not of version 1"),
        (b'{"version": 2}', "not of version 1"),
        (b'{"version": 1, "drifts": []}', "drifts is no table"),
        (b'{"version": 1, "drifts": {"a": 1}}', "a drift is not a name and a time"),
        (b'{"version": 1, "drifts": {}, "origins": {"a": {"digest": 1}}, "staged": {}}', "an origin is not"),
    ],
)
def test_a_damaged_file_is_not_believed(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(text)


def test_a_file_with_too_many_sections_is_not_believed() -> None:
    many = {str(number): {"who": "", "since": 0} for number in range(257)}
    with pytest.raises(ValueError, match="at most 256"):
        decode(json.dumps({"version": 1, "drifts": many, "origins": {}, "staged": {}}).encode())
