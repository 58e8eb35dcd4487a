"""The pfsync service as the host starts it. Importing this is cheap; what does the work is loaded in its process."""

from __future__ import annotations

from appliance.plugin.context import Context, Started


async def run(ctx: Context, task_status: Started) -> None:
    """Replicate until told to stop."""
    # Imported here: numpy and cryptography belong into the service's process, not into the node's.
    from appliance_pfsync.replicator import Replicator

    await Replicator(ctx).run(task_status)
