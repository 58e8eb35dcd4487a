"""The console commands of translation: ``show nat`` and ``nat convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.errors import RefusedError
from appliance.plugin import Argument, Command, CommandContext, Where, ask
from appliance_outbound_nat import files
from appliance_outbound_nat.automatic import automatic_rules
from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.convert import as_toml, converted
from appliance_outbound_nat.events import GetNat
from appliance_outbound_nat.report import render
from appliance_outbound_nat.scene import scene_of

ANSWER_S = 5.0
"""The service answers in milliseconds, and waits up to 3 s for the counters of a large ruleset."""
DEFAULT_CONFIG = "/etc/appliance/appliance.toml"


async def show_nat(context: CommandContext) -> dict[str, Any]:
    """What is translated to what, with hits."""
    answer: dict[str, Any] = await ask(context, GetNat(), table="outbound_nat", within_s=ANSWER_S)
    return answer


def convert(*, config: str = DEFAULT_CONFIG, write: bool = False) -> dict[str, Any]:
    """Turn the automatic rules of a file into manual ones."""
    path = Path(config)
    text = files.read(path)
    loaded = files.load(text, path)
    table = loaded[OutboundNatConfig]
    if table.mode not in ("automatic", "hybrid"):
        raise RefusedError(
            f"{path}: outbound NAT is in the mode {table.mode}, which has no automatic rules",
            hint='Set mode = "automatic" or "hybrid" to have some; nothing was changed.',
        )
    rules = automatic_rules(scene_of(loaded))
    if write:
        made = converted(text, rules)
        files.load(made, path)
        files.write(made, path)
    return {"path": str(path), "written": write, "rules": [rule.description for rule in rules], "toml": as_toml(rules)}


def render_convert(data: dict[str, Any]) -> str:
    """What was done, or the text to paste."""
    if data["written"]:
        told = [f"{data['path']}: mode manual, {len(data['rules'])} rules added:", *(f"  {r}" for r in data["rules"])]
        return "\n".join([*told, f"Look at it, then: appliance check -c {data['path']}; appliance config reload"])
    head = f'# Put this at the end of {data["path"]} and set mode = "manual" in [outbound_nat]; --write does both.'
    return f"{head}\n\n{data['toml']}".rstrip()


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("show", "nat"),
        help="Translation of addresses: rules in order, port forwards, one-to-one entries, and their hits.",
        run=show_nat,
        reads=True,
        render=render,
    ),
    Command(
        path=("nat", "convert"),
        help="Turn the automatic outbound rules of a file into manual ones that can be edited.",
        run=convert,
        arguments=(
            Argument(name="--config", default=DEFAULT_CONFIG, help="the file (-c)"),
            Argument(name="--write", flag=True, help="change the file; otherwise the rules are printed"),
        ),
        render=render_convert,
        where=Where.LOCAL,
    ),
)
