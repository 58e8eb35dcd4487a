"""The request is known by its name, as the bus and the documentation need it."""

from __future__ import annotations

from appliance.events import known_requests
from appliance_outbound_nat.events import GetNat


def test_the_request_is_declared() -> None:
    assert known_requests()["appliance_outbound_nat.events:GetNat"] is GetNat
    assert GetNat() == GetNat()
