"""The service ``directory``: answers who the users are. Who may do what is decided where it is asked for."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, Status
from appliance.plugin import Context, Started
from appliance_users.events import GetUsers
from appliance_users.settings import Settings


async def run(ctx: Context, task_status: Started) -> None:
    """Answer until told to stop."""

    async def answer(_: Request[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        return [row.data() for row in _settings(ctx.config).users]

    async def accept(config: object) -> None:
        ctx.publish(summary(_settings(config)))

    with ctx.serve(GetUsers, answer), ctx.on_reload(accept):
        ctx.publish(summary(_settings(ctx.config)))
        task_status.started()
        await ctx.stopping.wait()


def _settings(config: object) -> Settings:
    assert isinstance(config, Settings)
    return config


def summary(settings: Settings) -> Status:
    """How many users there are, by role."""
    active = [row for row in settings.users if not row.disabled]
    if not settings.users:
        return Status(summary="no users: every member of the group appliance may do everything")
    counts = {role: sum(row.role == role for row in active) for role in ("operator", "viewer", "sync")}
    told = [f"{count} {role}" for role, count in counts.items() if count]
    resting = len(settings.users) - len(active)
    return Status(summary=", ".join([*told, *([f"{resting} disabled"] if resting else [])]))
