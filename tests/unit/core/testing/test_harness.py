"""One plugin's services on a node of their own: what a test can see, change and rely on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.config import Config, Model
from appliance.config.interfaces import ProvidesInterfaces
from appliance.errors import Problem
from appliance.events import LinkChanged, NodeStopping, ServiceCrashed, ServiceStarted
from appliance.plugin import ConfigTable, Context, Isolation, Service, Started, hookimpl
from appliance.testing import LogicalInterfaces, run_service


class EchoConfig(Model):
    """A table."""

    text: str = "link"
    """What to log."""


async def echo(ctx: Context, started: Started) -> None:
    with ctx.subscribe(LinkChanged) as links:
        started.started()
        async for link in links:
            if link.device == "broken":
                raise ValueError("a broken link")
            assert isinstance(ctx.config, EchoConfig)
            ctx.log.info(ctx.config.text, interface=link.interface, draw=ctx.random.random())


class Echo:
    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="echo", model=EchoConfig, summary="Logs links.")

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        wrong = config[EchoConfig].text == "wrong"
        return [Problem(path=("echo", "text"), message="not that one")] if wrong else []

    @hookimpl
    def appliance_services(self, config: Config) -> list[Service]:
        return [Service(key="log", run=echo, config=config[EchoConfig], isolation=Isolation())]


def link(device: str = "eth0") -> LinkChanged:
    return LinkChanged(interface="lan", device=device, present=True, up=True)


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_is_published_reaches_the_service_and_what_it_logs_is_data() -> None:
    async def main() -> None:
        async with run_service(Echo) as node:
            node.publish(link())
            await node.settled()
        (entry,) = node.log("link")
        assert (entry["interface"], entry["level"], entry["service"]) == ("lan", "info", "echo/log")

    run(main)


def test_services_have_started_before_the_block_and_stop_after_it() -> None:
    async def main() -> None:
        async with run_service(Echo) as node:
            assert [event.service for event in node.events(ServiceStarted)] == ["echo/log"]
            assert [(report.name, report.pid) for report in node.services()] == [("echo/log", None)]
        assert len(node.events(NodeStopping)) == 1

    run(main)


def test_two_nodes_in_one_process_share_nothing() -> None:
    async def main() -> None:
        async with run_service(Echo, node="a") as a, run_service(Echo, config={"text": "other"}, node="b") as b:
            a.publish(link())
            await a.settled()
            assert (len(a.log("link")), len(b.log("link")), len(b.events(LinkChanged))) == (1, 0, 0)
            b.publish(link())
            await b.settled()
            assert (len(a.entries), [entry["event"] for entry in b.entries if "interface" in entry]) == (
                len(a.entries),
                ["other"],
            )

    run(main)


def test_the_same_seed_gives_the_same_random_numbers() -> None:
    async def draw(seed: int) -> object:
        async with run_service(Echo, seed=seed) as node:
            node.publish(link())
            await node.settled()
        return node.log("link")[0]["draw"]

    async def main() -> None:
        assert await draw(1) == await draw(1)
        assert await draw(1) != await draw(2)

    run(main)


def test_a_crash_nobody_expected_fails_the_test() -> None:
    async def main() -> None:
        async with run_service(Echo) as node:
            node.publish(link("broken"))
            await node.settled()

    with pytest.raises(AssertionError, match="echo/log crashed: ValueError: a broken link"):
        run(main)


def test_an_expected_crash_is_visible_and_the_service_comes_back() -> None:
    async def main() -> None:
        async with run_service(Echo, crashes=True) as node:
            node.publish(link("broken"))
            await trio.sleep(0.1)
            assert len(node.events(ServiceCrashed)) == 1
            node.publish(link())  # replaces the retained fact that it stumbles over
            await trio.sleep(60)
            assert len(node.events(ServiceStarted)) == 2

    run(main)


def test_a_failed_assertion_in_the_block_is_raised_as_it_is() -> None:
    async def main() -> None:
        async with run_service(Echo):
            assert "this" == "that"

    with pytest.raises(AssertionError, match="this"):
        run(main)


@pytest.mark.parametrize(
    ("config", "expected"), [({"text": 5}, "valid string"), ({"txt": "x"}, "txt"), ({"text": "wrong"}, "not that one")]
)
def test_a_wrong_configuration_is_refused(config: dict[str, object], expected: str) -> None:
    async def main() -> None:
        async with run_service(Echo, config=config):
            pass

    with pytest.raises((AssertionError, ValueError), match=expected):
        run(main)


def test_a_reload_changes_the_configuration_and_a_refused_one_does_not() -> None:
    async def main() -> None:
        async with run_service(Echo) as node:
            await node.reload({"text": "changed"})
            with pytest.raises(AssertionError, match="not that one"):
                await node.reload({"text": "wrong"})
            node.publish(link())
            await node.settled()
            assert node.config[EchoConfig].text == "changed"
            assert len(node.log("changed")) == 1

    run(main)


def test_a_plugin_the_host_would_refuse_is_refused_with_the_reason() -> None:
    class Old(Echo):
        api = (0, 1)

    async def main() -> None:
        async with run_service(Old):
            pass

    with pytest.raises(AssertionError, match=r"written for plugin API 0\.1"):
        run(main)


def test_state_is_kept_where_the_test_says(tmp_path: Path) -> None:
    async def keep(ctx: Context, started: Started) -> None:
        (ctx.state_dir / "kept").touch()
        started.started()
        await ctx.stopping.wait()

    class Keeper:
        api = (1, 0)

        @hookimpl
        def appliance_services(self) -> list[Service]:
            return [Service(key="keep", run=keep)]

    async def main() -> None:
        async with run_service(Keeper, state_dir=tmp_path):
            pass

    run(main)
    assert (tmp_path / "keeper" / "kept").exists()


def test_logical_interfaces_need_no_device() -> None:
    table = LogicalInterfaces.of(lan="192.168.1.2/24", sync=["172.16.1.2/24", "fd00::2/64"])
    assert isinstance(table, ProvidesInterfaces)
    interfaces = table.logical_interfaces()
    assert [str(address) for address in interfaces["sync"].addresses] == ["172.16.1.2/24", "fd00::2/64"]
    assert interfaces["lan"].device == "lan"
