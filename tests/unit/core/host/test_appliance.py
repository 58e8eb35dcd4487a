"""A node starts, lives and stops as a whole; what keeps it from starting is said clearly."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.config import Model
from appliance.errors import ApplianceError, ConfigError
from appliance.events import Alarm, ConfigApplied, Demotion, Event, NodeStarted, NodeStopping, ServiceStopped
from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance.plugin import ConfigTable, Context, CrashPolicy, Service, Started, hookimpl

TEXT = '[node]\nname = "fw1"\n[alpha]\n'


class AlphaTable(Model):
    value: int = 0


class Alpha:
    """One service; what it does is the test's business."""

    api = (1, 0)

    def __init__(self, body: Callable[[Context, Started], Awaitable[None]], service: Service) -> None:
        self.body, self.service = body, service

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="alpha", model=AlphaTable, summary="x")

    @hookimpl
    def appliance_services(self) -> list[Service]:
        return [self.service]


async def until_asked(ctx: Context, started: Started) -> None:
    started.started()
    await ctx.stopping.wait()


def alpha(
    body: Callable[[Context, Started], Awaitable[None]] = until_asked, on_crash: CrashPolicy = CrashPolicy.RESTART
) -> Found:
    service = Service(key="main", run=body, on_crash=on_crash)
    return Found(name="alpha", distribution="alpha-dist", factory=functools.partial(Alpha, body, service))


def node(tmp: Path, *found: Found, text: str = TEXT, name: str = "a", control: bool = False) -> Appliance:
    return Appliance(
        config_path=tmp / f"{name}.toml",
        state_dir=tmp / f"state-{name}",
        socket=tmp / "s.sock" if control else None,
        found=found or (alpha(),),
        text=text,
    )


@asynccontextmanager
async def running(*appliances: Appliance) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for appliance in appliances:
            await nursery.start(appliance.run)
        yield
        for appliance in appliances:
            appliance.request_stop("the test is over")


def events(appliance: Appliance, *kinds: type[Event]) -> list[Event]:
    return [envelope.event for envelope in appliance.bus.trace if isinstance(envelope.event, kinds)]


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_node_applies_its_configuration_before_it_says_that_it_started(tmp_path: Path) -> None:
    async def main() -> None:
        appliance = node(tmp_path)
        async with running(appliance):
            assert [type(event) for event in events(appliance, ConfigApplied, NodeStarted)] == [
                ConfigApplied,
                NodeStarted,
            ]
            assert (appliance.node.name, list(appliance.config)) == ("fw1", ["alpha"])
            assert [report.name for report in appliance.supervisor.services()] == ["alpha/main"]
        stopping = events(appliance, NodeStopping, ServiceStopped)
        assert stopping == [
            NodeStopping(reason="the test is over"),
            ServiceStopped(service="alpha/main", reason="the test is over"),
        ]

    run(main)


def test_two_nodes_live_in_one_process(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = node(tmp_path), node(tmp_path, text=TEXT.replace("fw1", "fw2"), name="b")
        async with running(first, second):
            assert (first.node.name, second.node.name) == ("fw1", "fw2")
            assert first.plugins is not second.plugins
            await first.reloader.apply(TEXT + "value = 1\n", comment="", who="")
            assert len(events(first, ConfigApplied)) == 2
            assert len(events(second, ConfigApplied)) == 1

    run(main)


def test_a_text_that_was_given_never_becomes_a_file(tmp_path: Path) -> None:
    async def main() -> None:
        appliance = node(tmp_path)
        async with running(appliance):
            await appliance.reloader.apply(TEXT + "value = 1\n", comment="", who="")
        assert not appliance.config_path.exists()

    run(main)


def test_a_second_node_with_the_same_state_directory_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(node(tmp_path)):
            with pytest.raises(ApplianceError, match=f"process {os.getpid()}") as caught:
                await node(tmp_path).run()
            assert "--state-dir" in caught.value.hint
        async with running(node(tmp_path)):  # free again
            pass

    run(main)


def test_a_missing_file_is_refused_and_leaves_the_state_directory_free(tmp_path: Path) -> None:
    async def main() -> None:
        appliance = Appliance(config_path=tmp_path / "none.toml", state_dir=tmp_path, socket=None, found=())
        with pytest.raises(ConfigError, match=r"none\.toml: there is no such configuration file"):
            await appliance.run()

    run(main)


def test_a_state_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_text("")
        appliance = Appliance(config_path=tmp_path, state_dir=tmp_path / "file" / "x", socket=None, found=(), text=TEXT)
        with pytest.raises(ApplianceError, match=r"the state directory .* cannot be used: Not a directory"):
            await appliance.run()

    run(main)


def test_a_file_with_a_wrong_node_table_is_refused_with_its_line(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=r"a\.toml:2:1: node\.name: needs text in quotes, not 5"):
            await node(tmp_path, text="[node]\nname = 5\n").run()

    run(main)


def test_a_broken_plugin_raises_an_alarm_and_the_rest_runs(tmp_path: Path) -> None:
    def explode() -> object:
        raise ImportError("no module named libx")

    async def main() -> None:
        broken = Found(name="bad", distribution="bad-dist 1.0", factory=explode)
        appliance = node(tmp_path, alpha(), broken, text=TEXT + "[bad]\nx = 1\n")
        async with running(appliance):
            (alarm,) = events(appliance, Alarm)
            assert isinstance(alarm, Alarm)
            assert (alarm.key, alarm.active) == ("plugin/bad", True)
            assert "bad-dist 1.0 cannot be loaded: ImportError: no module named libx" in alarm.what
            assert [str(report.state) for report in appliance.supervisor.services()] == ["running"]

    run(main)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[plugins]\nrequired = ["zeta"]\n', "is not installed"),
        ('[plugins]\nrequired = ["alpha"]\n', "of alpha-dist has no table [alpha] in the configuration"),
        ('[plugins]\nrequired = ["alpha"]\nblocked = ["alpha"]\n[alpha]\n', "is in [plugins] blocked"),
        (
            '[plugins]\nrequired = ["alpha"]\n[alpha]\nvalue = "x"\n',
            "of alpha-dist does not run, because its table was refused",
        ),
    ],
)
def test_a_node_without_a_required_plugin_is_demoted_and_says_why(tmp_path: Path, text: str, why: str) -> None:
    async def main() -> None:
        appliance = node(tmp_path, text='[node]\nname = "fw1"\n' + text)
        name = "zeta" if "zeta" in text else "alpha"
        async with running(appliance):
            assert events(appliance, Demotion) == [Demotion(reason=f"required-plugin:{name}", weight=240)]
            alarms = {event.key: event for event in events(appliance, Alarm) if isinstance(event, Alarm)}
            assert f"the required plugin {name} {why}" in alarms[f"required-plugin/{name}"].what

    run(main)


def test_a_demotion_ends_when_the_required_plugin_comes(tmp_path: Path) -> None:
    async def main() -> None:
        head = '[node]\nname = "fw1"\n[plugins]\nrequired = ["alpha"]\n'
        appliance = node(tmp_path, text=head)
        async with running(appliance):
            await appliance.reloader.apply(head + "[alpha]\n", comment="", who="")
            assert [event.weight for event in events(appliance, Demotion) if isinstance(event, Demotion)] == [240, 0]
            assert [event.active for event in events(appliance, Alarm) if isinstance(event, Alarm)] == [True, False]

    run(main)


def test_a_blocked_plugin_is_not_even_imported(tmp_path: Path) -> None:
    async def main() -> None:
        found = Found(name="bad", distribution="d", factory=lambda: pytest.fail("imported"))
        appliance = node(tmp_path, alpha(), found, text=TEXT + '[bad]\n[plugins]\nblocked = ["bad"]\n')
        async with running(appliance):
            assert events(appliance, Alarm) == []

    run(main)


def test_a_second_request_to_stop_cuts_the_grace_but_not_the_last_words(tmp_path: Path) -> None:
    said: list[str] = []

    async def stubborn(ctx: Context, started: Started) -> None:
        started.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(0.5, shield=True):
                await trio.sleep(0.1)
                said.append("bye")

    async def main() -> None:
        service = Service(key="main", run=stubborn, grace_s=50.0)
        found = Found(name="alpha", distribution="d", factory=functools.partial(Alpha, stubborn, service))
        appliance = node(tmp_path, found)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            await nursery.start(appliance.run)
            appliance.request_stop("first")
            await trio.sleep(1)
            assert said == []
            appliance.request_stop("second")
        assert said == ["bye"]
        assert trio.current_time() - began < 2

    run(main)


def test_a_node_can_be_stopped_while_a_service_is_still_coming_up(tmp_path: Path) -> None:
    async def slow(ctx: Context, started: Started) -> None:
        await ctx.stopping.wait()

    async def main() -> None:
        appliance = node(tmp_path, alpha(slow))
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(appliance.run)
            await trio.sleep(1)
            appliance.request_stop("changed my mind")
        assert trio.current_time() - began < 5  # its deadline to be ready is not waited for
        assert events(appliance, NodeStarted) == []
        assert len(events(appliance, NodeStopping)) == 1

    run(main)


def test_a_service_the_node_cannot_do_without_stops_it_in_order(tmp_path: Path) -> None:
    async def doomed(ctx: Context, started: Started) -> None:
        started.started()
        await trio.sleep(5)
        raise OSError("the guard is gone")

    async def main() -> None:
        appliance = node(tmp_path, alpha(doomed, CrashPolicy.STOP_NODE))
        with pytest.raises(ApplianceError, match="the guard is gone"):
            await appliance.run()
        assert len(events(appliance, NodeStopping)) == 1

    run(main)


def test_a_cancelled_node_takes_everything_down(tmp_path: Path) -> None:
    async def main() -> None:
        appliance = node(tmp_path)
        async with trio.open_nursery() as nursery:
            await nursery.start(appliance.run)
            nursery.cancel_scope.cancel()
        assert len(events(appliance, ServiceStopped)) == 1
        async with running(node(tmp_path)):
            pass

    run(main)


def test_a_taken_control_socket_is_refused_before_any_service_starts(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(str(tmp_path / "s.sock"))
            taken.listen()
            appliance = node(tmp_path, control=True)
            with pytest.raises(ApplianceError, match="already running"):
                await appliance.run()
            assert appliance.supervisor.services() == ()

    trio.run(main)


def test_a_node_with_a_control_socket_removes_it_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(node(tmp_path, control=True)):
            assert (tmp_path / "s.sock").is_socket()
        assert not (tmp_path / "s.sock").exists()

    trio.run(main)


PROCESS = """
import sys, trio
from pathlib import Path
from appliance.host.appliance import Appliance

folder = Path(sys.argv[1])
node = Appliance(config_path=folder / "a.toml", state_dir=folder / "state", socket=None, found=())

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: node.run(handle_signals=True))
        while not hasattr(node, "bus") or not len(node.bus.trace):
            await trio.sleep(0.01)
        while True:
            kinds = [type(envelope.event).__name__ for envelope in node.bus.trace]
            if "NodeStarted" in kinds:
                break
            await trio.sleep(0.01)
        print("up", flush=True)

trio.run(main)
print(*[type(envelope.event).__name__ for envelope in node.bus.trace], flush=True)
"""


def test_signals_reload_and_stop_a_node_that_owns_its_process(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[node]\nname = "fw1"\n')
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROCESS), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "up\n"
            (tmp_path / "a.toml").write_text('[node]\nname = "fw1"\nx = 1\n')
            process.send_signal(signal.SIGHUP)
            assert "config_refused" in process.stderr.readline() + process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert out.split() == ["ConfigApplied", "NodeStarted", "ConfigRefused", "NodeStopping"]
    assert process.returncode == 0
