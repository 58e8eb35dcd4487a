"""What every tier needs: a test that cannot run here fails and says what is missing."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

NEEDED = ("ip", "nft", "sysctl", "tcpdump", "ping", "arping")
"""Commands without which no test of the real kernel tells anything."""


# How long an example takes depends on what else the machine does; nothing that is timed decides here.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse tests of the real kernel where they could only fail mysteriously."""
    if item.get_closest_marker("netns") is None:
        return
    if os.geteuid() != 0:
        pytest.fail("needs root, for network namespaces; without it: pytest -m 'not netns'", pytrace=False)
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    missing = [command for command in NEEDED if shutil.which(command, path=path) is None]
    if missing:
        pytest.fail(f"needs {', '.join(missing)}; `make setup` installs what is missing", pytrace=False)
