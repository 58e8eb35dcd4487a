"""`appliance wizard`: two configurations from a few answers."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.console.commands.run import DEFAULT_CONFIG
from appliance.console.render import table
from appliance.errors import ConfigError, UsageError
from appliance.plugin import Argument, Command, Where

if TYPE_CHECKING:
    from appliance.console.wizard.answers import Answers
    from appliance.console.wizard.askers import Asker
    from appliance.console.wizard.links import Device
    from appliance.console.wizard.plan import ClusterPlan

Data = dict[str, Any]


def wizard(config: str, answers: str | None, output: str, dry_run: bool) -> Data:
    """Ask, plan, check, and write both files."""
    from appliance.console.wizard import askers, document

    installed = frozenset(entry.name for entry in entry_points(group="appliance.plugins"))
    missing = [name for name in document.NEEDED if name not in installed]
    if missing:
        raise UsageError(f"the plugin {missing[0]} is not installed", hint="A cluster needs it: install it first.")
    old = _existing(Path(config))
    asker: askers.Asker
    if answers is not None:
        asker = askers.Answered(askers.read_answers(Path(answers)))
    elif sys.stdin.isatty():
        asker = askers.Terminal(sys.stdin, sys.stderr)
    else:
        asker = askers.Lines(sys.stdin, sys.stderr)
    told, planned = _converse(asker, old, installed)
    if isinstance(asker, askers.Answered):
        asker.refuse_unused()
    texts = {name: document.node_text(planned, ordinal, installed) for ordinal, name in enumerate(planned.nodes)}
    warnings = [f"{name}: {each}" for name, text in texts.items() for each in _checked(name, text)]
    written = (
        {} if dry_run else {name: str(_write(Path(output) / f"{name}.toml", text)) for name, text in texts.items()}
    )
    return {
        "answers_from": "file" if answers is not None else "terminal" if sys.stdin.isatty() else "lines",
        "plan": list(document.plan_rows(planned)),
        "nodes": list(planned.nodes),
        "this": told.this,
        "pair_with": document.pairing_address(planned),
        "files": written,
        "texts": texts if dry_run else {},
        "warnings": warnings,
        "left_out": _left_out(old, texts[told.this]),
    }


def _converse(asker: Asker, old: Data, installed: frozenset[str]) -> tuple[Answers, ClusterPlan]:
    """Ask until somebody likes the plan; a file and a pipe have said all they have to say."""
    from appliance.console.wizard import existing, links
    from appliance.console.wizard.adverts import Listening
    from appliance.console.wizard.answers import choice
    from appliance.console.wizard.askers import Question, Terminal
    from appliance.console.wizard.document import plan_rows
    from appliance.console.wizard.interview import Interview
    from appliance.console.wizard.plan import make_plan

    defaults: Mapping[str, str] = existing.defaults_of(old)
    is_person = isinstance(asker, Terminal)
    found = links.devices() if is_person else ()
    if is_person:
        asker.say("An empty line takes what is in brackets, `?` explains, Ctrl-C leaves without a trace.")
        asker.say(table([{"device": each.name, "mac": each.mac, "link": _link(each)} for each in found]) + "\n")
    while True:
        told = Interview(
            asker=asker,
            defaults=defaults,
            installed=installed,
            devices=[each.name for each in found],
            detect=partial(links.find_plugged, stdin=sys.stdin, say=asker.say) if is_person else None,
            listen=partial(Listening, is_down=[each.name for each in found if not each.is_up]) if is_person else None,
        ).run()
        planned = make_plan(told)
        if not is_person:
            return told, planned
        asker.say("\n" + table(list(plan_rows(planned))) + "\n")
        right = Question(
            key="confirm", prompt="Is this right", parse=lambda text: choice(text, "yes", "no"), default="yes"
        )
        if asker.ask(right) == "yes":
            return told, planned
        defaults = dict(asker.given)


def _link(device: Device) -> str:
    return "yes" if device.has_link else "no" if device.is_up else "is down"


def _existing(path: Path) -> Data:
    """The configuration that this node has; one that is missing or broken gives no defaults."""
    from appliance.config.loader import read_file

    if not path.exists():
        return {}
    try:
        return tomllib.loads(read_file(path))
    except (ConfigError, tomllib.TOMLDecodeError):
        return {}


def _checked(name: str, text: str) -> tuple[str, ...]:
    """What `appliance check` warns about; raises what it refuses."""
    from appliance.host.discovery import discover
    from appliance.host.loading import ConfigLoader
    from appliance.host.plugins import Plugins

    # Not asked what the kernel of this machine can do: one of the files is for the other.
    loader = ConfigLoader(Plugins(discover()), probe=None)
    return tuple(loader.strict(text, path=f"{name}.toml", old=None).warnings)


def _write(path: Path, text: str) -> Path:
    """Replace a file; what it was before is beside it. It may hold a password."""
    from appliance.config.history import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_name(path.name + ".old"))
        write_atomically(path, text.encode(), mode=0o600)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="Choose another folder with --output."
        ) from None
    return path


def _left_out(old: Data, text: str) -> list[str]:
    from appliance.console.wizard.existing import left_out

    return left_out(old, tomllib.loads(text))


def _render(data: Data) -> str:
    primary, secondary = data["nodes"]
    # Whoever was asked has just seen the plan and said that it is right.
    lines = [] if data["answers_from"] == "terminal" else [table(data["plan"]), ""]
    for name, text in data["texts"].items():
        lines += [f"# {name}.toml", "", text]
    lines += data["warnings"]
    if data["left_out"]:
        lines.append(f"The configuration of this node also has: {', '.join(data['left_out'])}. The new ones do not.")
    if not data["files"]:
        return "\n".join([*lines, "Dry run: nothing was written."])
    own = data["files"][data["this"]]
    other = next(path for name, path in data["files"].items() if name != data["this"])
    lines += [
        f"Written: {', '.join(data['files'].values())}. `appliance check` accepts both.",
        "",
        "Next:",
        f"  1. this machine ({data['this']}): install {own} as {DEFAULT_CONFIG}, then `appliance run`",
        f"  2. the other machine: the same with {other}",
        f"  3. on {secondary}: `appliance pair --listen`, which shows a code",
        f"  4. on {primary}: `appliance pair {data['pair_with']} --code CODE`",
        "  5. `appliance show ha` on either says how they are",
    ]
    return "\n".join(lines)


COMMANDS = (
    Command(
        path=("wizard",),
        help="Make the configurations of both nodes of a cluster from a few answers.",
        run=wizard,
        where=Where.LOCAL,
        render=_render,
        arguments=(
            Argument(name="--config", default=DEFAULT_CONFIG, help="where defaults come from, if it exists (-c)"),
            Argument(name="--answers", help="a file of answers instead of questions"),
            Argument(name="--output", default=".", help="the folder for both files (-o)"),
            Argument(name="--dry-run", flag=True, help="show the files, write nothing"),
        ),
    ),
)
