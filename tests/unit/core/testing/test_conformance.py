"""A good plugin passes, and each rule is broken once and named."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio

from appliance.config import Model
from appliance.events import Event, Health, Request, event, request
from appliance.plugin import (
    Argument,
    Check,
    Command,
    CommandContext,
    ConfigTable,
    Context,
    Finding,
    Fragment,
    ImagePart,
    Isolation,
    KernelNeed,
    Migration,
    Mirror,
    Probe,
    Service,
    Started,
    SyncSection,
    Where,
    hookimpl,
)
from appliance.testing.conformance import check_plugin, hooks


class SampleConfig(Model):
    """A table."""

    text: str = "x"
    """Some text."""


@event()
class SampleHappened(Event):
    """Something happened."""


@request
class GetSample(Request[str]):
    """Asks for something."""


async def live(ctx: Context, started: Started) -> None:
    started.started()
    await ctx.stopping.wait()


async def show(_ctx: CommandContext, *, name: str = "", all: bool = False) -> list[str]:  # noqa: A002
    return [name] if all else []


def local() -> int:
    return 0


async def look(_probe: Probe) -> Finding:
    return Finding(health=Health.OK, what="fine")


class Complete:
    """Implements every hook, as it should."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="sample", model=SampleConfig, summary="A sample.")

    @hookimpl
    def appliance_verify(self, config: object, old: object) -> list[Any]:
        return []

    @hookimpl
    def appliance_kernel(self, config: object) -> list[KernelNeed]:
        return [KernelNeed(path=("sample",), kind="vlan", what_for="samples")]

    @hookimpl
    def appliance_migrations(self) -> list[Migration]:
        return [Migration(from_version=1, to_version=2, migrate=dict)]

    @hookimpl
    def appliance_services(self, config: Any) -> list[Service]:
        return [
            Service(key="near", run=live, config=config[SampleConfig]),
            Service(key="far", run=live, config=config[SampleConfig], isolation=Isolation()),
        ]

    @hookimpl
    def appliance_events(self) -> tuple[type[Any], ...]:
        return (SampleHappened, GetSample)

    @hookimpl
    def appliance_commands(self) -> list[Command]:
        arguments = (Argument(name="name", help="which"), Argument(name="--all", help="everything", flag=True))
        return [
            Command(path=("show", "sample"), help="Shows it", run=show, arguments=arguments),
            Command(path=("sample",), help="Does it here", run=local, where=Where.LOCAL),
        ]

    @hookimpl
    def appliance_checks(self) -> list[Check]:
        return [Check(name="sample", help="Looks at it", run=look)]

    @hookimpl
    def appliance_sync_sections(self) -> list[SyncSection]:
        return [SyncSection(name="sample", keys=(("sample",),))]

    @hookimpl
    def appliance_image(self, flavor: str) -> ImagePart:
        return ImagePart(packages=("nftables",), sysctls={"net.ipv4.ip_forward": "1"})

    @hookimpl
    def appliance_ruleset(self) -> Fragment:
        return Fragment(counters=("sample_hits",))


def problems(plugin: Callable[[], object], **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check_plugin(plugin, **options)
    return str(caught.value)


def test_a_plugin_with_every_hook_passes() -> None:
    check_plugin(Complete)
    assert {name for name in dir(Complete) if name.startswith("appliance_")} == set(hooks())


def test_a_plugin_without_hooks_passes() -> None:
    class Empty:
        api = (1, 0)

    check_plugin(Empty)


@pytest.mark.parametrize(
    ("api", "expected"), [(None, "does not say which API"), ("1.0", "does not say which API"), ((2, 0), "does not fit")]
)
def test_the_api_version_is_declared_and_fits(api: object, expected: str) -> None:
    assert expected in problems(type("Odd", (Complete,), {"api": api}))


def with_hook(name: str, function: Any, mark: Any = hookimpl) -> type:
    """A plugin with one hook, which is broken."""
    return type("Broken", (), {"api": (1, 0), name: mark(function) if mark else function})


async def not_now(self: object) -> list[Any]:
    return []


def intercept(self: object) -> Any:
    return (yield)


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        (with_hook("appliance_servces", lambda self: []), "appliance_servces is not a hook"),
        (with_hook("appliance_services", lambda self: [], mark=None), "lacks @hookimpl"),
        (with_hook("appliance_services", not_now), "is async"),
        (with_hook("appliance_services", lambda self, kernel: []), "asks for kernel, which it cannot get"),
        (with_hook("appliance_services", intercept, hookimpl(wrapper=True)), "is a wrapper"),
        (with_hook("appliance_services", lambda self: [live]), "element that is no Service"),
        (with_hook("appliance_services", lambda self: live), "returned function, not a list"),
        (with_hook("appliance_events", lambda self: [Event]), "not declared with @event()"),
        (with_hook("appliance_image", lambda self: []), "returned list, not ImagePart"),
        (with_hook("appliance_ruleset", lambda self: Fragment(counters=("a", "a"))), "two plugins declare 'a'"),
    ],
)
def test_hooks_are_what_they_should_be(plugin: type, expected: str) -> None:
    assert expected in problems(plugin)


def test_hooks_do_nothing() -> None:
    def opens(self: object) -> list[Service]:
        socket.socket().close()
        return []

    release = threading.Event()

    def starts(self: object) -> list[Service]:
        threading.Thread(target=release.wait).start()
        return []

    assert "opened a socket: hooks are pure" in problems(with_hook("appliance_services", opens))
    try:
        assert "started a thread: hooks are pure" in problems(with_hook("appliance_services", starts))
    finally:
        release.set()


def test_hooks_answer_the_same_again() -> None:
    class Counting:
        api = (1, 0)

        def __init__(self) -> None:
            self.asked = 0

        @hookimpl
        def appliance_services(self) -> list[Service]:
            self.asked += 1
            return [Service(key=f"service-{self.asked}", run=live)]

    assert "answers differently the second time" in problems(Counting)
    unsteady = with_hook("appliance_services", lambda self: [Service(key="a", run=live, config=random.random())])
    assert "answers differently" in problems(unsteady)


def test_a_table_is_documented_and_strict() -> None:
    class Inner(Model):
        silent: int = 1

    class Outer(Model):
        """A table."""

        inner: list[Inner] = []
        """Parts."""

    def declares(name: str, summary: str, model: type[Model]) -> type:
        return with_hook("appliance_config", lambda self: ConfigTable(name=name, model=model, summary=summary))

    assert "Inner.silent has no description" in problems(declares("outer", "A table.", Outer))
    assert "is not a sentence" in problems(declares("outer", "table", SampleConfig))
    assert "lower-case letters" in problems(declares("Outer", "A table.", SampleConfig))


def test_a_table_with_required_fields_needs_an_example() -> None:
    class Needy(Model):
        """A table."""

        name: str
        """A name."""

    table = ConfigTable(name="needy", model=Needy, summary="A table.")
    plugin = with_hook("appliance_config", lambda self: table)
    assert "pass config=" in problems(plugin)
    check_plugin(plugin, config={"name": "x"})


@dataclass(eq=False)
class Opaque:
    value: int = 1


class Unpicklable:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unpicklable)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> str:
        raise TypeError("not this one")


def test_services_can_be_compared_started_and_isolated() -> None:
    async def inside(ctx: Context, started: Started) -> None:
        started.started()

    def offers(*services: Service) -> type:
        return with_hook("appliance_services", lambda self: services)

    isolation = Isolation()
    assert "'a' is there 2 times" in problems(offers(Service(key="a", run=live), Service(key="a", run=live)))
    assert "not compared by value" in problems(offers(Service(key="a", run=live, config=Opaque())))
    assert "cannot be imported by another process" in problems(
        offers(Service(key="a", run=inside, isolation=isolation))
    )
    unpicklable = Service(key="a", run=live, isolation=isolation, config=Unpicklable())
    assert "cannot be pickled" in problems(offers(unpicklable))
    assert "must accept 2 positional" in problems(offers(Service(key="a", run=look)))


def test_commands_and_checks_have_help_and_fitting_functions() -> None:
    def commands(**fields: Any) -> type:
        return with_hook(
            "appliance_commands", lambda self: [Command(**({"path": ("show", "x"), "help": "X"} | fields))]
        )

    assert "has no help" in problems(commands(run=show, help=""))
    assert "must be async inside the node" in problems(commands(run=local))
    assert "lower-case words" in problems(commands(run=show, path=("Show",)))
    assert "does not fit its declared arguments" in problems(
        commands(run=show, arguments=(Argument(name="other", help="x"),))
    )
    assert "argument name has no help" in problems(commands(run=show, arguments=(Argument(name="name"),)))
    nameless = Check(name="x", help="", run=look, deadline_s=0)
    told = problems(with_hook("appliance_checks", lambda self: [nameless]))
    assert "check 'x' has no help" in told
    assert "deadline_s must be positive" in told


def test_what_a_kernel_needs_can_be_tried_and_belongs_to_a_key() -> None:
    need = KernelNeed(path=(), kind="warp", what_for="speed")
    told = problems(with_hook("appliance_kernel", lambda self: [need]))
    assert "kernel need 'warp' is unknown; there are macvlan, vlan, bond" in told
    assert "names no key" in told


def test_image_parts_and_migrations_are_well_formed() -> None:
    part = ImagePart(files={"etc/x": "tests:absent"}, packages=("Bad Name",), sysctls={"net/x": "1"})
    told = problems(with_hook("appliance_image", lambda self: part))
    assert "'etc/x' is not an absolute path" in told
    assert "no resource" in told or "not a resource" in told
    assert "not a Debian package name" in told
    assert "not a dotted name" in told
    back = Migration(from_version=2, to_version=1, migrate=dict)
    assert "does not go forward" in problems(with_hook("appliance_migrations", lambda self: [back]))


def test_transforms_of_synchronized_tables_are_pure_and_keep_to_their_keys() -> None:
    def changes(tables: Any, mirror: Mirror) -> Any:
        tables["sample"]["text"] = "changed"
        return {**tables, "other": {}}

    one = SyncSection(name="sample", keys=(("sample",),), outbound=changes)
    two = SyncSection(name="sample", keys=(("sample",), ()))
    plugin = type("Broken", (Complete,), {"appliance_sync_sections": hookimpl(lambda self: [one, two])})
    told = problems(plugin, start=False)
    assert "outbound changes what it is given" in told
    assert "outbound sends more than its keys" in told
    assert "key of a sync section" in told
    assert "names no key" in told


SEEN: list[str] = []


def test_state_at_module_level_is_found() -> None:
    def remembers(self: object) -> list[Service]:
        SEEN.append("asked")
        return []

    package = with_hook("appliance_services", remembers)
    package.__module__ = __name__
    assert "SEEN changed" in problems(package)


def test_a_service_that_swallows_its_cancellation_is_found() -> None:
    async def stubborn(ctx: Context, started: Started) -> None:
        started.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(3600)

    plugin = with_hook("appliance_services", lambda self: [Service(key="stubborn", run=stubborn)])
    assert "does not stop" in problems(plugin)
    check_plugin(plugin, start=False)


def test_a_service_that_does_not_become_ready_is_found() -> None:
    async def never(ctx: Context, started: Started) -> None:
        await trio.sleep_forever()

    assert "do not run" in problems(with_hook("appliance_services", lambda self: [Service(key="never", run=never)]))


def test_all_offences_are_reported_at_once() -> None:
    plugin = type("Broken", (), {"api": None, "appliance_a": lambda self: None, "appliance_b": lambda self: None})
    told = problems(plugin)
    assert told.startswith("Broken breaks 3 rules for plugins:\n")
