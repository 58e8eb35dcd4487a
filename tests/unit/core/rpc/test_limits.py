"""The patience with a body."""

from __future__ import annotations

import pytest

from appliance.rpc import Limits, Timeouts

LIMITS = Limits(body_grace_s=5, body_floor=1000, body_stall_s=10, send_stall_s=2)


@pytest.mark.parametrize(
    ("now", "received", "deadline"),
    [
        (100, 0, 105),
        (104, 0, 105),
        (104, 500, 105.5),
        (105, 5000, 110),
        (100, 1_000_000, 110),
        (150, 48_000, 153),
    ],
)
def test_a_body_has_to_come_steadily_and_fast_enough(now: float, received: int, deadline: float) -> None:
    assert LIMITS.body_deadline(100, now, received) == deadline


def test_a_large_answer_may_take_longer() -> None:
    assert LIMITS.send_time(0) == 2
    assert LIMITS.send_time(3000) == 5


def test_client_and_server_fit_together() -> None:
    # Otherwise a client would use connections that the server is closing, or give up on a method that still runs.
    assert Timeouts().idle_s < Limits().idle_s
    assert Timeouts().answer_s > Limits().method_s
    assert Timeouts().answer_max == Limits().body_max
