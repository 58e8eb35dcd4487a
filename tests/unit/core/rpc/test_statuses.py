"""What an HTTP status means."""

from __future__ import annotations

import pytest

from appliance.rpc import errors, xml
from appliance.rpc.faults import Fault
from appliance.rpc.statuses import refusal


def made(status: int, body: bytes = b"", retry_after: bytes = b"") -> errors.RpcError:
    return refusal(status, body, retry_after, where="B", user="admin", size=77)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, errors.UnauthorizedError, "B refused user 'admin': unknown user or wrong password"),
        (403, errors.ForbiddenError, "B does not allow user 'admin' to call it"),
        (408, errors.ConnectionLostError, "the connection to B broke while the call was sent: it arrived too slowly"),
        (413, errors.TooLargeError, "the call to B has 77 bytes and was refused as too large"),
        (429, errors.TooManyAttemptsError, "B is locked for this node after too many wrong passwords"),
        (503, errors.BusyPeerError, "B has no capacity for another call at the moment"),
        (404, errors.NonsenseError, "B does not answer as an XML-RPC server: HTTP status 404 (Not Found)"),
        (500, errors.NonsenseError, "B does not answer as an XML-RPC server: HTTP status 500 (Internal Server Error)"),
        (299, errors.NonsenseError, "B does not answer as an XML-RPC server: HTTP status 299 (unknown)"),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[errors.RpcError], message: str) -> None:
    error = made(status)
    assert type(error) is kind
    assert error.message == message


def test_the_reason_of_a_forbidden_call_is_passed_on() -> None:
    body = xml.dumps_fault(Fault(-2, "viewer has no role sync"))
    assert made(403, body).message.endswith("to call it: viewer has no role sync")
    assert made(403, b"<html>").message.endswith("to call it")
    assert made(403, xml.dumps_response(1)).message.endswith("to call it")


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [(b"4", 4), (b" 60 ", 60), (b"999999999", 3600), (b"99999999999", 0), (b"-1", 0), (b"soon", 0), (b"", 0)],
)
def test_the_wait_is_taken_from_the_server_within_reason(retry_after: bytes, wait_s: float) -> None:
    error = made(429, retry_after=retry_after)
    assert isinstance(error, errors.TooManyAttemptsError)
    assert error.wait_s == wait_s
