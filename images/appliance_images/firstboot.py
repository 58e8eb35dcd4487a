"""From a machine without configuration to a node that runs: the wizard's file with a password, taken into use.

No image has a password, so there is none that could stay: the wizard demands one for the user `admin`. The console
shell, SSH and other nodes know users by ``[users]``; the console itself is open unless ``console_login`` is set.
"""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, UsageError
from appliance.identity.passwords import hash_password
from appliance_images import tools

CONFIG = Path("/config/appliance.toml")
PROGRAM = "/usr/bin/appliance"
SERVICE = "appliance.service"
ADMIN = "admin"
PASSWORD_MIN = 8
"""Characters."""
TRIES_MAX = 10
START_S = 330.0
"""The node has 300 s to come up (appliance.service)."""
Secret = Callable[[str], str]


def set_up(config: Path = CONFIG, secret: Secret = getpass.getpass) -> dict[str, Any]:
    """Run the wizard, demand a password, and let this machine be the node that comes of it.

    Raises:
        ApplianceError: The wizard ended without an answer, or the node did not start.
    """
    with tempfile.TemporaryDirectory(prefix="appliance-wizard-") as name:
        told = wizard(config, Path(name))
        texts = {node: Path(file).read_text() for node, file in told["files"].items()}
    hashed = hash_password(new_password(secret))
    texts = {node: with_admin(text, hashed) for node, text in texts.items()}
    own = told["this"]
    other = next(node for node in told["nodes"] if node != own)
    for_other = config.with_name(f"{other}.toml")
    put(for_other, texts[other])
    put(config, texts[own])
    start(own)
    return {
        "node": own,
        "config": str(config),
        "other": other,
        "other_config": str(for_other),
        "secondary": told["nodes"][1],
        "primary": told["nodes"][0],
        "pair_with": told["pair_with"],
    }


def wizard(config: Path, folder: Path) -> dict[str, Any]:
    """Ask the questions on this terminal; what `appliance wizard --json` says of the files that it wrote."""
    argv = [PROGRAM, "wizard", "--config", str(config), "--output", str(folder), "--json"]
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise ApplianceError(f"the wizard cannot be started: {error.strerror}", hint="See the log.") from error
    if done.returncode != 0:
        raise ApplianceError("the wizard made no configuration", hint="Nothing was changed; run it again.")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def new_password(secret: Secret) -> str:
    """A new password, typed twice and unseen.

    Raises:
        UsageError: Nobody managed to.
    """
    for _ in range(TRIES_MAX):
        password = secret(f"New password of {ADMIN}: ")
        if len(password) < PASSWORD_MIN:
            _say(f"It needs at least {PASSWORD_MIN} characters.")
        elif secret("Again: ") != password:
            _say("The two differ.")
        else:
            return password
    raise UsageError("there is no new password", hint="Nothing was changed; try again.")


def with_admin(text: str, hashed: str) -> str:
    """A configuration of the wizard, with the one user who may do everything."""
    if "users" in tomllib.loads(text):
        raise ApplianceError("the wizard has made users itself", hint="This image is too old for its wizard.")
    return (
        f"{text.rstrip()}\n\n# Everybody else has to be added here: `appliance user password` makes a hash.\n"
        f'[users.{ADMIN}]\nrole = "operator"\nhash = "{hashed}"\n'
    )


def put(path: Path, text: str) -> None:
    """Write a configuration; after a power failure there is the old or the new one."""
    # The console is started with the machine: what it does not need then is not loaded then.
    from appliance.config.history import write_atomically

    try:
        write_atomically(path, text.encode(), mode=0o600)
    except OSError as error:
        raise ApplianceError(
            f"cannot write {path}: {error.strerror}",
            hint="Check the configuration partition: see the log of the system.",
        ) from error


def start(node: str, run: Callable[..., str] = tools.run) -> None:
    """Start the node, or start it anew with what it has now."""
    _say(f"{node} starts; that takes a few seconds.")
    run("hostname", node)
    run("systemctl", "restart", SERVICE, timeout_s=START_S)


def render(made: Mapping[str, Any]) -> str:
    """What is next."""
    lines = [f"{made['node']} runs. The configuration of {made['other']} is in {made['other_config']}.", "", "Next:"]
    lines += [
        f"  1. {made['other']}: the same image and the same answers, or that file on a volume labelled APPLCONF",
        f"  2. on {made['secondary']}: `pair --listen`, which shows a code",
        f"  3. on {made['primary']}: `pair {made['pair_with']} --code CODE`",
        "  4. `show ha` on either says how they are",
    ]
    return "\n".join(lines)


def change_password(
    secret: Secret = getpass.getpass, run: Callable[[Sequence[str]], None] | None = None
) -> dict[str, str]:
    """Give `admin` another password, by a commit as anybody would make it.

    Raises:
        ApplianceError: The node does not run, or refuses it.
    """
    hashed = hash_password(new_password(secret))
    (run or _shell)(
        [
            "configure",
            f"set users {ADMIN} role operator",
            f"set users {ADMIN} hash {hashed}",
            f'commit comment "password of {ADMIN} from the console"',
        ]
    )
    return {"user": ADMIN}


def _shell(lines: Sequence[str]) -> None:
    tools.run(PROGRAM, stdin="".join(f"{line}\n" for line in lines).encode(), timeout_s=120)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
