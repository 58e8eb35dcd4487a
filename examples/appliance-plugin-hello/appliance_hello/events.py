"""What this plugin tells everybody."""

from __future__ import annotations

from appliance.events import Event, event


@event(retain=("interface", "vhid"))
class Greeted(Event):
    """This node became master and was greeted."""

    interface: str
    """Logical interface of the virtual address."""
    vhid: int
    text: str


@event(retain="node")
class GreetingHeard(Event):
    """Another node told us that it was greeted."""

    node: str
    """Name of the node that became master."""
    text: str
