"""The service where there is no bonding; everything else it does is tested on a kernel that has it, in tests/guest."""

from __future__ import annotations

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.net.kernel import Support
from appliance.testing.harness import run_service
from appliance_lagg import service
from appliance_lagg.plugin import Lagg
from tests.unit.plugins.lagg.configured import BOTH

ABSENT = Support(available=False, why="this kernel has no bond devices", fix="Load the module (`modprobe bonding`).")


def test_a_kernel_without_bonding_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.capabilities, "net_admin", lambda: Support(available=True))
    monkeypatch.setattr(service.capabilities, "link_kind", lambda kind: ABSENT)

    async def main() -> None:
        async with run_service(Lagg, config={"lagg0": {"members": BOTH, "protocol": "failover"}}):
            raise AssertionError("it has started")

    with pytest.raises(ApplianceError) as caught:
        trio.run(main)
    assert "link aggregation is not possible: this kernel has no bond devices" in str(caught.value)
