"""What sshd says about one connection, understood: who came in, or who was refused. Pure.

The lines are those of OpenSSH 9.2, level VERBOSE; a test in a real network notices when they change.
"""

from __future__ import annotations

import re

NAME_MAX = 64
_ACCEPTED = re.compile(r"^Accepted publickey for (?P<user>\S+) from \S+ port \d+ ssh2: \S+ (?P<key>SHA256:\S+)$")
_ATTEMPTS = (
    re.compile(r"^Invalid user (?P<user>.*) from \S+ port \d+$"),
    re.compile(r"^User (?P<user>.*) from \S+ not allowed because .*$"),
    re.compile(r"^Failed \S+ for (?:invalid user )?(?P<user>.*) from \S+ port \d+ ssh2(?::.*)?$"),
    re.compile(
        r"^Connection (?:closed|reset) by (?:authenticating|invalid) user (?P<user>.*) \S+ port \d+ \[preauth\]$"
    ),
)


class Journal:
    """One connection."""

    def __init__(self) -> None:
        self.user = ""
        """Who is in; empty before."""
        self.key = ""
        """Fingerprint of the key that let it in."""
        self.tried = ""
        """As whom somebody tried to get in, without success so far."""

    def note(self, line: str) -> bool:
        """Read a line; whether somebody came in by it."""
        if self.user:
            return False
        accepted = _ACCEPTED.match(line)
        if accepted is not None:
            self.user, self.key = accepted["user"], accepted["key"]
            return True
        for each in _ATTEMPTS:
            attempt = each.match(line)
            if attempt is not None:
                # Somebody else's text: short, and nothing that a terminal would obey.
                self.tried = "".join(char if char.isprintable() else "?" for char in attempt["user"][:NAME_MAX])
        return False
