"""Copies of sections that were changed on this node and then overwritten by another one's. Files: for a thread."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.config.sections import digest
from appliance.identity.files import make_private_directory, remove_private, write_private

DIRECTORY = "overwritten"
"""Below the state directory of the plugin."""
KEPT_MAX = 20
"""Copies; the oldest go first."""
_SUFFIX = ".json"
_DIGITS = 8


def keep(state_dir: Path, sections: Mapping[str, Any], *, sender: str, at: float) -> tuple[str, ...]:
    """Keep a copy of each section, mode 0600: it may hold secrets.

    Args:
        state_dir: Of the plugin.
        sections: Data by name.
        sender: Name of the node whose data replaces it.
        at: Seconds since the epoch.

    Returns:
        Names of the files.

    Raises:
        ApplianceError: It cannot be written.
    """
    directory = state_dir / DIRECTORY
    make_private_directory(directory)
    # The time first: sorted by name is sorted by age.
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(at))
    there = copies(state_dir)
    names = []
    for name, data in sections.items():
        # A push that fails is tried again: the same content is kept once, or it would push the others out.
        ending = f"-{_slug(name)}-{digest(data)[:_DIGITS]}{_SUFFIX}"
        file = next((each for each in there if each.endswith(ending)), stamp + ending)
        if file not in there:
            write_private(directory / file, _text(name, data, sender, at))
        names.append(file)
    for old in copies(state_dir)[: -max(KEPT_MAX, len(names))]:
        remove_private(directory / old)
    return tuple(names)


def _slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def _text(name: str, data: object, sender: str, at: float) -> bytes:
    content = {"section": name, "overwritten_by": sender, "at": at, "data": data}
    return json.dumps(content, indent=1, ensure_ascii=False, default=str).encode()


def copies(state_dir: Path) -> list[str]:
    """Names of all copies, oldest first."""
    try:
        return sorted(each.name for each in (state_dir / DIRECTORY).iterdir() if each.name.endswith(_SUFFIX))
    except FileNotFoundError:
        return []
