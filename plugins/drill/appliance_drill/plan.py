"""What can be rehearsed on this node at this moment, and what has to be remembered of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from appliance.errors import RefusedError, UsageError
from appliance.events import Demotion, LinkChanged, Role, RoleChanged

NAMES = ("switchover", "maintenance", "disable")
"""What an operator may ask a node for anyway."""
UNPLUG = "unplug-"
"""With the logical name of an interface behind it."""
SECONDS_MIN, SECONDS_MAX = 1.0, 300.0
"""How long something may stay as it is rehearsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One thing that happens to this node."""

    name: str
    device: str = ""
    """Of a cable that is unplugged."""

    def to_text(self) -> str:
        """For the journal."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Rehearsal:
        """The inverse of `to_text`.

        Raises:
            ValueError: That is no journal.
        """
        data = json.loads(text)
        known = isinstance(data, dict) and set(data) == {"name", "device"}
        if not known or not all(isinstance(value, str) for value in data.values()):
            raise ValueError(f"not a journal of a rehearsal: {text[:80]!r}")
        return cls(**data)


def choose(
    name: str,
    seconds: float,
    *,
    links: Sequence[LinkChanged],
    roles: Sequence[RoleChanged],
    reasons: Sequence[Demotion],
) -> Rehearsal:
    """What is meant, on a node that takes part and has no reason to be worse than the others.

    Raises:
        UsageError: There is no such thing to rehearse.
        RefusedError: Not on this node, or not now.
    """
    hosts = [each for each in roles if each.role is not Role.REMOVED]
    candidates = [each.interface for each in links if any(host.interface == each.interface for host in hosts)]
    wanted = name.removeprefix(UNPLUG) if name.startswith(UNPLUG) else ""
    if name not in NAMES and wanted not in candidates:
        known = ", ".join([*NAMES, *(UNPLUG + each for each in sorted(candidates))])
        raise UsageError(f"{name!r} cannot be rehearsed on this node", hint=f"There are: {known}.")
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        hint = f"Use {SECONDS_MIN:g} to {SECONDS_MAX:g} seconds."
        raise UsageError(f"a rehearsal of {seconds:g} s is not possible", hint=hint)
    _refuse_unless_well([each.reason for each in reasons if each.weight], [each.role for each in hosts])
    device = next((each.device for each in links if each.interface == wanted), "")
    if device and not all(each.up for each in links if each.interface == wanted):
        raise RefusedError(f"{wanted} ({device}) has no link already", hint="Plug its cable in, or bring it up, first.")
    return Rehearsal(name=name, device=device)


def _refuse_unless_well(reasons: Sequence[str], roles: Sequence[Role]) -> None:
    """What an operator has chosen must not be undone when the rehearsal is put back."""
    if not roles:
        raise RefusedError("this node has no virtual hosts", hint="A rehearsal is about a failover: configure [carp].")
    if reasons:
        raise RefusedError(
            f"this node has demoted itself: {', '.join(sorted(reasons))}",
            hint="See 'appliance show ha' for why; rehearse when that is over.",
        )
    if any(role is not Role.MASTER and role is not Role.BACKUP for role in roles):
        raise RefusedError(
            f"not every virtual host of this node takes part: {', '.join(sorted({role.value for role in roles}))}",
            hint="Bring its links up, or 'appliance ha enable', first.",
        )
