"""What ``appliance doctor`` looks at."""

from __future__ import annotations

from appliance.events import Health
from appliance.plugin import Check, Finding, Probe
from appliance_hello.events import Greeted, GreetingHeard


async def audience(probe: Probe) -> Finding:
    """Somebody who greets but never hears a greeting may be alone on its network."""
    if probe.retained(Greeted) and not probe.retained(GreetingHeard):
        return Finding(
            health=Health.WARN,
            what="no greeting of another node was ever heard",
            why="either no other node has been master since this one started, or its greetings do not arrive",
            fix="switch over once and look again; then compare share_on and port of [hello] on all nodes",
        )
    return Finding(health=Health.OK, what="greetings are exchanged")


AUDIENCE = Check(name="hello-audience", help="Greetings of other nodes arrive", run=audience)
