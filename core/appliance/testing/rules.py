"""The rules for each kind of contribution; every function returns what is wrong, as sentences."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.resources
import inspect
import pickle
import re
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from appliance.config import Config, Model, description_of
from appliance.config.sections import take
from appliance.errors import PluginError, Problem
from appliance.events import Event, Request, known_events, known_requests
from appliance.net.kernel import LinkKind
from appliance.net.ruleset import compose
from appliance.plugin import (
    Check,
    Command,
    ConfigTable,
    Fragment,
    ImagePart,
    KernelNeed,
    Migration,
    Mirror,
    Service,
    SyncSection,
    Where,
)

TABLE_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,30}$")
WORD = re.compile(r"^[a-z][a-z0-9-]*$")
ARGUMENT_NAME = re.compile(r"^(--[a-z][a-z0-9_-]*|[a-z][a-z0-9_-]*(\.\.\.)?)$")

_ELEMENTS: Mapping[str, type] = {
    "appliance_verify": Problem,
    "appliance_kernel": KernelNeed,
    "appliance_migrations": Migration,
    "appliance_services": Service,
    "appliance_events": type,
    "appliance_commands": Command,
    "appliance_checks": Check,
    "appliance_sync_sections": SyncSection,
}
_SINGLE: Mapping[str, type] = {
    "appliance_config": ConfigTable,
    "appliance_image": ImagePart,
    "appliance_ruleset": Fragment,
}


def type_problems(hook: str, answer: object) -> list[str]:
    """Whether a hook returned what its specification says."""
    if answer is None:
        return []
    if inspect.isawaitable(answer):
        return ["returned something to await; hooks are synchronous"]
    if hook in _SINGLE:
        wanted = _SINGLE[hook]
        return [] if isinstance(answer, wanted) else [f"returned {type(answer).__name__}, not {wanted.__name__}"]
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        return [f"returned {type(answer).__name__}, not a list or tuple"]
    wanted = _ELEMENTS[hook]
    return [
        f"returned an element that is no {wanted.__name__}: {item!r}" for item in answer if not isinstance(item, wanted)
    ]


def ruleset_problems(fragment: object) -> list[str]:
    """Whether a fragment can become part of the node's ruleset; only a kernel knows whether its rules are right."""
    if not isinstance(fragment, Fragment):
        return []
    try:
        compose([("it", fragment)])
    except PluginError as error:
        return [f"appliance_ruleset does not fit into the ruleset: {error.message}"]
    return []


def shape(value: object) -> object:
    """A value reduced to what must be equal when a hook is asked again: functions become their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (type(value), *((f.name, shape(getattr(value, f.name))) for f in dataclasses.fields(value)))
    if isinstance(value, (list, tuple)):
        return tuple(shape(item) for item in value)
    if isinstance(value, Mapping):
        return tuple((key, shape(item)) for key, item in value.items())
    if callable(value) and not isinstance(value, type):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return value


def table_problems(table: ConfigTable) -> list[str]:
    """Whether a table is documented and its model follows the house rules."""
    problems = []
    if not TABLE_NAME.match(table.name):
        problems.append(f"[{table.name}]: a table is named with lower-case letters, digits and dashes")
    if not table.summary.strip().endswith("."):
        problems.append(f"[{table.name}]: the summary is not a sentence: {table.summary!r}")
    model: object = table.model
    if not (isinstance(model, type) and issubclass(model, Model)):
        return [*problems, f"[{table.name}]: its model is not an appliance.config.Model"]
    for part in _models(table.model):
        # A table of tables (a root model) has no keys of its own that could be unknown.
        is_strict = part.model_config.get("extra") == "forbid" or getattr(part, "__pydantic_root_model__", False)
        if not is_strict or not part.model_config.get("frozen"):
            problems.append(f"{part.__qualname__} relaxes the base model: unknown keys must be refused, values frozen")
        problems += [
            f"[{table.name}]: {part.__qualname__}.{name} has no description; write a docstring under it"
            for name in part.model_fields
            if not description_of(part, name).strip()
        ]
    return problems


def _models(root: type[Model]) -> list[type[Model]]:
    found: list[type[Model]] = []
    todo: list[object] = [root]
    while todo:
        item = todo.pop()
        if isinstance(item, type) and issubclass(item, Model):
            if item not in found:
                found.append(item)
                todo += [field.annotation for field in item.model_fields.values()]
        else:
            todo += typing.get_args(item)
    return found


def service_problems(services: Sequence[Service]) -> list[str]:
    """Whether services can be told apart, compared, started and, if asked for, isolated."""
    problems = _duplicates("service key", (service.key for service in services))
    for service in services:
        name = f"service {service.key!r}"
        problems += _arity(name, service.run, 2)
        if service.grace_s <= 0:
            problems.append(f"{name}: grace_s must be positive")
        if not _compares_by_value(service.config):
            problems.append(f"{name}: its config is not compared by value, so every reload would restart it")
        if service.isolation is not None:
            problems += _isolation_problems(name, service)
    return problems


def _compares_by_value(config: object) -> bool:
    try:
        return config == copy.copy(config)
    except TypeError:  # it does not let itself be copied, so nothing can be said
        return True


def _isolation_problems(name: str, service: Service) -> list[str]:
    problems = []
    module, qualname = getattr(service.run, "__module__", ""), getattr(service.run, "__qualname__", "")
    try:
        found: object = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is not service.run:
        problems.append(f"{name}: run cannot be imported by another process; make it a function of a module")
    try:
        again = pickle.loads(pickle.dumps(service.config))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        return [*problems, f"{name}: its config cannot be pickled for its process: {error}"]
    if again != service.config:
        problems.append(f"{name}: its config is not equal to itself after pickling")
    return problems


def event_problems(events: Sequence[type[Event] | type[Request[object]]], package: str) -> list[str]:
    """Whether events are declared with the decorator, documented, and not another plugin's."""
    problems = []
    declared = {*known_events().values(), *known_requests().values()}
    for kind in events:
        if kind not in declared:
            problems.append(f"{kind.__qualname__} is not declared with @event() or @request")
        if not (kind.__doc__ or "").strip() or (kind.__doc__ or "").startswith(f"{kind.__name__}("):
            problems.append(f"{kind.__qualname__} has no docstring; it is the documentation of the event")
        # A plugin may also name what it publishes or serves of the vocabulary all plugins share.
        if kind.__module__.partition(".")[0] not in (package, "appliance"):
            problems.append(f"{kind.__qualname__} belongs to {kind.__module__}, not to this plugin")
    return problems


def command_problems(commands: Sequence[Command]) -> list[str]:
    """Whether commands have help and functions that fit where they run."""
    problems = _duplicates("command", (" ".join(command.path) for command in commands))
    for command in commands:
        name = f"command {' '.join(command.path)!r}"
        if not command.path or not all(WORD.match(word) for word in command.path):
            problems.append(f"{name}: a path is made of lower-case words")
        if not command.help.strip():
            problems.append(f"{name} has no help")
        for argument in command.arguments:
            if not ARGUMENT_NAME.match(argument.name):
                problems.append(f"{name}: {argument.name!r} is not a name for an argument")
            if not argument.help.strip():
                problems.append(f"{name}: the argument {argument.name} has no help")
        runs_inside = inspect.iscoroutinefunction(command.run) or inspect.isasyncgenfunction(command.run)
        if (command.where is Where.DAEMON) is not runs_inside:
            problems.append(f"{name}: run must be async inside the node, and a plain function for a local command")
        names = [argument.name.removeprefix("--").removesuffix("...") for argument in command.arguments]
        given = {word.replace("-", "_") for word in names}
        problems += _named_arguments(name, command.run, given, leading=1 if command.where is Where.DAEMON else 0)
    return problems


def check_problems(checks: Sequence[Check]) -> list[str]:
    """Whether checks have names, help and a deadline."""
    problems = _duplicates("check", (check.name for check in checks))
    for check in checks:
        name = f"check {check.name!r}"
        if not check.help.strip():
            problems.append(f"{name} has no help")
        if check.deadline_s <= 0:
            problems.append(f"{name}: deadline_s must be positive")
        problems += _arity(name, check.run, 1)
    return problems


def migration_problems(migrations: Sequence[Migration]) -> list[str]:
    """Whether migrations go forward, each from a version of its own."""
    problems = _duplicates("migration from version", (str(step.from_version) for step in migrations))
    return problems + [
        f"migration {step.from_version} to {step.to_version} does not go forward"
        for step in migrations
        if step.to_version <= step.from_version
    ]


def kernel_problems(needs: Sequence[KernelNeed]) -> list[str]:
    """Whether what the kernel has to be able to do can be tried, and belongs to a key."""
    kinds = typing.get_args(LinkKind)
    problems = [
        f"kernel need {need.kind!r} is unknown; there are {', '.join(kinds)}"
        for need in needs
        if need.kind not in kinds
    ]
    return problems + [
        f"kernel need {need.kind!r} names no key of the configuration" for need in needs if not need.path
    ]


def section_problems(sections: Sequence[SyncSection], config: Config) -> list[str]:
    """Whether what is synchronized is named once, belongs to known tables and changes purely."""
    problems = _duplicates("sync section", (section.name for section in sections))
    problems += _duplicates("key of a sync section", (".".join(key) for each in sections for key in each.keys))
    whole = config.dump()
    mirror = Mirror(sender={}, receiver={})
    for section in sections:
        name = f"sync section {section.name!r}"
        problems += [f"{name} names no key"] if not section.keys or not all(section.keys) else []
        own = take(whole, [key for key in section.keys if key])
        before = copy.deepcopy(own)
        sent = section.outbound(own, mirror)
        if own != before:
            problems.append(f"{name}: outbound changes what it is given")
        if dict(sent) != take(sent, [key for key in section.keys if key]):
            problems.append(f"{name}: outbound sends more than its keys")
    return problems


def image_problems(part: ImagePart | None, package: str) -> list[str]:
    """Whether what goes into an image exists and is well-formed."""
    if part is None:
        return []
    problems = []
    for path, resource in part.files.items():
        owner, _, name = resource.partition(":")
        if not path.startswith("/"):
            problems.append(f"image file {path!r} is not an absolute path")
        if owner.partition(".")[0] != package:
            problems.append(f"image file {path}: {resource!r} is not a resource of this plugin")
        elif not name or not importlib.resources.files(owner).joinpath(name).is_file():
            problems.append(f"image file {path}: there is no resource {resource!r}")
    problems += [f"image package {name!r} is not a Debian package name" for name in part.packages if not _debian(name)]
    problems += [f"sysctl {name!r} is not a dotted name" for name in part.sysctls if "." not in name or "/" in name]
    return problems


def _debian(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) is not None


def _duplicates(what: str, names: Iterable[str]) -> list[str]:
    return [f"{what} {name!r} is there {count} times" for name, count in Counter(names).items() if count > 1]


def _arity(name: str, function: Callable[..., object], count: int) -> list[str]:
    if not _is_async(function):
        return [f"{name}: run must be an async function"]
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return [f"{name}: run must accept {count} positional arguments"]
    return []


def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _named_arguments(name: str, function: Callable[..., object], given: set[str], leading: int) -> list[str]:
    try:
        inspect.signature(function).bind(*range(leading), **dict.fromkeys(given))
    except TypeError as error:
        return [f"{name}: its function does not fit its declared arguments: {error}"]
    return []
