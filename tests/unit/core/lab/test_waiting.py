"""What is read out of the nodes' answers while waiting."""

from __future__ import annotations

import pytest

from appliance.lab.waiting import LabTimeoutError, describe, is_all, is_settled, states, wait_until


def status(*states: str, reasons: tuple[str, ...] = ()) -> dict[str, object]:
    vips = [{"name": f"vip{number}", "state": state} for number, state in enumerate(states)]
    return {"vips": vips, "reasons": [{"name": name} for name in reasons]}


def test_a_cluster_is_settled_with_one_master_of_everything() -> None:
    seen = {"fw1": status("MASTER", "MASTER"), "fw2": status("BACKUP", "BACKUP")}
    assert is_settled(seen, "fw1", ["fw2"])
    assert not is_settled(seen, "fw2", ["fw1"])


@pytest.mark.parametrize(
    "other",
    [None, status("BACKUP", "MASTER"), status("BACKUP", "INIT"), status()],
    ids=["silent", "split", "init", "empty"],
)
def test_a_cluster_is_not_settled_while_another_node_is_anything_but_backup(other: dict[str, object] | None) -> None:
    seen = {"fw1": status("MASTER", "MASTER")} | ({"fw2": other} if other is not None else {})
    assert not is_settled(seen, "fw1", ["fw2"])


def test_a_node_without_virtual_hosts_is_in_no_state() -> None:
    assert not is_all(status(), "MASTER")
    assert not is_all(None, "BACKUP")
    assert states(None) == {}


def test_the_description_names_states_and_reasons() -> None:
    seen = {"fw1": status("INIT", reasons=("link:wan",)), "fw2": status("MASTER")}
    assert describe(seen) == "fw1: vip0 INIT (demoted: link:wan); fw2: vip0 MASTER"
    assert describe({}) == "no node answers"


def test_a_condition_that_never_holds_says_what_was_awaited() -> None:
    with pytest.raises(LabTimeoutError, match="the moon") as late:
        wait_until(lambda: None, "the moon", deadline_s=0.05)
    assert "None" in late.value.hint
