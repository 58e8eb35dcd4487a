"""Copies of what was overwritten."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from appliance_xmlrpc_sync.kept import DIRECTORY, KEPT_MAX, copies, keep

NOW = 1_700_000_000.0


def kept(folder: Path, data: Any, *, name: str = "firewall rules", at: float = NOW) -> tuple[str, ...]:
    return keep(folder, {name: data}, sender="fw1", at=at)


def test_a_copy_says_what_it_was_and_who_overwrote_it(tmp_path: Path) -> None:
    (name,) = kept(tmp_path, {"rule": [1]})
    assert name.startswith("20231114-221320-firewall-rules-")
    content = json.loads((tmp_path / DIRECTORY / name).read_text())
    assert content == {"section": "firewall rules", "overwritten_by": "fw1", "at": NOW, "data": {"rule": [1]}}


def test_only_the_node_can_read_a_copy(tmp_path: Path) -> None:
    (name,) = kept(tmp_path, {})
    assert stat.S_IMODE((tmp_path / DIRECTORY / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / DIRECTORY).stat().st_mode) == 0o700


def test_the_same_content_is_kept_once_however_often_a_push_is_repeated(tmp_path: Path) -> None:
    assert kept(tmp_path, {"a": 1}) == kept(tmp_path, {"a": 1}, at=NOW + 60)
    assert len(copies(tmp_path)) == 1


def test_the_oldest_copies_go_first(tmp_path: Path) -> None:
    names = [kept(tmp_path, {"a": number}, at=NOW + number)[0] for number in range(KEPT_MAX + 3)]
    assert copies(tmp_path) == names[3:]


def test_one_push_never_pushes_its_own_copies_out(tmp_path: Path) -> None:
    many: dict[str, Any] = {f"section {number}": {} for number in range(KEPT_MAX + 5)}
    assert sorted(keep(tmp_path, many, sender="fw1", at=NOW)) == copies(tmp_path)


def test_nothing_was_ever_kept(tmp_path: Path) -> None:
    assert copies(tmp_path) == []
