"""What `appliance doctor` says about SSH; the good case is in `test_service.py`."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from appliance.events import Health
from appliance.plugin import NoProvider
from appliance_ssh.accounts import TAKEN, UNKNOWN
from appliance_ssh.checks import reachable

ROW = {"address": "192.168.1.2", "listening": True, "waiting_for": None}


class Probe:
    """A node whose service answers this, or is not there."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        self._answer = answer

    async def call(self, request: object) -> dict[str, Any]:
        if self._answer is None:
            raise NoProvider("nobody")
        return self._answer


def answer(problem: str | None = None, **more: Any) -> dict[str, Any]:
    return {"listening": [ROW], "users": [{"name": "olga", "problem": problem}], **more}


@pytest.mark.parametrize(
    ("given", "what", "fix"),
    [
        (None, "the service of SSH does not answer", "show services"),
        (
            answer(listening=[{**ROW, "listening": False, "waiting_for": "No such device"}]),
            "not listening on 192.168.1.2: No such device",
            "show interfaces",
        ),
        (answer(TAKEN), f"olga cannot log in: {TAKEN}", "another name"),
        (answer(UNKNOWN), f"olga cannot log in: {UNKNOWN}", "/etc/nsswitch.conf"),
        (answer(users=[]), "no user has a key", "ssh_keys"),
    ],
)
def test_what_keeps_people_out_is_named_with_its_remedy(given: dict[str, Any] | None, what: str, fix: str) -> None:
    finding = trio.run(reachable, Probe(given))
    assert (finding.health, finding.what) == (Health.WARN, what)
    assert fix in finding.fix


def test_people_who_can_log_in_are_named() -> None:
    finding = trio.run(reachable, Probe(answer()))
    assert (finding.health, finding.what) == (Health.OK, "these can log in: olga")
