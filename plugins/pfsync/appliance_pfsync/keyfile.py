"""The key file, read again whenever it changes: that is how keys rotate without a restart."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from appliance.errors import ApplianceError
from appliance_pfsync.native.keys import Keyring

SIZE_MAX = 4096


class KeyFile:
    """The secrets of the cluster on this node's disk."""

    def __init__(self, path: str | None) -> None:
        """``None``: plain datagrams were chosen, there is nothing to read."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def read_if_changed(self) -> Keyring | None:
        """The keyring if the file is new or changed since the last call.

        Raises:
            ApplianceError: It cannot be read, others can read it, or it is malformed. What was read before stays
                in force.
        """
        if self._path is None:
            return None
        try:
            with open(self._path, "rb") as file:
                facts = os.fstat(file.fileno())
                mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
                if mark == self._seen:
                    return None
                text = file.read(SIZE_MAX + 1)
        except OSError as error:
            raise ApplianceError(
                f"the key file {self._path} cannot be read: {error.strerror}",
                hint=f"Make one with 'appliance pfsync key {self._path}' and copy it to every node.",
            ) from error
        if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ApplianceError(f"the key file {self._path} can be read by others", hint=f"chmod 600 {self._path}")
        if len(text) > SIZE_MAX:
            raise ApplianceError(
                f"the key file {self._path} is larger than {SIZE_MAX} bytes", hint="One secret a line, at most four."
            )
        keyring = Keyring.parse(text.decode("utf-8", "replace"), Path(self._path).as_posix())
        self._seen = mark
        return keyring
