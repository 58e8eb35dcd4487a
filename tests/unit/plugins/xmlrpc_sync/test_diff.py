"""In which keys a peer differs; how values are compared is tested with `appliance.config.compare`."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.diff import KEYS_MAX, exchange
from appliance_xmlrpc_sync.vocabulary import Known, Task
from tests.unit.plugins.xmlrpc_sync.peers import Fake

TASK = Task(own_name="fw1", rank=1)


def test_only_sections_that_differ_are_fetched_and_told() -> None:
    ours: dict[str, dict[str, Any]] = {"rules": {"rule": [{"name": "a"}]}, "names": {"x": 1}, "new": {"y": 1}}
    fake = Fake(
        ours=ours, theirs={"rules": {"rule": []}, "names": {"x": 1}}, drift={"rules": {"who": "ann", "when": 0}}
    )
    found = fake.run(exchange(TASK, Known()))
    assert found == [
        {
            "name": "rules",
            "state": "drift",
            "who": "ann",
            "when": "",
            "keys": [{"key": "rule[a].name", "change": "added", "there": None, "here": '"a"'}],
            "more": False,
        },
        {
            "name": "new",
            "state": "pending",
            "who": "",
            "when": "",
            "keys": [{"key": "y", "change": "added", "there": None, "here": "1"}],
            "more": False,
        },
    ]
    assert fake.params["backup_config_section"] == (["rules"],)
    assert "restore_config_section" not in fake.steps


def test_nothing_is_fetched_from_a_peer_in_sync() -> None:
    fake = Fake(ours={"names": {"x": 1}}, theirs={"names": {"x": 1}})
    assert fake.run(exchange(TASK, Known())) == []
    assert fake.steps == ["host_firmware_version", "config_digest"]


def test_a_long_list_is_cut() -> None:
    fake = Fake(ours={"names": {f"k{n}": n for n in range(KEYS_MAX + 5)}}, theirs={"names": {}})
    (section,) = fake.run(exchange(TASK, Known()))
    assert (len(section["keys"]), section["more"]) == (KEYS_MAX, True)


@pytest.mark.parametrize("answer", [b"no json", b"[]", "text"])
def test_what_is_no_section_is_refused(answer: object) -> None:
    fake = Fake(ours={"names": {"x": 2}}, theirs={"names": {"x": 1}})
    fake.backup_config_section = lambda names: {"names": answer}  # type: ignore[method-assign, dict-item]
    with pytest.raises(SyncError, match="backup_config_section is no JSON object") as refusal:
        fake.run(exchange(TASK, Known()))
    assert refusal.value.cause is Cause.NONSENSE
