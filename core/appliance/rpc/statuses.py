"""What the HTTP status of an answer means for a call."""

from __future__ import annotations

from contextlib import suppress
from http.client import responses

from appliance.rpc import errors, xml
from appliance.rpc.errors import CodecError, RpcError
from appliance.rpc.faults import Fault

_WAIT_MAX_S = 3600.0
"""Nobody is locked out for longer, whatever a server says."""


def refusal(status: int, body: bytes, retry_after: bytes, *, where: str, user: str, size: int) -> RpcError:
    """The error for an answer whose status is not 200.

    Args:
        status: Of the answer.
        body: Its body, where a fault may say more.
        retry_after: The header of this name, empty without.
        where: The server.
        user: Who called.
        size: Bytes of the call.
    """
    match status:
        case 401:
            return errors.unauthorized(where, user)
        case 403:
            return errors.forbidden(where, user, _reason(body))
        case 408:
            return errors.lost(where, "the call was sent: it arrived too slowly")
        case 413:
            return errors.too_large(where, size, 0)
        case 429:
            return errors.too_many_attempts(where, _seconds(retry_after))
        case 503:
            return errors.busy(where)
    return errors.nonsense(where, f"HTTP status {status} ({responses.get(status, 'unknown')})")


def _reason(body: bytes) -> str:
    with suppress(CodecError):
        try:
            xml.loads_response(body)
        except Fault as fault:
            return fault.message
    return ""


def _seconds(retry_after: bytes) -> float:
    text = retry_after.strip()
    return min(float(text), _WAIT_MAX_S) if text.isdigit() and len(text) < 10 else 0.0
