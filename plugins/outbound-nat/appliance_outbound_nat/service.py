"""The service ``nat``: answers what is translated to what, with hits. The rules themselves are the core's to load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import Count, GetCounters, Request
from appliance.plugin import Context, NoProvider, ProviderFailed, Started
from appliance_outbound_nat.events import GetNat
from appliance_outbound_nat.report import report
from appliance_outbound_nat.settings import NatSettings

COUNTERS_S = 3.0
"""Asking nft for all counters of 50,000 rules takes less."""


async def run(ctx: Context, task_status: Started) -> None:
    """Answer until told to stop."""

    async def answer(_: Request[dict[str, Any]]) -> dict[str, Any]:
        settings = ctx.config
        assert isinstance(settings, NatSettings)
        return report(settings, await _counts(ctx))

    with ctx.serve(GetNat, answer), ctx.on_reload(_accept):
        task_status.started()
        await ctx.stopping.wait()


async def _accept(_: object) -> None:
    """Nothing to do: every answer is made of the settings in force."""


async def _counts(ctx: Context) -> Mapping[str, Count] | None:
    """By counter; ``None`` when the ruleset is not loaded or nft does not answer: the rest is worth showing."""
    try:
        with trio.fail_after(COUNTERS_S):
            return await ctx.call(GetCounters())
    except (NoProvider, ProviderFailed, ApplianceError, trio.TooSlowError):
        return None
