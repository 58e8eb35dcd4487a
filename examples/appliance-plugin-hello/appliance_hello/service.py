"""What lives: one service greets, the other passes greetings on between nodes."""

from __future__ import annotations

import trio

from appliance.events import RoleChanged, Status
from appliance.plugin import Context, Started, Subscription
from appliance_hello.config import HelloConfig
from appliance_hello.events import Greeted, GreetingHeard
from appliance_hello.link import Link, LinkSettings, OpenLink
from appliance_hello.wire import Greeting, MalformedGreetingError, decode, encode


async def greet(ctx: Context, started: Started) -> None:
    """Say the greeting for every virtual address this node becomes master of."""

    async def accept(_new: object) -> None:
        """Nothing to prepare: the next greeting reads the new configuration."""

    # Both are open before `started()`: nothing that happens from then on is missed.
    with ctx.subscribe(RoleChanged) as roles, ctx.on_reload(accept):
        started.started()
        async for change in roles:
            if change.role.is_master:
                assert isinstance(ctx.config, HelloConfig)
                text = ctx.config.greeting
                ctx.log.info("greeting", text=text, interface=change.interface, vhid=change.vhid)
                ctx.publish(Greeted(interface=change.interface, vhid=change.vhid, text=text))


async def share(ctx: Context, started: Started, *, open_link: OpenLink) -> None:
    """Tell the other nodes about greetings here, and publish theirs."""
    settings = ctx.config
    assert isinstance(settings, LinkSettings)
    # `replay=False`: what was greeted before this service ran has been passed on, or is old news.
    with ctx.subscribe(Greeted, replay=False) as greeted:
        async with open_link(settings) as link, trio.open_nursery() as nursery:
            nursery.start_soon(_listen, ctx, link)
            nursery.start_soon(_tell, ctx, greeted, link)
            started.started()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel()


async def _tell(ctx: Context, greeted: Subscription[Greeted], link: Link) -> None:
    async for event in greeted:
        link.send(encode(Greeting(node=ctx.node.name, text=event.text)))


async def _listen(ctx: Context, link: Link) -> None:
    malformed = ctx.metrics.counter("malformed", "Datagrams that are no greeting")
    while True:
        data = await link.receive()
        try:
            greeting = decode(data)
        except MalformedGreetingError as error:
            malformed.inc()
            ctx.log.debug("greeting_malformed", why=str(error), length=len(data))
            continue
        if greeting.node != ctx.node.name:  # a broadcast comes back to its sender
            ctx.publish(GreetingHeard(node=greeting.node, text=greeting.text))
            ctx.publish(Status(summary=f"{greeting.node} was greeted: {greeting.text}"))
