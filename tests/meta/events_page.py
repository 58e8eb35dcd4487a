"""Writes `docs/events.md` from the declared events and requests: python tests/meta/events_page.py > docs/events.md"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import textwrap
from pathlib import Path

import appliance.events
from appliance.events import Event, Request, known_events, known_requests

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Events and requests

What services tell each other over the bus, made from the declarations by
`python tests/meta/events_page.py > docs/events.md`. A fact marked *retained by* is kept, one per value of these
fields, and given to new subscribers first; it is withdrawn (`Retracted`) when its source stops or crashes.
`appliance events --follow` shows them as they happen, `appliance events why SEQ` what led to one.
"""


IMAGES = "appliance_images.cluster.events"


def modules() -> list[str]:
    """The modules that declare vocabulary: the public package and each bundled plugin's events."""
    plugins = sorted(path.parent.name for path in ROOT.glob("plugins/*/appliance_*/events.py"))
    core = [f"appliance.events.{name}" for name in ("node", "ha", "link")]
    return [*core, *(f"{name}.events" for name in plugins), IMAGES]


def page() -> str:
    """The whole page."""
    assert appliance.events
    parts = [HEAD]
    for name in modules():
        module = importlib.import_module(name)
        declared: list[type[Event] | type[Request[object]]] = [*known_events().values(), *known_requests().values()]
        kinds = [kind for kind in declared if kind.__module__ == name]
        title = (
            name if name.startswith("appliance.events") else f"plugin {name.removeprefix('appliance_').split('.')[0]}"
        )
        parts.append(f"## {title}\n\n{inspect.getdoc(module)}\n")
        parts += [_section(kind) for kind in kinds]
    return "\n".join(parts)


def _section(kind: type[Event] | type[Request[object]]) -> str:
    retained = getattr(kind, "retain_by", None)
    keys = "" if retained is None else f" Retained by {', '.join(f'`{key}`' for key in retained) or 'type'}."
    label = "event" if issubclass(kind, Event) else "request"
    lines = [f"### {kind.__name__} ({label})\n", f"{_first(inspect.getdoc(kind) or '')}{keys}\n"]
    documented = _field_docs(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        doc = documented.get(field.name, "")
        lines.append(f"- `{field.name}`: {field.type}{'. ' + doc if doc else ''}")
    return "\n".join(lines) + "\n"


def _first(doc: str) -> str:
    return " ".join(doc.split("\n\n")[0].split())


def _field_docs(kind: type) -> dict[str, str]:
    """The strings under the fields."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    found = {}
    for field, doc in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(str(doc.value.value).split())
    return found


if __name__ == "__main__":
    print(page(), end="")
