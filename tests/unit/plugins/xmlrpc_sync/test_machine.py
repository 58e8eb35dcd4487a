"""One look at a peer, and the push that follows if it lacks something."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from appliance.config.sections import digest
from appliance.rpc import Fault, FaultCode, errors
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.machine import CONFIRM_PAUSES_S, exchange, skew
from appliance_xmlrpc_sync.vocabulary import Answer, Known, Outcome, SectionFact, SectionState, Task, Verdict
from tests.unit.plugins.xmlrpc_sync.peers import Fake

RULES = {"rules": {"rule": [{"name": "a", "port": 80}]}}
OLD: dict[str, Any] = {"rules": {"rule": []}}
NAMES = {"alias": {"servers": ["192.168.1.9"]}}
CONFIRM = "confirm_config over a new connection"
LOST = errors.lost("172.16.1.3:8443", "the call was sent")


def task(**other: Any) -> Task:
    return Task(**{"own_name": "fw1", "rank": 1, **other})


def look(fake: Fake, known: Known | None = None, **other: Any) -> Outcome:
    outcome = fake.run(exchange(task(**other), known or Known()))
    assert isinstance(outcome, Outcome)
    return outcome


def refusal(fake: Fake, known: Known | None = None, **other: Any) -> SyncError:
    with pytest.raises(SyncError) as error:
        look(fake, known, **other)
    return error.value


# --- nothing to do ----------------------------------------------------------------------------------------------


def test_a_peer_that_has_everything_is_sent_nothing() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": RULES})
    assert look(fake) == Outcome(verdict=Verdict.IN_SYNC, revision=7)
    assert fake.steps == ["host_firmware_version", "config_digest"]


def test_while_nothing_changes_only_digests_are_compared() -> None:
    fake, known = Fake(ours={"rules": RULES}, theirs={"rules": RULES}), Known()
    for _ in range(3):
        assert look(fake, known).verdict is Verdict.IN_SYNC
    assert len(fake.asked) == 1, "making the sections of a large configuration is work"
    assert known.revision == 40 + len(fake.steps)


def test_what_nobody_has_confirmed_is_not_taken_for_in_sync() -> None:
    fake, known = Fake(ours={"rules": RULES, "alias": NAMES}, theirs={"rules": RULES, "alias": NAMES}), Known()
    look(fake, known)
    fake.unconfirmed = ["rules"]
    assert look(fake, known).pushed == ("rules",)
    assert fake.unconfirmed == []
    assert {fact.state for fact in known.sections.values()} == {SectionState.IN_SYNC}


def test_what_changes_there_or_here_is_still_found() -> None:
    fake, known = Fake(ours={"rules": RULES}, theirs={"rules": RULES}), Known()
    look(fake, known)
    fake.theirs = {"rules": OLD}
    assert look(fake, known).pushed == ("rules",)
    look(fake, known)
    asked = len(fake.asked)
    fake.ours, fake.revision = {"rules": OLD}, 8
    assert look(fake, known).pushed == ("rules",)
    look(fake, known)
    look(fake, known, off=("rules",))
    fake.hello = {"addresses": {"lan": ["192.168.1.4/24"]}}
    look(fake, known)
    assert len(fake.asked) == asked + 4


def test_a_change_that_is_not_confirmed_here_does_not_travel() -> None:
    fake = Fake(ours={"rules": RULES}, unconfirmed_s=12.5)
    assert look(fake) == Outcome(verdict=Verdict.UNCONFIRMED, revision=7, again_s=12.5)
    assert fake.steps == []


def test_sections_are_made_for_this_receiver_and_its_rank() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": RULES})
    look(fake, rank=2)
    (asked,) = fake.asked
    assert (asked.receiver, asked.rank) == ({"lan": ("192.168.1.3/24",)}, 2)


# --- a push -----------------------------------------------------------------------------------------------------


def test_what_differs_is_sent_confirmed_over_a_new_connection_and_read_back() -> None:
    fake = Fake(ours={"rules": RULES, "names": NAMES}, theirs={"rules": OLD, "names": NAMES})
    assert look(fake) == Outcome(verdict=Verdict.IN_SYNC, revision=7, pushed=("rules",))
    assert fake.steps == ["host_firmware_version", "config_digest", "restore_config_section", CONFIRM, "config_digest"]
    assert fake.theirs == {"rules": RULES, "names": NAMES}


def test_a_section_travels_as_canonical_json_with_its_digest_and_the_digest_it_replaces() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD})
    look(fake, confirm_s=7, reason="sync now")
    sections, how = fake.params["restore_config_section"]
    data = b'{"rules":{"rule":[{"name":"a","port":80}]}}'
    assert sections == {"rules": {"data": data, "sha256": hashlib.sha256(data).hexdigest()}}
    assert how == {
        "node": "fw1",
        "base": {"rules": digest(OLD)},
        "confirm_timeout": 7.0,
        "force": False,
        "reason": "sync now",
    }
    assert base64.b64encode(data)


def test_a_section_that_the_peer_does_not_know_is_sent_without_base_so_that_it_says_so() -> None:
    fault = Fault(FaultCode.SECTION, "fw2 knows no section 'rules'")
    fake = Fake(ours={"rules": RULES}, errors={"restore_config_section": [fault]})
    with pytest.raises(Fault, match="knows no section"):
        look(fake)
    assert fake.params["restore_config_section"][1]["base"] == {}  # type: ignore[index]


def test_sections_that_are_off_stay_here() -> None:
    fake, known = Fake(ours={"rules": RULES, "names": NAMES}, theirs={"rules": OLD, "names": {}}), Known()
    assert look(fake, known, off=("names",)).pushed == ("rules",)
    assert fake.theirs["names"] == {}
    assert known.sections["names"] == SectionFact(state=SectionState.OFF)


def test_with_a_manual_policy_it_waits_for_an_operator() -> None:
    fake, known = Fake(ours={"rules": RULES}, theirs={"rules": OLD}), Known()
    assert look(fake, known, policy="manual") == Outcome(verdict=Verdict.PENDING, revision=7)
    assert fake.theirs["rules"] == OLD
    assert known.sections["rules"].state is SectionState.PENDING
    assert look(fake, known, policy="manual", is_asked=True).pushed == ("rules",)


def test_copies_that_the_peer_keeps_are_named() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, restored={"kept": ["20260101-rules.json"]})
    assert look(fake).kept == ("20260101-rules.json",)


def test_without_a_transaction_there_is_nothing_to_confirm() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, restored={"txn": ""})
    assert refusal(fake).cause is Cause.READ_BACK
    assert CONFIRM not in fake.steps


def test_an_answer_that_names_no_transaction_is_no_success() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, restored={"txn": 1})
    error = refusal(fake)
    assert error.message == "the answer of restore_config_section names no transaction"
    assert error.cause is Cause.NONSENSE


def test_success_is_what_the_peer_has_afterwards_and_not_what_it_says() -> None:
    fake, known = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, forgets=True), Known()
    error = refusal(fake, known)
    assert error.message == "fw2 has confirmed rules and has something else now"
    assert (error.cause, known.sections["rules"].state) == (Cause.READ_BACK, SectionState.PENDING)


# --- the confirmation -------------------------------------------------------------------------------------------


def test_a_confirmation_is_tried_again_while_the_peer_restarts_its_network() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"confirm_config": [LOST, LOST]})
    assert look(fake).pushed == ("rules",)
    assert fake.steps[3:-1] == [CONFIRM, "sleep 0.2", CONFIRM, "sleep 0.5", CONFIRM]


def test_a_peer_that_cannot_be_reached_with_its_new_configuration_takes_it_back() -> None:
    attempts = len(CONFIRM_PAUSES_S) + 1
    refused = errors.refused("172.16.1.3:8443")
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"confirm_config": [refused] * attempts})
    error = refusal(fake)
    assert error.cause is Cause.CUT
    assert error.message == (
        "the peer cannot be reached when it has the new configuration, and takes it back by itself: "
        "nothing listens on 172.16.1.3:8443 (connection refused)"
    )
    assert "cuts the nodes off" in error.hint
    assert fake.steps.count(CONFIRM) == attempts


def test_no_confirmation_is_tried_after_the_time_of_the_peer_is_over() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"confirm_config": [LOST] * 9})
    assert refusal(fake, confirm_s=2.0).cause is Cause.CUT
    assert sum(float(step.split()[1]) for step in fake.steps if step.startswith("sleep")) < 2.0


def test_a_firewall_that_drops_silently_uses_the_time_up_in_attempts() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"confirm_config": [LOST] * 9}, takes_s=3.0)
    assert refusal(fake).cause is Cause.CUT
    assert fake.steps.count(CONFIRM) == 3


def test_a_peer_that_took_the_change_back_before_it_could_be_reached_again_was_cut_off() -> None:
    gone = Fault(FaultCode.NO_TRANSACTION, "its time is over")
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"confirm_config": [LOST, gone]})
    assert refusal(fake).cause is Cause.CUT


def test_an_empty_section_of_a_plugin_that_the_peer_lacks_is_nothing_to_send() -> None:
    fake, known = Fake(ours={"rules": RULES, "gateways": {}}, theirs={"rules": RULES}), Known()
    assert look(fake, known).verdict is Verdict.IN_SYNC
    assert known.sections["gateways"].state is SectionState.IN_SYNC


def test_when_the_answer_to_a_confirmation_was_lost_the_digests_tell() -> None:
    gone = Fault(FaultCode.NO_TRANSACTION, "no change of this name waits here")
    arrived = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"confirm_config": [LOST, gone]})
    steps = exchange(task(), Known())
    original = arrived.do

    def do(step: Any) -> object:
        try:
            return original(step)
        finally:
            if getattr(step, "method", "") == "confirm_config":
                arrived.theirs = {"rules": RULES}

    arrived.do = do  # type: ignore[method-assign]
    assert arrived.run(steps).pushed == ("rules",)


def test_a_change_whose_time_was_over_before_the_first_confirmation_is_a_failure() -> None:
    gone = Fault(FaultCode.NO_TRANSACTION, "its time is over")
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"confirm_config": [gone]})
    with pytest.raises(Fault, match="its time is over"):
        look(fake)


# --- refusals ---------------------------------------------------------------------------------------------------


def test_the_words_of_the_peer_about_a_refused_configuration_pass_through() -> None:
    fault = Fault(FaultCode.VALIDATION, "appliance.toml:9:1: no")
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, errors={"restore_config_section": [fault]})
    with pytest.raises(Fault, match=r"appliance\.toml:9:1: no"):
        look(fake)


def test_a_second_primary_is_sent_nothing() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, hello={"role": "primary"})
    assert refusal(fake).cause is Cause.LOOP
    assert fake.steps == ["host_firmware_version"]


def test_a_peer_of_another_version_is_sent_nothing() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": OLD}, hello={"schemas": {"rules": "t" * 64}})
    assert refusal(fake).cause is Cause.VERSION
    assert fake.steps == ["host_firmware_version"]


def test_a_peer_without_the_interfaces_is_sent_nothing() -> None:
    fake = Fake(ours={"rules": {"rules": {"interface": "lan"}}}, theirs={"rules": OLD}, hello={"addresses": {}})
    assert refusal(fake).cause is Cause.INTERFACES


# --- drift ------------------------------------------------------------------------------------------------------

DRIFT = {"rules": {"who": "ann", "when": 1_700_000_000.0}}
EDITED = {"rules": {"rule": [{"name": "mine"}]}}


def test_what_was_changed_there_is_overwritten_as_the_book_says() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": EDITED}, drift=dict(DRIFT))
    assert look(fake).pushed == ("rules",)
    assert fake.theirs == {"rules": RULES}


def test_or_it_is_refused_and_the_other_sections_travel() -> None:
    fake = Fake(ours={"rules": RULES, "names": NAMES}, theirs={"rules": EDITED, "names": {}}, drift=dict(DRIFT))
    known = Known()
    error = refusal(fake, known, on_drift="refuse")
    assert error.cause is Cause.DRIFT
    assert error.message == "rules (by ann, 2023-11-14T22:13:20Z) was changed on fw2 and is not overwritten (on_drift)"
    assert "sync now --force" in error.hint
    assert fake.theirs == {"rules": EDITED, "names": NAMES}
    assert known.sections["rules"] == SectionFact(state=SectionState.DRIFT, who="ann", when="2023-11-14T22:13:20Z")
    assert known.sections["names"].state is SectionState.IN_SYNC


def test_an_operator_can_force_it() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": EDITED}, drift=dict(DRIFT))
    assert look(fake, on_drift="refuse", force=True).pushed == ("rules",)
    assert fake.params["restore_config_section"][1]["force"] is True  # type: ignore[index]


def test_a_change_there_that_makes_it_the_same_is_none() -> None:
    fake = Fake(ours={"rules": RULES}, theirs={"rules": RULES}, drift=dict(DRIFT))
    assert look(fake, on_drift="refuse").verdict is Verdict.IN_SYNC


# --- what is known ----------------------------------------------------------------------------------------------


def test_a_look_that_fails_later_still_tells_who_the_peer_is() -> None:
    known = Known()
    refusal(Fake(ours={"rules": RULES}, hello={"role": "primary", "time": 1007.0}), known)
    assert known.hello is not None
    assert known.hello.node == "fw2"
    assert known.skew_s == pytest.approx(6.99)


@pytest.mark.parametrize(("time", "ahead"), [(100.0, 0.0), (100.4, 0.0), (101.0, 0.0), (103.0, 2.0), (95.0, -5.0)])
def test_clocks_are_compared_no_better_than_the_answer_took(time: float, ahead: float) -> None:
    assert skew(time, Answer(value=None, sent=100.0, received=101.0)) == ahead


def test_what_travels_is_json() -> None:
    fake = Fake(ours={"rules": {"rules": {"text": "ü\r\n"}}}, theirs={"rules": OLD})
    look(fake)
    sections: Any = fake.params["restore_config_section"][0]
    assert json.loads(sections["rules"]["data"]) == {"rules": {"text": "ü\r\n"}}
