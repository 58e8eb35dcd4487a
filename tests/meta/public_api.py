"""Prints names and signatures of everything that is public, one per line.

After a deliberate change: ``.venv/bin/python tests/meta/public_api.py > tests/meta/public_api.txt``, and
a fragment in changelog.d/ for the authors of plugins.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator

MODULES = (
    "appliance.errors",
    "appliance.events",
    "appliance.plugin",
    "appliance.plugin.hookspecs",
    "appliance.config",
    "appliance.config.types",
    "appliance.identity",
    "appliance.rpc",
    "appliance.testing",
)


def dump() -> str:
    """The whole public API as text."""
    lines: list[str] = []
    for name in (*MODULES, *_below("appliance.net")):
        module = importlib.import_module(name)
        lines.append(f"# {name}")
        for public in sorted(_names(module)):
            lines += _describe(public, getattr(module, public))
        lines.append("")
    # Defaults that are objects print their address; the name says enough.
    return re.sub(r" at 0x[0-9a-f]+", "", "\n".join(lines))


def _below(package: str) -> list[str]:
    found = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    return sorted(module.name for module in found if not module.name.rpartition(".")[2].startswith("_"))


def _names(module: types.ModuleType) -> Iterator[str]:
    if hasattr(module, "_HOMES"):  # resolved on first use
        yield from module._HOMES
        return
    is_package = hasattr(module, "__path__")
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, types.ModuleType) or name == "annotations":
            continue
        home = str(getattr(value, "__module__", module.__name__))
        own = home.startswith(module.__name__) if is_package else home == module.__name__
        # Field types are values of typing's and pydantic's making; their home says nothing.
        alias = module.__name__ == "appliance.config.types" and not inspect.isclass(value) and not callable(value)
        if own or alias:
            yield name


def _describe(name: str, value: object) -> list[str]:
    if inspect.isclass(value):
        return _describe_class(name, value)
    if inspect.isroutine(value):
        return [f"{name}{_signature(value)}"]
    if isinstance(value, (bool, int, float, str, tuple)):
        return [f"{name} = {value!r}"]
    return [name]


def _describe_class(name: str, value: type) -> list[str]:
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    lines = [f"class {name}({bases})" if bases else f"class {name}"]
    if issubclass(value, enum.Enum):
        return [*lines, *(f"    {member.name} = {member.value!r}" for member in value)]
    if dataclasses.is_dataclass(value):
        lines += [f"    {field.name}: {field.type}{_default(field)}" for field in dataclasses.fields(value)]
    for member, item in sorted(vars(value).items()):
        if isinstance(item, property) and not member.startswith("_"):
            lines.append(f"    {member}: {_result(item)}")
        elif inspect.isfunction(item) and (not member.startswith("_") or _own_init(value, member)):
            lines.append(f"    {member}{_signature(item)}")
    return lines


def _own_init(value: type, member: str) -> bool:
    return member == "__init__" and not dataclasses.is_dataclass(value) and not getattr(value, "_is_protocol", False)


def _default(field: dataclasses.Field[object]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    return "" if field.default_factory is dataclasses.MISSING else " = ..."


def _result(item: property) -> str:
    return str(inspect.signature(item.fget).return_annotation) if item.fget else ""


def _signature(value: object) -> str:
    try:
        text = str(inspect.signature(value))  # type: ignore[arg-type]
    except ValueError:
        return "(...)"
    return text.replace("'", "")


if __name__ == "__main__":
    print(dump())
