"""Asks the plugins what they need in an image; run as a program of its own, with more wheels on its path.

A plugin that is only to be in the image is not installed where images are built, and its code has no business in the
process that writes disks. Reads a request as JSON from standard input, prints the answer as JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from appliance.config.loader import load_whole, read_file
from appliance.config.syntax import parse
from appliance.errors import ApplianceError, PluginError, UsageError
from appliance.host.discovery import GROUP, OWN, discover
from appliance.host.plugins import Plugins
from appliance.plugin import ImagePart
from appliance_images.recipe import Chosen
from appliance_images.tools import run

ALWAYS = ("images",)
"""The commands for upgrades are in every image."""


def ask(flavor: str, config: Path | None, names: Sequence[str], more: Sequence[Path]) -> tuple[Chosen, ...]:
    """The plugins of an image: those that the configuration has tables of, and these; with what they need.

    Args:
        flavor: What the plugins are told.
        config: It is validated; ``None`` means an image without one, with all bundled plugins.
        names: Further plugins.
        more: Folders with unpacked wheels.

    Raises:
        ApplianceError: The configuration is wrong, or a plugin is missing or broken.
    """
    request = {"flavor": flavor, "config": str(config.resolve()) if config else None, "names": list(names)}
    path = ":".join(str(folder) for folder in more)
    text = run(
        sys.executable, "-m", "appliance_images.declared", stdin=json.dumps(request).encode(), env={"PYTHONPATH": path}
    )
    answer = json.loads(text)
    if "error" in answer:
        raise UsageError(answer["error"], hint=answer["hint"])
    return tuple(Chosen(**{**each, "part": _part(each["part"])}) for each in answer["plugins"])


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the program prints."""
    try:
        config = Path(request["config"]) if request["config"] else None
        chosen = choose(request["flavor"], config, request["names"])
    except ApplianceError as error:
        return {"error": error.message, "hint": error.hint}
    return {"plugins": [dataclasses.asdict(each) for each in chosen]}


def choose(flavor: str, config: Path | None, names: Sequence[str]) -> list[Chosen]:
    """As `ask`, with the plugins that are importable here."""
    plugins = Plugins(discover())
    loaded = {entry.name: entry for entry in plugins.entries if entry.state == "loaded"}
    unknown = [name for name in names if name not in loaded]
    if unknown:
        reasons = {entry.name: entry.error for entry in plugins.entries if entry.error}
        raise UsageError(
            f"there is no plugin {unknown[0]}" + (f": {reasons[unknown[0]]}" if unknown[0] in reasons else ""),
            hint=f"Name its wheel with --plugin FILE.whl; these are here: {', '.join(loaded)}.",
        )
    wanted = {*names, *ALWAYS}
    if config is None:
        wanted |= {name for name, entry in loaded.items() if entry.distribution == OWN}
    else:
        text = read_file(config)
        tables = set(parse(text, str(config)))
        plugins.enable(tables)
        load_whole(text, path=str(config), tables=plugins.tables(), verify=functools.partial(plugins.verify, old=None))
        wanted |= {name for name, entry in loaded.items() if entry.table is not None and entry.table.name in tables}
    parts = dict(plugins.image(flavor))
    if plugins.failures:
        raise PluginError(str(plugins.failures[0]), hint="Repair the plugin, or leave it out.")
    packages = {point.name: point.module.partition(".")[0] for point in entry_points(group=GROUP)}
    return [
        Chosen(
            name=name,
            distribution=loaded[name].distribution,
            package=packages[name],
            part=parts.get(name, ImagePart()),
        )
        for name in sorted(wanted)
    ]


def _part(values: dict[str, Any]) -> ImagePart:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return ImagePart(**fields)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(json.load(sys.stdin))))
