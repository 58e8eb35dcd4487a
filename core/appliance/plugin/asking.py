"""How a command or a check asks the service that knows, and says what is wrong when nobody answers in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from appliance.events import Request

# trio is imported where it is used: whoever types a command loads this package, too, and only passes the command on.
R = TypeVar("R")


class Asker(Protocol):
    """A `CommandContext` or a `Probe`."""

    async def call(self, request: Request[R]) -> R: ...


async def ask(asker: Asker, request: Request[R], *, table: str, within_s: float = 2.0) -> R:
    """The answer of the service of a table, for a command.

    Args:
        asker: The command's context.
        request: What to ask.
        table: Name of the table without which there is no such service.
        within_s: Longest wait. A healthy service answers in milliseconds.

    Raises:
        ApplianceError: Nobody answers, or not in time; with the remedy.
    """
    import trio

    from appliance.plugin.context import NoProvider

    try:
        with trio.fail_after(within_s):
            return await asker.call(request)
    except NoProvider:
        raise ApplianceError(
            f"the service of [{table}] is not running on this node",
            hint=f"'appliance show services' says why; without the table [{table}] there is none.",
        ) from None
    except trio.TooSlowError:
        raise ApplianceError(
            f"the service of [{table}] did not answer within {within_s:g} s",
            hint="'appliance show services' and the log of the node say what it is doing.",
        ) from None


async def ask_if_running(asker: Asker, request: Request[R], *, within_s: float = 2.0) -> R | None:
    """As `ask`, for a check: nothing, when nobody answers in time."""
    import trio

    from appliance.plugin.context import NoProvider

    try:
        with trio.fail_after(within_s):
            return await asker.call(request)
    except (NoProvider, trio.TooSlowError):
        return None
