"""Kea as a plain child process in a namespace, with files of its own: for what is compared with the product."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What it serves."""

    device: str
    subnet: str
    first: str
    last: str
    lease_s: int
    router: str


def config(folder: Path, pool: Pool, hooks: Sequence[dict[str, object]] = ()) -> dict[str, object]:
    """Kea's configuration; its control socket is ``FOLDER/ctl``."""
    subnet = {
        "id": 1,
        "subnet": pool.subnet,
        "interface": pool.device,
        "pools": [{"pool": f"{pool.first} - {pool.last}"}],
        "option-data": [
            {"name": "routers", "data": pool.router},
            {"name": "domain-name-servers", "data": pool.router},
        ],
    }
    return {
        "Dhcp4": {
            "interfaces-config": {"interfaces": [pool.device], "dhcp-socket-type": "raw"},
            "control-socket": {"socket-type": "unix", "socket-name": str(folder / "ctl")},
            "lease-database": {"type": "memfile", "persist": True, "name": str(folder / "leases4.csv")},
            "multi-threading": {"enable-multi-threading": True, "thread-pool-size": 2, "packet-queue-size": 64},
            "valid-lifetime": pool.lease_s,
            "renew-timer": pool.lease_s // 2,
            "rebind-timer": pool.lease_s * 7 // 8,
            "authoritative": True,
            "subnet4": [subnet],
            "hooks-libraries": list(hooks),
            "loggers": [{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{"output": "stdout"}]}],
        }
    }


def command(folder: Path, wanted: dict[str, object]) -> list[str]:
    """Writes the configuration and returns how Kea is started with it."""
    folder.mkdir(mode=0o750, exist_ok=True)
    for stale in folder.glob("*.pid"):  # of a node that lost its power
        stale.unlink()
    (folder / "kea.json").write_text(json.dumps(wanted))
    places = ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR")
    words = [f"{name}={folder}" for name in places] + ["KEA_LOGGER_DESTINATION=stdout"]
    return ["env", *words, "kea-dhcp4", "-c", str(folder / "kea.json")]
