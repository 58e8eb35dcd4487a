"""What a ruleset costs the packets that begin connections: how many pass in a second, how long one question takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import rules_texts
from rules_load import Compiler, any_size
from rules_net import Generator, Net

from appliance.net.ruleset import transaction

PROCESSOR = 0
WARM_UP = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One ruleset that flows pass through."""

    name: str
    text: Callable[[int, int], str]
    """From the size of the alias and the number of linear rules."""
    entries: Callable[[int, int], int]
    """Networks that flows come from, evenly, of the same two."""


def ours(configuration: str) -> str:
    """What the kernel gets of a configuration."""
    with any_size():
        return transaction(Compiler().compile(configuration).ruleset, None).text


SYSTEMS: dict[str, System] = {
    "none": System(
        name="connections tracked, no rule",
        text=lambda _, __: rules_texts.tracking_only(),
        entries=lambda size, _: size,
    ),
    "hand": System(
        name="by hand: one set, one rule", text=lambda size, _: rules_texts.hand_set(size), entries=lambda size, _: size
    ),
    "ours": System(
        name="ours: alias, one rule",
        text=lambda size, _: ours(rules_texts.traffic_configuration(size)),
        entries=lambda size, _: size,
    ),
    "merged": System(
        name="ours: a rule per network",
        text=lambda _, count: ours(rules_texts.map_configuration(count)),
        entries=lambda _, count: count,
    ),
    "linear-tenth": System(
        name="by hand: a rule per network",
        text=lambda _, count: rules_texts.hand_linear(count // 10),
        entries=lambda _, count: count // 10,
    ),
    "linear": System(
        name="by hand: a rule per network",
        text=lambda _, count: rules_texts.hand_linear(count),
        entries=lambda _, count: count,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """One run of one ruleset."""

    entries: int
    each_us: float
    """What one packet of a new connection takes, from the sender through the firewall to the server's counter."""
    lost: int
    median_us: float
    p99_us: float
    unanswered: int


def measure(net: Net, text: str, entries: int, flows: int, pairs: int) -> Forwarding:
    """Flows as fast as one processor sends and forwards them, then questions one by one."""
    net.only(text)
    Generator(net.client, "new", 0, WARM_UP, entries, 0, processor=PROCESSOR).result()
    before = net.arrived("fresh")
    sent = Generator(net.client, "new", WARM_UP, flows, entries, 0, processor=PROCESSOR).result()
    came = net.arrived("fresh") - before
    net.forget()
    echo = Generator(net.server, "echo", processor=PROCESSOR).ready()
    try:
        asked = Generator(net.client, "ask", pairs, WARM_UP + flows, entries, processor=PROCESSOR).result()
    finally:
        echo.stop()
    net.forget()
    return Forwarding(
        entries=entries,
        each_us=sent["each_us"],
        lost=int(sent["sent"]) - came,
        median_us=asked["median_us"],
        p99_us=asked["p99_us"],
        unanswered=int(asked["lost"]),
    )
