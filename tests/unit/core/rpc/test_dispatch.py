"""From a call to an answer, whatever the method does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
import trio

from appliance.rpc import Caller, Fault, FaultCode, Value, expect, values, xml
from appliance.rpc.dispatch import Dispatcher
from tests.unit.core.rpc.peers import METHODS, Notes, run

CALLER = Caller(fingerprint="ab" * 32, address="192.0.2.2", user="admin")


async def no(params: list[Value], caller: Caller) -> object:
    raise Fault(FaultCode.BUSY, "a push is in progress")


async def nothing(params: list[Value], caller: Caller) -> object:
    return None


async def several(params: list[Value], caller: Caller) -> object:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(no, params, caller)
    return True


async def large(params: list[Value], caller: Caller) -> object:
    return b"x" * 1_000_000


MORE = {"no": no, "nothing": nothing, "several": several, "large": large}


def ask(document: bytes, *, notes: Notes | None = None, method_s: float = 5, body_max: int = values.BODY_MAX) -> Any:
    """The value of the answer, or the fault."""
    answers: list[Any] = []

    async def main() -> None:
        dispatcher = Dispatcher({**METHODS, **MORE}, log=notes or Notes(), body_max=body_max, method_s=method_s)
        answer = await dispatcher.answer(document, CALLER)
        try:
            answers.append(xml.loads_response(answer))
        except Fault as fault:
            answers.append(fault)

    run(main)
    return answers[0]


def call(method: str, *params: object, **more: Any) -> Any:
    return ask(xml.dumps_call(method, params), **more)


def test_a_method_gets_its_parameters_and_its_caller() -> None:
    assert call("appliance.echo", 1, "two", [3.0]) == [1, "two", [3.0]]
    assert call("appliance.whoami") == {"fingerprint": "ab" * 32, "address": "192.0.2.2", "user": "admin"}


def test_a_large_call_takes_the_way_through_a_thread() -> None:
    blob = b"x" * (values.LARGE * 2)
    assert call("appliance.echo", blob) == [blob]


def failure(answer: Any) -> tuple[int, str]:
    assert isinstance(answer, Fault)
    return answer.code, answer.message


def test_an_unknown_method_is_a_fault() -> None:
    assert failure(call("appliance.exec_php", "system('id')")) == (-32601, "there is no method 'appliance.exec_php'")
    assert failure(call("__class__")) == (-32601, "there is no method '__class__'")


def test_wrong_parameters_are_a_fault() -> None:
    assert failure(call("appliance.add", 1)) == (-32602, "the method takes 2 parameters, not 1")
    assert failure(call("appliance.add", 1, "2")) == (-32602, "parameter 2 has to be an int, not a string")


def test_what_is_no_call_is_a_fault() -> None:
    code, message = failure(ask(b"hello"))
    assert code == -32700
    assert message.startswith("not XML-RPC: ")
    assert failure(ask(b"")) == (-32700, "not XML-RPC: no element found at line 1, column 0")


def test_a_fault_of_the_method_is_passed_on() -> None:
    notes = Notes()
    assert failure(call("no", notes=notes)) == (-10, "a push is in progress")
    assert notes.entries == []


def test_a_defect_of_a_method_is_logged_here_and_not_told_there() -> None:
    notes = Notes()
    answer = failure(call("appliance.crash", notes=notes))
    assert answer == (-32603, "appliance.crash failed here; the log of this node says why")
    (entry,) = notes.named("rpc_method_failed")
    assert entry["error"] == "RuntimeError('a defect')"
    assert entry["method"] == "appliance.crash"


def test_a_group_of_errors_is_a_defect() -> None:
    assert failure(call("several"))[0] == -32603


def test_an_answer_that_cannot_travel_is_a_defect() -> None:
    notes = Notes()
    code, message = failure(call("nothing", notes=notes))
    assert code == -32603
    assert message.startswith("the answer of nothing cannot be sent: the answer is or contains None")
    assert len(notes.named("rpc_answer_unsendable")) == 1


def test_an_answer_that_is_too_large_is_a_defect() -> None:
    assert "the document is larger than 1000 bytes" in failure(call("large", body_max=1000))[1]


def test_a_method_that_takes_too_long_is_given_up() -> None:
    notes = Notes()
    answer = failure(call("appliance.hang", notes=notes, method_s=0.05))
    assert answer == (-32603, "appliance.hang was given up after 0.05 s")
    assert notes.named("rpc_method_too_slow") == [{"method": "appliance.hang", "seconds": 0.05}]


def test_a_defect_of_the_dispatcher_itself_is_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(document: bytes, *, size_max: int) -> xml.Call:
        raise MemoryError

    monkeypatch.setattr(xml, "loads_call", broken)
    notes = Notes()
    assert failure(call("appliance.echo", notes=notes)) == (
        -32603,
        "the call failed here; the log of this node says why",
    )
    assert len(notes.named("rpc_call_failed")) == 1


@pytest.mark.parametrize(
    ("params", "kinds", "optional"),
    [
        ([], (), 0),
        ([1, "a"], (int, str), 0),
        ([1], (int, str), 1),
        ([True, 1.5, b"", [], {}], (bool, float, bytes, list, dict), 0),
    ],
)
def test_parameters_as_expected(params: list[Value], kinds: tuple[type, ...], optional: int) -> None:
    expect(params, *kinds, optional=optional)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: expect([1], str), "parameter 1 has to be a string, not an int"),
        (lambda: expect([True], int), "parameter 1 has to be an int, not a boolean"),
        (lambda: expect([1], bool), "parameter 1 has to be a boolean, not an int"),
        (lambda: expect([1.0], dict), "parameter 1 has to be a struct, not a double"),
        (lambda: expect(["a", b""], str, list), "parameter 2 has to be an array, not base64"),
        (lambda: expect([[], {}], list, bytes), "parameter 2 has to be base64, not a struct"),
        (lambda: expect([datetime(2026, 1, 1)], float), "parameter 1 has to be a double, not a dateTime"),  # noqa: DTZ001
        (lambda: expect([1, 2], int), "the method takes 1 parameters, not 2"),
        (lambda: expect([], int, int, optional=1), "the method takes 1 to 2 parameters, not 0"),
    ],
)
def test_parameters_that_are_not_as_expected(check: Callable[[], Awaitable[None]], message: str) -> None:
    with pytest.raises(Fault) as caught:
        check()
    assert (caught.value.code, caught.value.message) == (FaultCode.PARAMETERS, message)
