"""What is ours survives a restart."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest

from appliance_interfaces import memory
from appliance_interfaces.plan import Owned


def test_it_is_read_back_as_written(tmp_path: Path) -> None:
    assert memory.load(tmp_path) == Owned()
    addresses = frozenset({ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64")})
    owned = Owned(addresses={"wan0": addresses}, vlans=frozenset({"lan0.20"}))
    memory.save(tmp_path, owned)
    assert memory.load(tmp_path) == owned
    memory.save(tmp_path, Owned())
    assert memory.load(tmp_path) == Owned()
    assert [file.name for file in tmp_path.iterdir()] == [memory.FILE_NAME]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "addresses": [], "vlans": []}',
     '{"version": 1, "addresses": {"a": ["x"]}, "vlans": []}', '{"version": 1, "addresses": {"a": 1}, "vlans": []}'],
)  # fmt: skip
def test_a_damaged_file_is_told_as_such(tmp_path: Path, text: str) -> None:
    (tmp_path / memory.FILE_NAME).write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        memory.load(tmp_path)
