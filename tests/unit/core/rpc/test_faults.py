"""Faults for programs and for people."""

from __future__ import annotations

import pickle

import pytest

from appliance.errors import ApplianceError
from appliance.rpc.faults import Fault, FaultCode


@pytest.mark.parametrize("code", list(FaultCode))
def test_every_number_has_its_own_remedy(code: FaultCode) -> None:
    fault = Fault(code, "no")
    assert fault.hint != Fault(12345, "no").hint or code is FaultCode.INTERNAL
    assert fault.hint.endswith(".")


def test_the_numbers_are_those_of_the_specification() -> None:
    assert {code.name: int(code) for code in FaultCode} == {
        "AUTHENTICATION": -1,
        "PRIVILEGE": -2,
        "LOCKED": -3,
        "BUSY": -10,
        "NO_TRANSACTION": -11,
        "SECTION": -20,
        "DIGEST": -21,
        "DRIFT": -30,
        "VALIDATION": -40,
        "VERSION": -50,
        "LOOP": -60,
        "NO_METHOD": -32601,
        "PARAMETERS": -32602,
        "INTERNAL": -32603,
        "PARSE": -32700,
    }


def test_a_fault_prints_as_two_lines_with_its_number() -> None:
    assert (
        str(Fault(FaultCode.BUSY, "a push is in progress", hint="Wait.")) == "a push is in progress (fault -10)\nWait."
    )


def test_a_fault_crosses_processes() -> None:
    fault = pickle.loads(pickle.dumps(Fault(FaultCode.DRIFT, "changed", hint="Look.")))
    assert isinstance(fault, ApplianceError)
    assert (fault.code, fault.message, fault.hint) == (-30, "changed", "Look.")
    assert type(fault.code) is int
