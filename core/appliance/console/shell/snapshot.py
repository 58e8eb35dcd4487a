"""Declarations of commands as data, so that the shell can complete what it has not imported. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.plugin.contributions import Argument, Command, Where

_TYPES = {"int": int, "float": float}


def described(command: Command) -> dict[str, Any]:
    """A command as plain data."""
    return {
        "path": list(command.path),
        "help": command.help,
        "where": str(command.where),
        "reads": command.reads,
        "arguments": [
            {
                "name": argument.name,
                "help": argument.help,
                "type": getattr(argument.type, "__name__", "str"),
                "required": argument.required,
                "flag": argument.flag,
                "choices": list(argument.choices),
                "default": argument.default if isinstance(argument.default, str | int | float | None) else None,
            }
            for argument in command.arguments
        ],
    }


def restored(data: Mapping[str, Any]) -> Command:
    """The declaration again; it cannot be run here.

    Raises:
        KeyError: It is not what `described` makes.
    """
    return Command(
        path=tuple(data["path"]),
        help=data["help"],
        run=_elsewhere,
        where=Where(data["where"]),
        reads=data["reads"],
        arguments=tuple(
            Argument(
                name=each["name"],
                help=each["help"],
                type=_TYPES.get(each["type"], str),
                required=each["required"],
                flag=each["flag"],
                choices=tuple(each["choices"]),
                default=each["default"],
            )
            for each in data["arguments"]
        ),
    )


def _elsewhere(**_: object) -> None:
    raise AssertionError("this command runs in the node")
