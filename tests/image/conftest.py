"""One image for all tests of this tier: built once, from the cache of packages if there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance_images import session, signing
from appliance_images.build import Order, build


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made."""

    summary: dict[str, Any]
    order: Order

    def file(self, suffix: str) -> Path:
        """One of the files, such as ``.raw``."""
        return Path(self.summary["image"]).with_suffix(suffix)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """An image of the example cluster's first node, signed."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "fw1.toml").write_text(session.example_config("fw1"))
    signing.make(folder / "key")
    order = Order(output=folder / "out", config=folder / "fw1.toml", plugins=("ssh", "users"), key=folder / "key")
    yield Built(build(order, print), order)
    for path in (folder / "out").iterdir():
        path.unlink()
