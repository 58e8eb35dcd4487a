"""The transaction of a receiving node, without sockets and clocks."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pytest

from appliance.rpc import Fault, FaultCode
from appliance_xmlrpc_sync.drift import Ledger, Origin
from appliance_xmlrpc_sync.receiver import (
    Here,
    Offer,
    Part,
    Phase,
    Receiver,
    Sender,
    refuse_circle,
    refuse_damaged,
    refuse_drift,
    refuse_second_primary,
)

FW1 = Sender(name="fw1", fingerprint="f" * 64, address="172.16.1.2")
FW3 = Sender(name="fw3", fingerprint="3" * 64, address="172.16.1.4")
OLD, OTHER = "0" * 64, "1" * 64


def part(data: Any) -> Part:
    raw = json.dumps(data).encode()
    return Part(data=raw, sha256=hashlib.sha256(raw).hexdigest())


def offer(*, sender: Sender = FW1, base: Mapping[str, str] | None = None, **values: Any) -> Offer:
    parts = values.pop("parts", {"rules": part({"rules": {}})})
    return Offer(sender=sender, parts=parts, base={"rules": OLD} if base is None else base, **values)


def here(**values: Any) -> Here:
    return Here(**{"name": "fw2", "role": "secondary", "peers": ()} | values)


def receiver() -> Receiver:
    numbers = itertools.count(1)
    return Receiver(lambda: f"t{next(numbers)}")


def unconfirmed(now: float = 0.0) -> Receiver:
    made = receiver()
    made.begin(offer(), here(), now)
    made.applied(offer(), revision=7, changed=True, now=now)
    return made


def test_only_the_node_whose_change_waits_may_replace_it() -> None:
    made = unconfirmed()
    assert made.replaceable(FW3.fingerprint, 1.0) is None
    found = made.replaceable(FW1.fingerprint, 1.0)
    assert found is not None
    assert found.txn == "t1"
    with pytest.raises(Fault) as error:
        made.begin(offer(sender=FW3), here(), 1.0)
    assert error.value.code == FaultCode.BUSY
    assert "fw2 is in the middle of a change by fw1" in error.value.message
    assert made.replaceable(FW1.fingerprint, 11.0) is None, "its time is over"


def code_of(error: pytest.ExceptionInfo[Fault]) -> int:
    return error.value.code


def test_a_transaction_is_staged_applied_and_confirmed() -> None:
    made = receiver()
    made.begin(offer(), here(), 0.0)
    assert made.phase(0.0) is Phase.STAGING
    done = made.applied(offer(), revision=7, changed=True, now=1.0)
    assert (done.txn, done.revision, done.deadline) == ("t1", 7, 11.0)
    assert made.waiting("t1", FW1.fingerprint, 5.0) is done
    made.confirmed(done)
    assert made.phase(5.0) is Phase.IDLE
    assert made.last is done


@pytest.mark.parametrize("sender", [FW1, FW3])
def test_there_is_one_transaction_at_a_time(sender: Sender) -> None:
    with pytest.raises(Fault, match="fw2 is in the middle of a change by fw1") as error:
        unconfirmed().begin(offer(sender=sender), here(), 1.0)
    assert code_of(error) == FaultCode.BUSY


def test_a_transaction_whose_time_is_over_makes_room() -> None:
    made = unconfirmed()
    assert made.phase(9.9) is Phase.UNCONFIRMED
    assert made.phase(10.0) is Phase.IDLE
    made.begin(offer(sender=FW3), here(), 10.0)


def test_what_came_to_nothing_leaves_nothing() -> None:
    made = receiver()
    made.begin(offer(), here(), 0.0)
    made.abandon()
    assert made.phase(0.0) is Phase.IDLE


def test_what_waits_for_its_confirmation_is_not_abandoned() -> None:
    made = unconfirmed()
    made.abandon()
    assert made.phase(0.0) is Phase.UNCONFIRMED


@pytest.mark.parametrize(
    ("txn", "fingerprint", "now"), [("t2", FW1.fingerprint, 1.0), ("t1", FW3.fingerprint, 1.0), ("t1", "f" * 64, 10.0)]
)
def test_only_its_sender_confirms_a_transaction_and_only_in_time(txn: str, fingerprint: str, now: float) -> None:
    with pytest.raises(Fault, match="its time is over, or it was taken back") as error:
        unconfirmed().waiting(txn, fingerprint, now)
    assert code_of(error) == FaultCode.NO_TRANSACTION


def test_a_confirmation_whose_answer_was_lost_can_be_repeated_by_its_sender() -> None:
    made = unconfirmed()
    made.confirmed(made.waiting("t1", FW1.fingerprint, 1.0))
    assert made.was_confirmed("t1", FW1.fingerprint) is made.last
    assert made.was_confirmed("t1", FW3.fingerprint) is None
    assert made.was_confirmed("t2", FW1.fingerprint) is None


def test_what_is_confirmed_in_the_last_moment_counts_and_disturbs_nobody_who_came_after() -> None:
    made = unconfirmed()
    first = made.waiting("t1", FW1.fingerprint, 9.9)
    made.begin(offer(sender=FW3), here(), 10.0)
    made.confirmed(first)
    assert made.last is first
    assert made.phase(10.0) is Phase.STAGING


def test_what_was_taken_back_cannot_be_confirmed() -> None:
    made = unconfirmed()
    made.taken_back()
    assert made.current(1.0) is None
    assert made.last is None


def test_an_empty_offer_is_refused() -> None:
    with pytest.raises(Fault, match="no section was sent"):
        receiver().begin(offer(parts={}), here(), 0.0)


def test_a_node_that_sends_to_its_sender_refuses_the_circle() -> None:
    with pytest.raises(Fault, match=r"fw2 sends its configuration to 172\.16\.1\.2, which is fw1") as error:
        refuse_circle(FW1, here(peers=("172.16.1.2",)))
    assert code_of(error) == FaultCode.LOOP


def test_a_primary_takes_no_configuration() -> None:
    with pytest.raises(Fault, match="fw2 is a primary too") as error:
        refuse_circle(FW1, here(role="primary"))
    assert code_of(error) == FaultCode.LOOP


def test_a_secondary_takes_it() -> None:
    refuse_circle(FW1, here(peers=("172.16.1.9",)))


FROM_FW1 = Ledger(origins={"aliases": Origin(digest=OLD, sender="fw1", at=1.0)})


@pytest.mark.parametrize(
    ("sender", "primary", "paired", "is_taken"),
    [
        (FW1, None, ("fw1", "fw3"), True),
        (FW3, None, ("fw1", "fw3"), False),
        (FW3, None, ("fw3",), True),
        (FW3, "fw3", ("fw1", "fw3"), True),
        (FW1, "fw3", ("fw1", "fw3"), False),
    ],
    ids=["who sent before", "a second one", "the first was removed", "named", "another one is named"],
)
def test_a_node_follows_one_primary(
    sender: Sender, primary: str | None, paired: tuple[str, ...], is_taken: bool
) -> None:
    with nullcontext() if is_taken else pytest.raises(Fault, match=r"xmlrpc_sync\.primary = .fw") as error:
        refuse_second_primary(sender, here(primary=primary), FROM_FW1, paired)
    assert is_taken or code_of(error) == FaultCode.LOOP


def test_a_node_that_has_nothing_yet_follows_whoever_is_first() -> None:
    refuse_second_primary(FW3, here(), Ledger(), ("fw1", "fw3"))


def test_sections_are_read_as_they_were_sent() -> None:
    assert refuse_damaged(offer(parts={"rules": part({"rules": {"a": 1}})})) == {"rules": {"rules": {"a": 1}}}


def test_a_section_that_is_not_what_its_digest_says_is_refused() -> None:
    with pytest.raises(Fault, match="'rules' is not what its digest says") as error:
        refuse_damaged(offer(parts={"rules": Part(data=b"{}", sha256=OLD)}))
    assert code_of(error) == FaultCode.DIGEST


@pytest.mark.parametrize(
    "raw",
    [b"[]", b"{", b"[" * 200_000, b"\xff", rb'{"a":"\ud800"}', rb'{"\uDFFF":1}', b'{"a":"\xed\xa0\x80"}'],
)
def test_a_section_that_is_no_table_is_refused(raw: bytes) -> None:
    with pytest.raises(Fault, match="'rules' is not a JSON object") as error:
        refuse_damaged(offer(parts={"rules": Part(data=raw, sha256=hashlib.sha256(raw).hexdigest())}))
    assert code_of(error) == FaultCode.PARAMETERS


def test_text_that_only_looks_like_half_of_a_character_is_text() -> None:
    data = {"rules": {"path": "C:\\ud800", "face": "\U0001f600"}}
    assert refuse_damaged(offer(parts={"rules": part(data)})) == {"rules": data}


def test_a_section_that_this_node_does_not_declare_is_refused_with_those_it_does() -> None:
    with pytest.raises(Fault, match="knows no section 'rules'; it has aliases, nat") as error:
        refuse_drift(offer(), {"nat": OLD, "aliases": OLD}, {}, here())
    assert code_of(error) == FaultCode.SECTION


def test_a_section_as_the_sender_saw_it_is_overwritten_without_a_copy() -> None:
    assert refuse_drift(offer(), {"rules": OLD}, {}, here()) == ()


def test_without_a_base_the_sender_has_seen_nothing_that_could_have_changed() -> None:
    assert refuse_drift(offer(base={}), {"rules": OLD}, {}, here()) == ()


def test_a_section_that_was_changed_since_the_sender_looked_is_kept() -> None:
    assert refuse_drift(offer(), {"rules": OTHER}, {}, here()) == ("rules",)


def test_a_section_that_has_drifted_is_kept_although_the_sender_has_seen_it() -> None:
    assert refuse_drift(offer(), {"rules": OLD}, {"rules": object()}, here()) == ("rules",)


def test_a_section_that_is_already_what_is_sent_is_nothing_to_keep() -> None:
    sent = offer()
    assert refuse_drift(sent, {"rules": sent.parts["rules"].sha256}, {"rules": object()}, here()) == ()


def test_the_policy_refuse_refuses_unless_the_sender_insists() -> None:
    with pytest.raises(Fault, match="rules was changed on fw2 since; nothing was overwritten") as error:
        refuse_drift(offer(), {"rules": OTHER}, {}, here(on_drift="refuse"))
    assert code_of(error) == FaultCode.DRIFT
    assert refuse_drift(offer(force=True), {"rules": OTHER}, {}, here(on_drift="refuse")) == ("rules",)
