"""The fixtures of the testing kit, and trio for coroutine tests that use them.

Loaded by pytest as an entry point, long before anything is measured or configured: nothing of the
product is imported at module level.

A coroutine test that uses one of these fixtures runs under `trio.run`; with `autojump_clock` in virtual
time. Any other coroutine test is left to whoever else wants it, and where pytest-trio is installed it
runs the tests (the fixtures are ordinary values and work there too).
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio
    import trio.testing

    from appliance.testing.lan import Lan
    from appliance.testing.netlab import Netlab

FIXTURES = frozenset({"run_service", "run_appliance", "cluster", "lan", "netlab", "autojump_clock", "appliance_nodes"})

NODES: pytest.StashKey[list[object]] = pytest.StashKey()
"""Nodes that ran in a test, for the report of its failure."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests that use the kit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or not FIXTURES.intersection(pyfuncitem.fixturenames):
        return None
    if pyfuncitem.config.pluginmanager.hasplugin("trio"):
        return None

    import trio

    from appliance.testing.reporting import single_failure

    # The names a function asks for, not all that are active: autouse fixtures are not arguments.
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def main() -> None:
        await pyfuncitem.obj(**arguments)

    clock = cast("trio.abc.Clock | None", pyfuncitem.funcargs.get("autojump_clock"))
    with single_failure():
        trio.run(main, clock=clock)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the nodes told each other to the report of a failed test."""
    report = yield
    nodes = item.stash.get(NODES, [])
    if report.when == "call" and report.failed and nodes:
        from appliance.testing.reporting import last_events

        report.sections.append(("Last events of every node", last_events(nodes)))
    return report


@pytest.fixture
def autojump_clock(request: pytest.FixtureRequest) -> trio.testing.MockClock:
    """Virtual time: when every task waits, the clock jumps. Not for tests with sockets or threads."""
    if "netlab" in request.fixturenames:
        pytest.fail("autojump_clock and netlab do not go together: a real socket looks idle to the clock", False)

    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)


@pytest.fixture
def appliance_nodes(request: pytest.FixtureRequest) -> Iterator[list[object]]:
    """The nodes this test has started, in order; kept for the report of a failure."""
    from appliance.testing.reporting import recording

    with recording() as nodes:
        request.node.stash[NODES] = nodes
        yield nodes


@pytest.fixture
def run_service(appliance_nodes: list[object]) -> Callable[..., Any]:
    """`appliance.testing.run_service`: one plugin's services on a node of their own."""
    from appliance.testing.harness import run_service

    return run_service


@pytest.fixture
def run_appliance(appliance_nodes: list[object]) -> Callable[..., Any]:
    """`appliance.testing.run_appliance`: a whole node in this process, without sockets."""
    from appliance.testing.machines import run_appliance

    return run_appliance


@pytest.fixture
def cluster(appliance_nodes: list[object]) -> Callable[..., Any]:
    """`appliance.testing.cluster`: several nodes on an in-memory LAN."""
    from appliance.testing.machines import cluster

    return cluster


@pytest.fixture
def lan() -> Lan:
    """An in-memory broadcast domain."""
    from appliance.testing.lan import Lan

    return Lan()


@pytest.fixture
def netlab() -> Iterator[Netlab]:
    """A real network of anonymous namespaces, gone with the test. Needs root."""
    from appliance.testing.netlab import Netlab

    with Netlab() as lab:
        yield lab


@pytest.fixture
def check_plugin() -> Callable[..., None]:
    """`appliance.testing.check_plugin`: everything a well-behaved plugin must satisfy."""
    from appliance.testing.conformance import check_plugin

    return check_plugin
