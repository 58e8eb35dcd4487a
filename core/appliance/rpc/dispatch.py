"""From the XML of a call to the XML of its answer: finds the method, runs it, contains its errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import trio

from appliance.rpc import values, xml
from appliance.rpc.containment import Log, attempt
from appliance.rpc.errors import CodecError
from appliance.rpc.faults import Fault, FaultCode
from appliance.rpc.values import Value

T = TypeVar("T")

CODEC_THREADS = 2
"""Large documents in work at a time; each holds some copies of itself."""
_NAMES = {bool: "a boolean", int: "an int", float: "a double", str: "a string", bytes: "base64", list: "an array"}
_NAMES |= {dict: "a struct", datetime: "a dateTime"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls."""

    fingerprint: str
    """SHA-256 of the caller's pinned certificate; empty on a listener for pairing."""
    address: str
    user: str
    """The authenticated user; empty on a server without users."""


Method = Callable[[list[Value], Caller], Awaitable[object]]
"""A method of the server. May raise a `Fault`; any other error is a defect and answered with `FaultCode.INTERNAL`."""


def expect(params: Sequence[Value], *kinds: type, optional: int = 0) -> None:
    """Check the parameters of a call.

    Args:
        params: As the method got them.
        kinds: The type of each, one of `Value`.
        optional: How many of the last may be missing.

    Raises:
        Fault: `FaultCode.PARAMETERS`, says which and what it has to be.
    """
    least = len(kinds) - optional
    if not least <= len(params) <= len(kinds):
        wanted = f"{len(kinds)}" if not optional else f"{least} to {len(kinds)}"
        raise Fault(FaultCode.PARAMETERS, f"the method takes {wanted} parameters, not {len(params)}")
    for number, (value, kind) in enumerate(zip(params, kinds, strict=False), 1):
        if type(value) is not kind:
            raise Fault(
                FaultCode.PARAMETERS,
                f"parameter {number} has to be {_NAMES.get(kind, kind.__name__)}, not {_NAMES[type(value)]}",
            )


class Dispatcher:
    """The methods of a server.

    Args:
        methods: By their full names; nothing else can be called.
        log: Where defects are reported.
        body_max: Bytes of a call and of an answer.
        method_s: Seconds a method may take.
    """

    def __init__(self, methods: Mapping[str, Method], *, log: Log, body_max: int, method_s: float) -> None:
        self._methods = dict(methods)
        self._log = log
        self._body_max = body_max
        self._method_s = method_s
        self._threads = trio.CapacityLimiter(CODEC_THREADS)

    async def answer(self, document: bytes, caller: Caller) -> bytes:
        """The answer to a call, a fault if need be. Raises nothing."""
        outcome = await attempt(lambda: self._answer(document, caller))
        if isinstance(outcome, bytes):
            return outcome
        if isinstance(outcome, Fault):
            return xml.dumps_fault(outcome)
        if isinstance(outcome, CodecError):
            return xml.dumps_fault(Fault(FaultCode.PARSE, outcome.message))
        self._log.error("rpc_call_failed", caller=caller.address, error=repr(outcome), exc_info=outcome)
        return xml.dumps_fault(Fault(FaultCode.INTERNAL, "the call failed here; the log of this node says why"))

    async def _answer(self, document: bytes, caller: Caller) -> bytes:
        call = await self._decode(document)
        method = self._methods.get(call.method)
        if method is None:
            raise Fault(FaultCode.NO_METHOD, f"there is no method {call.method!r}")
        with trio.move_on_after(self._method_s):
            outcome = await attempt(lambda: method(call.params, caller))
            if isinstance(outcome, Exception):
                raise self._failure(call.method, caller, outcome)
            return await self._encode(call.method, outcome)
        self._log.error("rpc_method_too_slow", method=call.method, seconds=self._method_s)
        raise Fault(FaultCode.INTERNAL, f"{call.method} was given up after {self._method_s:g} s")

    async def _decode(self, document: bytes) -> xml.Call:
        def decode() -> xml.Call:
            return xml.loads_call(document, size_max=self._body_max)

        return await self._work(decode, large=len(document) > values.LARGE)

    async def _encode(self, method: str, value: object) -> bytes:
        def encode() -> bytes:
            return xml.dumps_response(value, size_max=self._body_max)

        try:
            return await self._work(encode, large=values.is_large(value))
        except CodecError as error:
            self._log.error("rpc_answer_unsendable", method=method, error=error.message)
            raise Fault(FaultCode.INTERNAL, f"the answer of {method} cannot be sent: {error.message}") from None

    async def _work(self, work: Callable[[], T], *, large: bool) -> T:
        if not large:
            return work()
        return await trio.to_thread.run_sync(work, limiter=self._threads)

    def _failure(self, method: str, caller: Caller, error: Exception) -> Fault:
        if isinstance(error, Fault):
            return error
        self._log.error("rpc_method_failed", method=method, caller=caller.address, error=repr(error), exc_info=error)
        return Fault(FaultCode.INTERNAL, f"{method} failed here; the log of this node says why")
