"""Builds that share a cache."""

from __future__ import annotations

import threading
from pathlib import Path

from appliance_images.build import alone


def test_a_build_waits_for_another_one_with_the_same_cache_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    waits, order = threading.Event(), []

    def tell(what: str) -> None:
        said.append(what)
        waits.set()

    def second() -> None:
        with alone(tmp_path, tell):
            order.append("second")

    with alone(tmp_path, said.append):
        assert said == []
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    assert said == ["waiting for another build with this cache"]


def test_what_a_killed_build_has_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    left = [tmp_path / name for name in ("build-x1", "base-x2", "site-x3", "kernel-x4", "firmware-x5", "python/abc.17")]
    kept = [tmp_path / name for name in ("base", "site", "kernel/linux-6.1_amd64", "firmware", "python/abc", "wheels")]
    for folder in (*left, *kept):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    with alone(tmp_path, print):
        assert not any(folder.exists() for folder in left)
        assert all((folder / "file").exists() for folder in kept)


def test_nothing_of_a_build_that_runs_is_removed(tmp_path: Path) -> None:
    waits = threading.Event()

    def second() -> None:
        with alone(tmp_path, lambda _: waits.set()):
            pass

    with alone(tmp_path, print):
        (tmp_path / "build-mine").mkdir()
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(20)
        assert (tmp_path / "build-mine").exists()
    thread.join(20)
    assert not (tmp_path / "build-mine").exists()
