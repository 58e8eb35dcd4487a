"""The carp service as the host starts it. Importing this is cheap; what does the work is loaded in its process."""

from __future__ import annotations

from appliance.plugin.context import Context, Started


async def run(ctx: Context, task_status: Started) -> None:
    """Hold the virtual hosts until told to stop."""
    # Imported here: a node starts sooner without the protocol, and without what encrypts it.
    from appliance_carp import heartbeat

    await heartbeat.run(ctx, task_status)
