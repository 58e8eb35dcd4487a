"""What `appliance doctor` looks at for SSH, with its remedy."""

from __future__ import annotations

from appliance.events import Health
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_ssh.accounts import TAKEN
from appliance_ssh.events import GetSsh


async def reachable(probe: Probe) -> Finding:
    """Whether people can log in."""
    data = await ask_if_running(probe, GetSsh(), within_s=1)
    if data is None:
        return Finding(
            health=Health.WARN,
            what="the service of SSH does not answer",
            why="nobody can log in over the network",
            fix="See 'appliance show services' for the error.",
        )
    missing = [row for row in data["listening"] if not row["listening"]]
    if missing:
        return Finding(
            health=Health.WARN,
            what="; ".join(f"not listening on {row['address']}: {row['waiting_for']}" for row in missing),
            fix="Compare with 'appliance show interfaces': the address has to be there, and the port free.",
        )
    unable = [row for row in data["users"] if row["problem"]]
    if unable:
        rename = "Choose another name in [users]."
        files = (
            "Install libnss-extrausers, write `extrausers` behind `files` at passwd in /etc/nsswitch.conf, make the "
            "group with `groupadd --system appliance`, and start the node again."
        )
        return Finding(
            health=Health.WARN,
            what="; ".join(f"{row['name']} cannot log in: {row['problem']}" for row in unable),
            fix=rename if unable[0]["problem"] == TAKEN else files,
        )
    if not data["users"]:
        return Finding(
            health=Health.WARN,
            what="no user has a key",
            why="nobody can log in over the network",
            fix="Add the line of a .pub file to `ssh_keys` of a user.",
        )
    return Finding(health=Health.OK, what=f"these can log in: {', '.join(row['name'] for row in data['users'])}")


CHECKS = (Check(name="ssh-reachable", help="Users with keys can log in over SSH.", run=reachable),)
