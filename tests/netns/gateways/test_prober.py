"""Probes on a real network: from which address, by which way, and whose answers count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import pytest
import trio

from appliance.testing import Netlab, eventually
from appliance_gateways import kernel
from appliance_gateways.monitor import Limits, Status
from appliance_gateways.prober import Prober
from appliance_gateways.settings import GatewaySettings, Target
from tests.netns.gateways import scenes
from tests.netns.gateways.scenes import SERVER, WAN, WAN2, Scene

pytestmark = pytest.mark.netns

FAST = Limits(interval_s=0.1, reply_within_s=0.3, window_s=2.0)


@pytest.fixture
def scene(netlab: Netlab) -> Scene:
    return scenes.build(netlab)


def gateway(
    monitor: str = f"{WAN}.1", source: str | None = f"{WAN}.201", *, vhid: int | None = None
) -> GatewaySettings:
    target = Target(address=ip_address(monitor), source=ip_address(source) if source else None, vhid=vhid)
    return GatewaySettings(
        name="g",
        interface="wan",
        device="wan",
        addresses=(ip_address(f"{WAN}.1"),),
        number=7,
        target=target,
        limits=FAST,
    )


async def probing(settings: GatewaySettings, body: Callable[[Prober], Awaitable[None]], identifier: int = 77) -> None:
    """While a prober runs."""
    prober = Prober(settings, identifier=identifier, cookie=b"8 bytes!", changed=lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prober.run)
        await body(prober)
        nursery.cancel_scope.cancel()


def test_an_address_behind_the_gateway_is_probed_by_the_way_of_its_mark(scene: Scene) -> None:
    async def online(prober: Prober) -> None:
        await eventually(lambda: prober.reading.status is Status.ONLINE)
        assert prober.reading.loss == 0.0

    async def down(prober: Prober) -> None:
        await eventually(lambda: prober.reading.status is Status.DOWN)

    async def body() -> None:
        # The main table leads elsewhere, and from there the provider lets nothing of this address through.
        scene.fw.run("ip", "route", "add", "default", "via", f"{WAN2}.1")
        await probing(gateway(SERVER), down)
        scene.fw.run("ip", "route", "add", "default", "via", f"{WAN}.1", "table", "1007")
        scene.fw.run("ip", "rule", "add", "fwmark", "7/0xff", "lookup", "1007")
        assert kernel.accept_asymmetry("wan") == ""
        await probing(gateway(SERVER), online)

    scene.run(body)


def test_answers_to_others_do_not_count(scene: Scene) -> None:
    """Two probers of one address, and one whose packets a router throws away by their identifier."""
    icmp = "icmp type echo-request icmp id 99 drop"
    scenes.rules(scene.r1, f"table inet t {{ chain p {{ type filter hook prerouting priority 0; {icmp}\n }}\n }}")

    async def body() -> None:
        async def both(good: Prober) -> None:
            async def other(bad: Prober) -> None:
                await eventually(lambda: bad.reading.status is Status.DOWN)
                assert bad.reading.latency_ms is None
                assert good.reading.status is Status.ONLINE

            await probing(gateway(), other, identifier=99)

        await probing(gateway(), both)

    scene.run(body)


def test_link_local_gateways_are_probed_on_their_link(scene: Scene) -> None:
    found = scene.r1.run("ip", "-6", "-o", "address", "show", "dev", "wan", "scope", "link")
    address = next(word.partition("/")[0] for word in found.split() if word.startswith("fe80"))

    async def online(prober: Prober) -> None:
        await eventually(lambda: prober.reading.status is Status.ONLINE)

    async def body() -> None:
        await probing(gateway(address, "2001:db8:ffff::201"), online)

    scene.run(body)


def test_a_missing_address_or_device_is_an_error_that_passes(scene: Scene) -> None:
    async def follow(prober: Prober) -> None:
        scene.fw.run("ip", "address", "delete", f"{WAN}.201/24", "dev", "wan")
        prober.follow(gateway())
        prober.link(up=True)
        await eventually(lambda: prober.reading.status is Status.DOWN)
        assert prober.last_error == "a probe cannot be sent: Cannot assign requested address"
        scene.fw.run("ip", "address", "add", f"{WAN}.201/24", "dev", "wan")
        await eventually(lambda: prober.reading.status is Status.ONLINE)
        scene.fw.run("ip", "link", "set", "wan", "down")
        scene.fw.run("ip", "link", "set", "wan", "name", "elsewhere")
        await eventually(lambda: prober.reading.status is Status.DOWN)
        assert prober.last_error == "a probe cannot be sent: No such device"

    async def body() -> None:
        await probing(gateway(), follow)

    scene.run(body)


def test_what_cannot_be_probed_says_why(scene: Scene) -> None:
    async def waits(prober: Prober) -> None:
        assert (prober.reading.status, prober.reason) == (
            Status.UNKNOWN,
            "wan has no IPv4 address to probe from",
        )
        prober.follow(gateway(vhid=200))
        assert prober.reason == "wan has virtual addresses only, and this node does not hold them"
        prober.role(is_master=True)
        assert prober.reason == ""
        await eventually(lambda: prober.reading.status is Status.ONLINE)
        prober.link(up=False)
        assert (prober.reading.status, prober.reason) == (Status.DOWN, "no link on wan")
        prober.link(up=True)
        await eventually(lambda: prober.reading.status is Status.ONLINE)

    async def body() -> None:
        await probing(gateway(source=None), waits)

    scene.run(body)


def test_a_gateway_that_is_not_monitored_follows_its_link_only(scene: Scene) -> None:
    unmonitored = GatewaySettings(
        name="g", interface="wan", device="wan", addresses=(ip_address(f"{WAN}.1"),), number=7, target=None
    )

    async def waits(prober: Prober) -> None:
        await trio.sleep(0.3)
        assert (prober.reading.status, prober.reason) == (Status.UNKNOWN, "not monitored")
        seen = []
        for up in (False, True):
            prober.link(up=up)
            seen.append(prober.reading.status)
        assert seen == [Status.DOWN, Status.UNKNOWN]

    async def body() -> None:
        await probing(unmonitored, waits)

    scene.run(body)


def test_new_settings_keep_the_history_unless_the_path_is_another(scene: Scene) -> None:
    async def follow(prober: Prober) -> None:
        await eventually(lambda: prober.reading.status is Status.ONLINE)
        seen = []
        renumbered = GatewaySettings(
            name="g", interface="wan", device="wan", addresses=(ip_address(f"{WAN}.1"),), number=8,
            target=prober.settings.target, limits=FAST, demote=5,
        )  # fmt: skip
        for settings in (renumbered, gateway(f"{WAN}.9")):
            prober.follow(settings)
            seen.append(prober.reading.status)
        assert seen == [Status.ONLINE, Status.UNKNOWN]
        await eventually(lambda: prober.reading.status is Status.DOWN)

    async def body() -> None:
        await probing(gateway(), follow)

    scene.run(body)
