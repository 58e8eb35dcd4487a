"""What the appliance has put into the kernel, remembered across restarts in one small JSON file."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from pathlib import Path

from appliance_interfaces.plan import Owned

FILE_NAME = "owned.json"
_VERSION = 1


def load(state_dir: Path) -> Owned:
    """What was remembered; nothing for a first start.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        text = (state_dir / FILE_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Owned()
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise ValueError("not a file of this version")
    try:
        return Owned(
            addresses={
                str(device): frozenset(ip_interface(text) for text in texts)
                for device, texts in data["addresses"].items()
            },
            vlans=frozenset(str(name) for name in data["vlans"]),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"unexpected content: {error}") from error


def save(state_dir: Path, owned: Owned) -> None:
    """Replace the file as a whole.

    Not forced to the disk: what a power cut could lose describes addresses that it takes away as well.
    """
    data = {
        "version": _VERSION,
        "addresses": {device: sorted(map(str, found)) for device, found in sorted(owned.addresses.items())},
        "vlans": sorted(owned.vlans),
    }
    fresh = state_dir / f"{FILE_NAME}.new"
    fresh.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    fresh.replace(state_dir / FILE_NAME)
