"""A plugin contributes data or is named as the one at fault; it never disturbs another."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import pytest

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance.events import Event, Health, event
from appliance.host.discovery import Found
from appliance.host.plugins import PluginEntry, Plugins, PluginState
from appliance.plugin import (
    Check,
    Command,
    ConfigTable,
    Context,
    Finding,
    ImagePart,
    Migration,
    Node,
    Probe,
    Service,
    Started,
    SyncSection,
    hookimpl,
)

NODE = Node(name="fw1")


class GoodTable(Model):
    """A table."""

    greeting: str = "hello"


class OtherTable(Model):
    """Another table."""


@event()
class Greeted(Event):
    """Owned by Good."""


async def serve(ctx: Context, task_status: Started) -> None:
    """Never runs here."""


async def look(probe: Probe) -> Finding:
    return Finding(health=Health.OK, what="fine")


class Good:
    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="good", model=GoodTable, summary="Greets.")

    @hookimpl
    def appliance_verify(self, config: Config) -> list[Problem]:
        return [Problem(path=("good", "greeting"), message="too short")] if not config[GoodTable].greeting else []

    @hookimpl
    def appliance_services(self, node: Node, config: Config) -> list[Service]:
        return [Service(key="greeter", run=serve, config=(config[GoodTable].greeting, node.name))]

    @hookimpl
    def appliance_events(self) -> tuple[type[Event], ...]:
        return (Greeted,)

    @hookimpl
    def appliance_commands(self) -> list[Command]:
        return [Command(path=("show", "greetings"), help="Greetings.", run=print)]

    @hookimpl
    def appliance_checks(self) -> list[Check]:
        return [Check(name="greets", help="Whether it greets.", run=look)]

    @hookimpl
    def appliance_sync_sections(self) -> list[SyncSection]:
        return [SyncSection(name="good", keys=(("good",),))]

    @hookimpl
    def appliance_image(self, flavor: str) -> ImagePart:
        return ImagePart(packages=(f"greeter-{flavor}",))

    @hookimpl
    def appliance_migrations(self) -> list[Migration]:
        return [Migration(from_version=1, to_version=2, migrate=dict)]


class Tableless:
    api = (1, 0)

    @hookimpl
    def appliance_services(self) -> list[Service]:
        return [Service(key="always", run=serve)]


def found(name: str, factory: Callable[[], object] | None, error: str | None = None) -> Found:
    return Found(name=name, distribution=f"dist-{name}", factory=factory, error=error)


def config(*tables: str, greeting: str = "hello") -> Config:
    known: dict[str, Model] = {"good": GoodTable(greeting=greeting), "other": OtherTable()}
    return Config({name: known[name] for name in tables}, node=NodeTable(name="fw1"))


def entry(plugins: Plugins, name: str) -> PluginEntry:
    return next(entry for entry in plugins.entries if entry.name == name)


def only(hook: str, answer: Callable[..., object]) -> type:
    """A plugin class with one hook."""
    return type("Made", (), {"api": (1, 0), hook: hookimpl(answer)})


def test_every_contribution_of_a_good_plugin_arrives_with_its_name() -> None:
    plugins = Plugins([found("good", Good), found("tableless", Tableless)])
    current = config("good")
    plugins.enable(current)
    assert plugins.tables()["good"].model is GoodTable
    assert [(s.name, s.distribution, s.service.config) for s in plugins.services(current, NODE)] == [
        ("good/greeter", "dist-good", ("hello", "fw1")),
        ("tableless/always", "dist-tableless", None),
    ]
    assert [(c.plugin, c.command.path) for c in plugins.commands()] == [("good", ("show", "greetings"))]
    assert [(name, check.name) for name, check in plugins.checks(current)] == [("good", "greets")]
    assert plugins.events() == [Greeted]
    assert plugins.events_by_plugin() == [("good", Greeted)]
    assert [(name, section.keys) for name, section in plugins.sync_sections()] == [("good", (("good",),))]
    assert plugins.image("usb") == [("good", ImagePart(packages=("greeter-usb",)))]
    assert [(name, step.to_version) for name, step in plugins.migrations()] == [("good", 2)]
    assert plugins.verify(current, None) == []
    assert [p.message for p in plugins.verify(config("good", greeting=""), current)] == ["too short"]
    assert plugins.failures == ()


def test_a_plugin_is_enabled_by_the_presence_of_its_table() -> None:
    plugins = Plugins([found("good", Good), found("tableless", Tableless)])
    assert [e.enabled for e in plugins.entries] == [False, True]
    assert [s.name for s in plugins.services(config(), NODE)] == ["tableless/always"]
    plugins.enable(["good"])
    assert [e.enabled for e in plugins.entries] == [True, True]
    plugins.enable(["other"])
    assert [e.enabled for e in plugins.entries] == [False, True]
    assert plugins.checks(config()) == []


def test_every_appliance_has_its_own_instance() -> None:
    made: list[object] = []

    def factory() -> object:
        made.append(Good())
        return made[-1]

    for _ in range(2):
        Plugins([found("good", factory)])
    assert len(made) == 2
    assert made[0] is not made[1]


def test_a_blocked_plugin_is_not_even_imported() -> None:
    def factory() -> object:
        pytest.fail("imported")

    plugins = Plugins([found("good", factory)], blocked=["good"])
    assert entry(plugins, "good").state is PluginState.BLOCKED
    plugins.enable(["good"])
    assert plugins.services(config("good"), NODE) == []


def test_a_plugin_that_cannot_be_imported_is_broken_and_leaves_the_others_alone() -> None:
    def missing() -> object:
        raise ModuleNotFoundError("No module named 'numpy'")

    def leaves() -> object:
        raise SystemExit(3)

    plugins = Plugins([
        found("missing", missing), found("leaves", leaves), found("good", Good), found("shadow", None, "name taken")
    ])  # fmt: skip
    assert [(e.name, e.state) for e in plugins.entries] == [
        ("missing", PluginState.BROKEN),
        ("leaves", PluginState.BROKEN),
        ("good", PluginState.LOADED),
        ("shadow", PluginState.BROKEN),
    ]
    error = entry(plugins, "missing").error
    assert error is not None
    assert error.startswith("ModuleNotFoundError: No module named 'numpy' (host/test_plugins.py:")
    assert entry(plugins, "shadow").error == "name taken"
    plugins.enable(["good"])
    assert [s.name for s in plugins.services(config("good"), NODE)] == ["good/greeter"]


@pytest.mark.parametrize(
    ("api", "said"),
    [
        ((1, 9), "written for plugin API 1.9 and this appliance has 1.0"),
        ((2, 0), "written for plugin API 2.0 and this appliance has 1.0"),
        (None, "does not say for which plugin API"),
        ("1.0", "does not say for which plugin API"),
    ],
)
def test_a_plugin_for_another_api_is_refused_with_both_numbers(api: object, said: str) -> None:
    plugins = Plugins([found("old", type("Old", (Good,), {"api": api})), found("good", Good)])
    old = entry(plugins, "old")
    assert old.state is PluginState.REFUSED
    assert said in str(old.error)
    assert entry(plugins, "good").state is PluginState.LOADED


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (
            {"appliance_servicse": hookimpl(lambda self: [])},
            "unknown hook appliance_servicse; did you mean appliance_services?",
        ),
        (
            {"appliance_services": hookimpl(lambda self, confg: [])},
            "Argument(s) {'confg'} are declared in the hookimpl",
        ),
        ({"appliance_services": hookimpl(wrapper=True)(lambda self: (yield))}, "appliance_services is a wrapper"),
        ({"appliance_services": hookimpl(hookwrapper=True)(lambda self: (yield))}, "appliance_services is a wrapper"),
        ({"appliance_services": lambda self: []}, "appliance_services is not marked with @hookimpl"),
    ],
    ids=["typo", "argument", "wrapper", "old wrapper", "no decorator"],
)
def test_a_plugin_that_breaks_a_rule_of_hooks_is_refused(members: dict[str, object], said: str) -> None:
    plugins = Plugins([found("bad", type("Bad", (), {"api": (1, 0), **members})), found("good", Good)])
    bad = entry(plugins, "bad")
    assert bad.state is PluginState.REFUSED
    assert said in str(bad.error)
    plugins.enable(["good"])
    assert [s.name for s in plugins.services(config("good"), NODE)] == ["good/greeter"]


def test_an_unknown_hook_marked_optional_is_accepted() -> None:
    newer = type("Newer", (), {"api": (1, 0), "appliance_later": hookimpl(optionalhook=True)(lambda self: [])})
    assert entry(Plugins([found("newer", newer)]), "newer").state is PluginState.LOADED


def test_two_plugins_cannot_own_the_same_table_nor_one_of_the_core() -> None:
    core = only("appliance_config", lambda self: ConfigTable(name="node", model=OtherTable, summary=""))
    plugins = Plugins([found("good", Good), found("copy", Good), found("core", core)])
    assert [e.state for e in plugins.entries] == [PluginState.LOADED, PluginState.REFUSED, PluginState.REFUSED]
    assert entry(plugins, "copy").error == "table [good] belongs to plugin good of dist-good"
    assert "belongs to the appliance itself" in str(entry(plugins, "core").error)
    assert list(plugins.tables()) == ["good"]


def raising(self: object) -> object:
    raise KeyError("boom")


async def waiting(self: object) -> object:
    return []


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raising, "raised KeyError: 'boom' (host/test_plugins.py:"),
        (waiting, "is asynchronous"),
        (lambda self: None, "returned None; a list of Check values is needed"),
        (lambda self: (item for item in ()), "a list of Check values is needed"),
        (lambda self: [ImagePart()], "returned a list that holds ImagePart("),
        (lambda self: [Unprintable()], "Unprintable object at"),
    ],
    ids=["raises", "async", "none", "generator", "wrong item", "unprintable"],
)
def test_a_failing_hook_is_named_and_costs_only_its_own_contribution(answer: Callable[..., object], said: str) -> None:
    plugins = Plugins([found("bad", only("appliance_checks", answer)), found("good", Good)])
    plugins.enable(["good"])
    assert [name for name, _ in plugins.checks(config("good"))] == ["good"]
    (failure,) = plugins.failures
    assert (failure.plugin, failure.distribution, failure.hook) == ("bad", "dist-bad", "appliance_checks")
    assert said in failure.error
    assert str(failure).startswith("plugin bad of dist-bad: appliance_checks ")
    gc.collect()  # a coroutine that nobody awaits would warn here


def test_a_failure_is_forgotten_when_the_same_hook_works_again() -> None:
    answers: list[object] = ["nonsense", []]
    plugins = Plugins([found("moody", only("appliance_checks", lambda self: answers.pop(0)))])
    plugins.checks(config())
    assert len(plugins.failures) == 1
    plugins.checks(config())
    assert plugins.failures == ()


def test_a_failure_is_forgotten_when_the_plugin_is_disabled() -> None:
    def services(self: object) -> Sequence[Service]:
        raise KeyError("boom")

    made = type("Bad", (Good,), {"appliance_services": hookimpl(services)})
    plugins = Plugins([found("bad", made)])
    plugins.enable(["good"])
    assert plugins.services(config("good"), NODE) == []
    assert len(plugins.failures) == 1
    plugins.enable([])
    assert plugins.failures == ()


def test_a_failing_verify_is_a_problem_of_the_plugins_own_table() -> None:
    def verify(self: object) -> Sequence[Problem]:
        raise KeyError("boom")

    made = type("Bad", (Good,), {"appliance_verify": hookimpl(verify)})
    plugins = Plugins([found("bad", made)])
    plugins.enable(["good"])
    (problem,) = plugins.verify(config("good"), None)
    assert (problem.path, problem.severity) == (("good",), "error")
    assert "plugin bad of dist-bad: appliance_verify raised KeyError: 'boom'" in problem.message


def test_a_failing_table_declaration_is_refused_as_it_could_never_be_enabled() -> None:
    plugins = Plugins([found("bad", only("appliance_config", lambda self: "table"))])
    bad = entry(plugins, "bad")
    assert bad.state is PluginState.REFUSED
    assert bad.error == "appliance_config returned 'table'; a ConfigTable is needed"


def test_services_with_the_same_key_and_commands_with_the_same_path_are_refused() -> None:
    twice = [Service(key="a", run=serve), Service(key="a", run=serve)]
    doubled = type("Twice", (), {"api": (1, 0), "appliance_services": hookimpl(lambda self: twice)})
    thief = only("appliance_commands", lambda self: [Command(path=("show", "greetings"), help="", run=print)])
    plugins = Plugins([found("good", Good), found("doubled", doubled), found("thief", thief)])
    assert plugins.services(config(), NODE) == []
    assert [c.plugin for c in plugins.commands()] == ["good"]
    assert [failure.error for failure in plugins.failures] == [
        "returned two services with the key 'a'",
        "takes `show greetings`, which belongs to the plugin good",
    ]


def test_a_refused_table_shows_until_the_plugin_is_enabled_or_a_configuration_is_accepted() -> None:
    plugins = Plugins([found("good", Good)])
    plugins.refuse("good", "greeting: Field required")
    plugins.enable([])
    assert entry(plugins, "good").state is PluginState.REFUSED
    assert entry(plugins, "good").error == "greeting: Field required"
    assert "good" in plugins.tables()  # so that the corrected table can be accepted
    plugins.enable(["good"])
    assert entry(plugins, "good").state is PluginState.LOADED
    plugins.enable([])  # the candidate was refused after all
    assert entry(plugins, "good").state is PluginState.REFUSED
    plugins.forgive()
    assert entry(plugins, "good").state is PluginState.LOADED


def test_hook_calls_are_traced_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plugins = Plugins([found("good", Good), found("bad", only("appliance_checks", raising))])
    plugins.enable(["good"])
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("APPLIANCE_TRACE_HOOKS", "1")
    plugins.services(config("good"), NODE)
    plugins.checks(config("good"))
    services, checks, bad = capsys.readouterr().err.splitlines()
    assert services.startswith("good.appliance_services(")
    assert "node=Node(name='fw1'" in services
    assert "returned [Service(key='greeter'" in services
    assert checks.startswith("good.appliance_checks() returned [Check(")
    assert bad.startswith("bad.appliance_checks() raised KeyError")
