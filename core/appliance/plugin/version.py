"""The version of the plugin API and the rule by which a plugin fits a host."""

from __future__ import annotations

from typing import NamedTuple


class ApiVersion(NamedTuple):
    """Major changes break plugins; minor ones only add."""

    major: int
    minor: int

    def accepts(self, wanted: tuple[int, int]) -> bool:
        """Whether a plugin written for `wanted` runs on this host: same major, minor not newer."""
        return wanted[0] == self.major and wanted[1] <= self.minor


API = ApiVersion(1, 0)
