"""Configuration files for the local command: read with the models of all installed plugins, and written whole.

A local command runs without a node, so it looks for the tables of the installed plugins by itself.
"""

from __future__ import annotations

import os
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

from appliance.config import Config
from appliance.config.loader import load_whole, read_file
from appliance.errors import ApplianceError, ConfigError, Problem
from appliance.plugin import ConfigTable
from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.verify import verify

GROUP = "appliance.plugins"
OWN_TABLE = "outbound_nat"


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigError: It is missing, unreadable, too large or not UTF-8.
    """
    return read_file(path)


def load(text: str, path: Path) -> Config:
    """The configuration it says.

    Raises:
        ConfigError: All that is wrong with its tables and with outbound NAT, or outbound NAT is not in it.
    """
    config = load_whole(text, path=str(path), tables=_tables(), verify=_verify).config
    if config.get(OutboundNatConfig) is None:
        raise ConfigError(
            f"{path}: there is no table [{OWN_TABLE}]", hint="Write [outbound_nat] on a line of its own first."
        )
    return config


def _verify(config: Config) -> list[Problem]:
    return verify(config) if config.get(OutboundNatConfig) is not None else []


def _tables() -> dict[str, ConfigTable]:
    """The tables of the installed plugins, by plugin; those of one that cannot be imported are unknown."""
    tables: dict[str, ConfigTable] = {}
    for point in entry_points(group=GROUP):
        try:
            plugin = point.load()()
        except (ImportError, AttributeError):
            continue
        declare = getattr(plugin, "appliance_config", None)
        table = declare() if declare is not None else None
        if isinstance(table, ConfigTable):
            tables.setdefault(point.name, table)
    return tables


def write(text: str, path: Path) -> None:
    """Replace a file as a whole; its owner and mode stay.

    Raises:
        ApplianceError: It cannot be written; the old one is untouched.
    """
    try:
        before = path.stat()
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chown(name, before.st_uid, before.st_gid)
            os.chmod(name, before.st_mode & 0o7777)
            os.replace(name, path.resolve())
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ApplianceError(
            f"{path} cannot be written: {error.strerror}", hint="Nothing was changed; see who may write in its folder."
        ) from error
