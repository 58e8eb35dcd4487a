"""The one tree of errors that an operator can meet.

Every error says what happened (`message`) and what to do about it (`hint`). The command line prints
exactly these two lines and exits with `exit_code`. A peer's nonsense is never an exception: it is a
counted effect of the protocol machine that received it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ApplianceError(Exception):
    """Something failed in a way that an operator can act on."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and these errors cross processes.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[ApplianceError], message: str, hint: str) -> ApplianceError:
    return kind(message, hint=hint)


class UsageError(ApplianceError):
    """The command line itself is wrong."""

    exit_code = 2


class UnreachableError(ApplianceError):
    """No node answers on the control socket."""

    exit_code = 3


class KernelError(ApplianceError):
    """The kernel refused something, or lacks it (a capability, a device, a module)."""


class PluginError(ApplianceError):
    """A plugin broke a rule; the message names its distribution."""


class RefusedError(ApplianceError):
    """A request was understood and deliberately not carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a configuration."""

    path: tuple[str | int, ...]
    """Where, as keys and list indexes: ``("carp", "vip", 0, "vhid")``."""
    message: str
    """What is wrong and, when it is not obvious, what would be right."""
    severity: str = "error"
    """``"error"`` refuses the configuration, ``"warning"`` is only shown. ``"confirm"``: it is right, and the change to
    it may cut off whoever makes it; refused unless it goes away by itself when nobody confirms it."""
    also: tuple[tuple[str | int, ...], ...] = ()
    """Further places that are part of the same problem (the other half of a conflict)."""


class ConfigError(ApplianceError):
    """A configuration was refused; nothing has been changed.

    `message` is already formatted: every problem with ``file:line:column`` and the source line.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)
