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
