"""Errors carry what happened, what to do, and an exit status; they survive being sent to another process."""

from __future__ import annotations

import pickle

import pytest

from appliance import errors
from appliance.errors import ApplianceError, ConfigError, Problem, UsageError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ApplianceError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_pickling(kind: type[ApplianceError]) -> None:
    again = pickle.loads(pickle.dumps(kind("it broke", hint="mend it")))
    assert (type(again), again.message, again.hint, str(again)) == (kind, "it broke", "mend it", "it broke\nmend it")


def test_exit_statuses_are_those_of_the_command() -> None:
    statuses = {kind.__name__: kind.exit_code for kind in KINDS}
    assert statuses == {
        "ApplianceError": 1,
        "UsageError": 2,
        "UnreachableError": 3,
        "KernelError": 1,
        "PluginError": 1,
        "RefusedError": 1,
        "ConfigError": 2,
    }


def test_a_hint_cannot_be_forgotten() -> None:
    with pytest.raises(TypeError, match="hint"):
        UsageError("it broke")  # type: ignore[call-arg]


def test_a_refused_configuration_keeps_its_problems() -> None:
    problem = Problem(path=("carp", "vip", 0), message="wrong")
    assert ConfigError("refused", hint="correct it", problems=[problem]).problems == (problem,)
