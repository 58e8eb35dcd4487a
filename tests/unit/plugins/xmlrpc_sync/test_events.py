"""Events and requests about pairing."""

from __future__ import annotations

from appliance.events.config import Hidden
from appliance_xmlrpc_sync.events import PairingOpen, PairWith


def test_codes_cannot_be_read_in_the_trace_of_the_bus() -> None:
    assert "ABCD" not in repr(PairWith(address="172.16.1.3", port=None, code=Hidden("ABCD-EFGH")))
    opened = PairingOpen(
        window=1, name="fw2", fingerprint="", code="ABCD-EFGH", valid_s=600.0, addresses=("172.16.1.3",), port=8444
    )
    assert "ABCD" not in repr(opened)
