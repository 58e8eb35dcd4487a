"""What `appliance doctor` looks at for the users, each with its remedy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from appliance.config import Config
from appliance.errors import ApplianceError
from appliance.events import Health
from appliance.plugin import Check, Finding, Probe
from appliance_users.config import UsersConfig

GROUP = "appliance"
"""Its members may connect to the control socket."""
ROOT = "root"


def checks(config: Config) -> list[Check]:
    """The checks for this configuration."""
    table = config[UsersConfig]
    names = tuple(
        name for name, user in table.root.items() if user.role != "sync" and not user.disabled and name != ROOT
    )
    return [
        Check(name="users-group", help="Users of the control socket can reach it.", run=_reaching(names)),
        Check(name="users-members", help="Everybody who can reach the control socket is a user.", run=_known(table)),
    ]


def _reaching(names: tuple[str, ...]) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(probe: Probe) -> Finding:
        outside = [name for name in names if GROUP not in await _groups(probe, name)]
        if outside:
            return Finding(
                health=Health.WARN,
                what=f"not in the group {GROUP} of this machine: {', '.join(outside)}",
                why="the control socket admits root and members of this group only",
                fix=f"As root: usermod -aG {GROUP} {outside[0]}; a user without a login here needs none.",
            )
        return Finding(health=Health.OK, what=f"{len(names)} users can reach the control socket")

    return run


async def _groups(probe: Probe, name: str) -> list[str]:
    try:
        return (await probe.output("id", "-nG", "--", name)).split()
    except ApplianceError:
        return []  # no such user on this machine


def _known(table: UsersConfig) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(probe: Probe) -> Finding:
        members = await _members(probe)
        unknown = [name for name in members if name not in table.root and name != ROOT]
        if table.root and unknown:
            return Finding(
                health=Health.WARN,
                what=f"in the group {GROUP} and not in [users]: {', '.join(unknown)}",
                why="every command of theirs is refused",
                fix=f'Add [users.{unknown[0]}] with role = "operator" or "viewer", or take them out of the group.',
            )
        if not table.root and members:
            return Finding(
                health=Health.WARN,
                what=f"[users] is empty: {', '.join(members)} may do everything",
                why="restrictions begin with the first user",
                fix='Add [users.NAME] with role = "operator" or "viewer", or remove the table.',
            )
        return Finding(health=Health.OK, what="whoever can reach the control socket is a user")

    return run


async def _members(probe: Probe) -> list[str]:
    try:
        line = await probe.output("getent", "group", GROUP)
    except ApplianceError:
        return []  # no such group on this machine
    return [name for name in line.strip().rpartition(":")[2].split(",") if name]
