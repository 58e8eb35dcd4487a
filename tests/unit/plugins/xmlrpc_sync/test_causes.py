"""Every way to fail has its own sentence and its own remedy."""

from __future__ import annotations

import pickle

import pytest

from appliance import rpc
from appliance.errors import ApplianceError
from appliance.rpc import Fault, FaultCode, errors
from appliance_xmlrpc_sync.causes import TEXT_MAX, Cause, SyncError, failure_of

AT = "172.16.1.3:8443"

WAYS = [
    (errors.refused(AT), Cause.REFUSED, "nothing listens on 172.16.1.3:8443 (connection refused)"),
    (errors.unreachable(AT, "no route"), Cause.UNREACHABLE, "172.16.1.3:8443 cannot be reached: no route"),
    (errors.silent(AT, "answer", 130), Cause.SILENT, "172.16.1.3:8443 did not answer within 130 s"),
    (errors.lost(AT, "the call was sent"), Cause.LOST, "the connection to 172.16.1.3:8443 broke while"),
    (errors.busy(AT), Cause.BUSY, "no capacity for another call"),
    (errors.wrong_peer(AT, "self-signed"), Cause.IDENTITY, "is not the one that was paired"),
    (errors.not_accepted(AT), Cause.NOT_PAIRED, "does not accept the certificate of this node"),
    (errors.unauthorized(AT, "admin"), Cause.PASSWORD, "unknown user or wrong password"),
    (errors.too_many_attempts(AT, 4), Cause.PASSWORD, "too many wrong passwords"),
    (errors.forbidden(AT, "admin", ""), Cause.PRIVILEGE, "does not allow user 'admin'"),
    (errors.too_large(AT, 20, 16), Cause.SIZE, "has 20 bytes, at most 16 are accepted"),
    (errors.not_tls(AT, "plain HTTP"), Cause.NONSENSE, "does not speak TLS 1.3"),
    (errors.nonsense(AT, "HTML"), Cause.NONSENSE, "does not answer as an XML-RPC server"),
    (rpc.CodecError("the document is larger than 16 bytes", hint="Send less."), Cause.SIZE, "larger than 16 bytes"),
]

FAULTS = [
    (FaultCode.AUTHENTICATION, Cause.PASSWORD, "fw2 refused user or password: TEXT"),
    (FaultCode.LOCKED, Cause.PASSWORD, "fw2 has locked this node out: TEXT"),
    (FaultCode.PRIVILEGE, Cause.PRIVILEGE, "fw2 does not allow this: TEXT"),
    (FaultCode.BUSY, Cause.BUSY, "fw2 is in the middle of another change: TEXT"),
    (FaultCode.NO_TRANSACTION, Cause.LOST, "fw2 has taken the change back: TEXT"),
    (FaultCode.SECTION, Cause.VERSION, "fw2 lacks what this configuration needs: TEXT"),
    (FaultCode.DIGEST, Cause.NONSENSE, "what reached fw2 is not what was sent: TEXT"),
    (FaultCode.DRIFT, Cause.DRIFT, "fw2 was changed and refuses to be overwritten: TEXT"),
    (FaultCode.VALIDATION, Cause.VALIDATION, "fw2 refused the configuration: TEXT"),
    (FaultCode.VERSION, Cause.VERSION, "fw2 is of another version: TEXT"),
    (FaultCode.LOOP, Cause.LOOP, "fw2 follows another node, or none: TEXT"),
    (FaultCode.INTERNAL, Cause.NONSENSE, "fw2 failed: TEXT"),
    (FaultCode.NO_METHOD, Cause.NONSENSE, "fw2 failed: TEXT"),
]


@pytest.mark.parametrize(("error", "cause", "sentence"), WAYS)
def test_what_goes_wrong_on_the_way(error: ApplianceError, cause: Cause, sentence: str) -> None:
    failure = failure_of(error, "fw2")
    assert failure.cause is cause
    assert sentence in failure.what
    assert failure.fix == error.hint


@pytest.mark.parametrize(("code", "cause", "sentence"), FAULTS)
def test_what_the_peer_says(code: FaultCode, cause: Cause, sentence: str) -> None:
    failure = failure_of(Fault(code, "TEXT"), "fw2")
    assert (failure.cause, failure.what) == (cause, sentence)
    assert failure.fix


def test_no_two_faults_with_the_same_sentence_have_different_causes() -> None:
    causes: dict[str, set[Cause]] = {}
    for _code, cause, sentence in FAULTS:
        causes.setdefault(sentence, set()).add(cause)
    assert all(len(each) == 1 for each in causes.values())


def test_braces_in_the_text_of_a_peer_are_only_text() -> None:
    assert failure_of(Fault(FaultCode.VALIDATION, "{peer} {0}"), "fw2").what.endswith("{peer} {0}")


def test_what_this_node_has_found_itself() -> None:
    failure = failure_of(SyncError(Cause.INTERFACES, "fw2 has no interface wan", hint="Give it one."), "fw2")
    assert (failure.cause, failure.what, failure.fix) == (Cause.INTERFACES, "fw2 has no interface wan", "Give it one.")


def test_an_error_of_this_node_is_its_own() -> None:
    failure = failure_of(ApplianceError("own.key is open to others", hint="chmod 600"), "fw2")
    assert (failure.cause, failure.what) == (Cause.OWN, "own.key is open to others")


def test_a_restart_of_the_peer_passes_and_a_refusal_does_not() -> None:
    assert failure_of(errors.refused(AT), "fw2").is_passing
    assert failure_of(Fault(FaultCode.BUSY, ""), "fw2").is_passing
    assert not failure_of(Fault(FaultCode.VALIDATION, ""), "fw2").is_passing
    assert not failure_of(errors.wrong_peer(AT, ""), "fw2").is_passing


def test_a_long_text_of_a_peer_is_cut() -> None:
    assert len(failure_of(Fault(FaultCode.VALIDATION, "x" * 100_000), "fw2").what) == TEXT_MAX


def test_the_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SyncError(Cause.LOOP, "a", hint="b")))
    assert (error.cause, error.message, error.hint) == (Cause.LOOP, "a", "b")
