"""A change of what plugins may use is a decision that a reviewer sees."""

from __future__ import annotations

import difflib
from pathlib import Path

from tests.meta.public_api import dump

RECORDED = Path(__file__).with_name("public_api.txt")


def test_the_public_api_is_as_recorded() -> None:
    recorded, current = RECORDED.read_text().rstrip().splitlines(), dump().rstrip().splitlines()
    difference = "\n".join(difflib.unified_diff(recorded, current, "recorded", "current", lineterm="", n=1))
    assert not difference, (
        f"{difference}\nIf this is meant: .venv/bin/python tests/meta/public_api.py > tests/meta/public_api.txt,"
        " and a fragment in changelog.d/"
    )
