"""What the firewall tells and what it is asked."""

from __future__ import annotations

from typing import Any

from appliance.events import Event, Request, event, request


@event()
class PacketBlocked(Event):
    """A rule that logs blocked or rejected a packet. Some packets only: `show firewall log` has the last 2000."""

    rule: str
    """Id of the rule."""
    action: str
    """``block`` or ``reject``."""
    direction: str
    """``in``, ``forward`` or ``out``."""
    interface: str
    protocol: str
    source: str
    destination: str
    source_port: int | None = None
    destination_port: int | None = None
    suppressed: int = 0
    """Packets that were blocked and logged since the event before and have no event of their own."""


@request
class GetFirewall(Request[dict[str, Any]]):
    """What `show firewall --json` prints; see `docs/cli.md` for its shape."""

    interface: str | None = None
    """Only rules that are asked for packets of this interface."""
    limit: int


@request
class GetFirewallLog(Request[dict[str, Any]]):
    """Entries of the log that match; how many there were in all; whether packets are recorded at all."""

    words: tuple[str, ...] = ()
    """The filter, see `appliance_firewall.blocklog`."""
    limit: int
    after: int | None = None
    """The first entries after this number, and if there is none the answer waits; else the last entries."""
    wait_s: float = 0.0


@request
class GetAliases(Request[dict[str, Any]]):
    """What `show aliases --json` prints."""

    name: str | None = None
    """Only this one, with its members."""
