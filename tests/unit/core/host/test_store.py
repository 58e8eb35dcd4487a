"""The configuration file is replaced as a whole, and keeps what is the operator's: owner, mode, link."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import trio

from appliance.config.history import History
from appliance.errors import ApplianceError
from appliance.host.store import ConfigStore


def store(tmp: Path, **options: bool) -> ConfigStore:
    return ConfigStore(History(tmp / "h"), tmp / "a.toml", wall=lambda: 5.0, **options)


def test_writing_returns_what_was_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        kept = store(tmp_path)
        assert await kept.write("a = 1\n") is None
        assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
        kept.path.chmod(0o644)
        assert await kept.write("a = 2\n") == "a = 1\n"
        assert await kept.write("a = 2\n") is None
        assert kept.read() == "a = 2\n"
        assert stat.S_IMODE(kept.path.stat().st_mode) == 0o644

    trio.run(main)


def test_a_store_that_keeps_no_file_writes_none(tmp_path: Path) -> None:
    async def main() -> None:
        assert await store(tmp_path, keeps_file=False).write("a = 1\n") is None
        assert not (tmp_path / "a.toml").exists()

    trio.run(main)


@pytest.mark.parametrize("offload", [False, True])
def test_revisions_are_recorded_with_the_time_of_day(tmp_path: Path, offload: bool) -> None:
    async def main() -> None:
        revision = await store(tmp_path, offload=offload).record("a = 1\n", comment="c", who="w")
        assert (revision.number, revision.when, revision.who) == (1, 5.0, "w")

    trio.run(main)


def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    async def main() -> None:
        broken = ConfigStore(History(tmp_path), tmp_path / "none" / "a.toml")
        with pytest.raises(ApplianceError, match="cannot be written: No such file or directory"):
            await broken.write("a = 1\n")

    trio.run(main)
