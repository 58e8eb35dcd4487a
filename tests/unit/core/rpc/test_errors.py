"""Every cause has its own class, sentence and remedy."""

from __future__ import annotations

import inspect
import pickle

import pytest

from appliance.errors import ApplianceError
from appliance.rpc import errors

WHERE = "192.0.2.3:8443"

ALL = {
    "refused": errors.refused(WHERE),
    "unreachable": errors.unreachable(WHERE, "No route to host"),
    "no_way_out": errors.no_way_out(WHERE, "No such device"),
    "silent": errors.silent(WHERE, "answer", 5),
    "not_tls": errors.not_tls(WHERE, "its answer is not TLS"),
    "hung_up": errors.hung_up(WHERE),
    "wrong_peer": errors.wrong_peer(WHERE, "self-signed certificate"),
    "not_accepted": errors.not_accepted(WHERE),
    "lost": errors.lost(WHERE, "the call was sent"),
    "unauthorized": errors.unauthorized(WHERE, "admin"),
    "forbidden": errors.forbidden(WHERE, "viewer", ""),
    "too_large": errors.too_large(WHERE, 20, 10),
    "answer_too_large": errors.answer_too_large(WHERE, 10),
    "too_many_attempts": errors.too_many_attempts(WHERE, 4),
    "busy": errors.busy(WHERE),
    "nonsense": errors.nonsense(WHERE, "HTTP status 404 (Not Found)"),
}


def test_every_cause_is_looked_at_here() -> None:
    made = {name for name, made in vars(errors).items() if inspect.isfunction(made)}
    assert set(ALL) == made


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_error_names_the_server_and_a_remedy(name: str) -> None:
    error = ALL[name]
    assert isinstance(error, errors.RpcError)
    assert WHERE in error.message
    assert "\n" not in error.message
    assert error.hint.endswith(".")


def test_no_two_causes_read_alike() -> None:
    assert len({error.message for error in ALL.values()}) == len(ALL)
    assert len({type(error) for error in ALL.values()}) == len(ALL) - 3, "two for no way, two for no TLS, two for size"


def test_the_sentences_adapt_to_what_is_known() -> None:
    assert (
        errors.unauthorized(WHERE, "").message == f"{WHERE} refused a call without user: unknown user or wrong password"
    )
    assert errors.forbidden(WHERE, "viewer", "no role sync").message.endswith("to call it: no role sync")
    assert ALL["forbidden"].message.endswith("to call it")
    assert errors.too_large(WHERE, 20, 0).message.endswith("has 20 bytes and was refused as too large")
    assert errors.too_many_attempts(WHERE, 0).hint.endswith("after a minute.")
    assert errors.too_many_attempts(WHERE, 4).wait_s == 4


@pytest.mark.parametrize("name", sorted(ALL))
def test_errors_cross_processes(name: str) -> None:
    copy = pickle.loads(pickle.dumps(ALL[name]))
    assert isinstance(copy, ApplianceError)
    assert (type(copy), copy.message, copy.hint) == (type(ALL[name]), ALL[name].message, ALL[name].hint)
