"""The users travel to the other nodes as one section; those marked ``nosync`` stay where they are."""

from __future__ import annotations

from appliance.plugin import SyncSection

SECTIONS = (SyncSection(name="users", keys=(("users",),)),)
