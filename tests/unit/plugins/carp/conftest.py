"""A station on a machine of paper, for every test that wants one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.net import fastpath, packet
from appliance_carp import port
from tests.unit.plugins.carp.fakes import PaperKernel, PaperRaw, PaperSocket, Rig, carp


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> PaperKernel:
    """The machine: what the plugin opens are its sysctls and its sockets."""
    made = PaperKernel()
    monkeypatch.setattr(fastpath, "Sysctl", made.sysctl)
    monkeypatch.setattr(packet, "PacketSocket", PaperSocket)
    monkeypatch.setattr(port, "_unicast_socket", PaperRaw)
    return made


@pytest.fixture
def make_rig(kernel: PaperKernel, tmp_path: Path) -> Callable[..., Rig]:
    """Makes a station whose devices are not there yet; from virtual hosts and settings, see `fakes.carp`."""

    def make(*vips: Any, now: float = 100.0, **settings: Any) -> Rig:
        return Rig(kernel, tmp_path, carp(*vips, **settings), now)

    return make


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """The example: lan and wan with a virtual host each, a sync link; everything listens."""
    return make_rig().plugged()
