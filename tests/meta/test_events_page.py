"""The page of events is what the declarations say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_page_of_events_is_made_from_the_declarations() -> None:
    made = subprocess.run(
        [sys.executable, HERE / "events_page.py"], capture_output=True, text=True, timeout=60, check=True
    )
    assert (HERE.parents[1] / "docs" / "events.md").read_text() == made.stdout, (
        "python tests/meta/events_page.py > docs/events.md"
    )
