"""What plugins hand to the host: frozen, keyword-only values that can be read without running anything.

New optional fields may be added for ever without breaking a plugin; that is most of API stability.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from appliance.events import Event, Health, Request
from appliance.plugin.context import Context, Started
from appliance.plugin.node import Node

if TYPE_CHECKING:
    from appliance.config import Model

R = TypeVar("R")

CapabilityName = str
"""A name such as ``"interfaces"`` that one service provides and others need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigTable:
    """The table of `appliance.toml` that a plugin owns. Its presence enables the plugin."""

    name: str
    model: type[Model]
    summary: str


class CrashPolicy(StrEnum):
    """What a crash of a service means for the node."""

    RESTART = "restart"
    """Start it again after a back-off; nobody else notices."""
    DEMOTE = "demote"
    """As RESTART, and the node is demoted (reason ``service:NAME``) until it runs again."""
    STOP_NODE = "stop-node"
    """The node cannot do its work without it: leave in an orderly way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Run a service in a process of its own, with its own trio loop.

    `Service.run` must then be importable (a module-level function) and `Service.config` picklable;
    what they import is all that the process imports.
    """

    realtime_priority: int | None = None
    """SCHED_FIFO priority 1..99, or the normal scheduler. Needs CAP_SYS_NICE; without it a warning is logged."""
    lock_memory: bool = False
    """mlockall(MCL_CURRENT | MCL_FUTURE)."""
    freeze_gc: bool = False
    """gc.freeze() once the service reported ready: full collections no longer walk start-up objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One thing that runs under supervision."""

    key: str
    """Stable identity inside the plugin; unchanged key and equal `config` means left alone by a reload."""
    run: Callable[[Context, Started], Awaitable[None]]
    """Opens its sockets, calls ``started()``, runs until `Context.stopping` or cancellation."""
    config: object = None
    """Compared with ``==``. When it differs, the service's reload handler or else a restart applies it."""
    on_crash: CrashPolicy = CrashPolicy.RESTART
    grace_s: float = 2.0
    """How long it may take to stop by itself before it is cancelled."""
    needs: frozenset[CapabilityName] = frozenset()
    """Start after the services that provide these (missing ones are not waited for)."""
    after: frozenset[CapabilityName] = frozenset()
    """As `needs`, but better late than never: a provider that has crashed is not waited for."""
    provides: frozenset[CapabilityName] = frozenset()
    isolation: Isolation | None = None


class Where(StrEnum):
    """Where a command runs."""

    DAEMON = "daemon"
    """Inside the node, through the control socket."""
    LOCAL = "local"
    """In the calling process; it must not need a running node."""


class CommandContext(Protocol):
    """What a command inside the node may use."""

    exit_code: int
    """What the caller exits with when the command returns: 0 unless it is set, 1 when it prints what failed."""

    @property
    def node(self) -> Node: ...
    async def call(self, request: Request[R]) -> R: ...
    def retained(self, kind: type[Event]) -> Sequence[Event]:
        """The retained events of this type, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a command: positional, or an option when the name starts with ``--``.

    A last positional whose name ends in ``...`` takes all that is left, as a tuple.
    """

    name: str
    help: str = ""
    type: Callable[[str], object] = str
    required: bool = False
    """Positional arguments only; options are never required."""
    flag: bool = False
    """An option without a value."""
    choices: tuple[str, ...] = ()
    default: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of the console and the command line."""

    path: tuple[str, ...]
    """``("show", "carp")``."""
    help: str
    run: Callable[..., Any]
    """DAEMON: ``async (CommandContext, **arguments) -> data``; LOCAL: ``(**arguments) -> exit status or data``.

    Data is made of dicts, lists, str, numbers, bool and None; it is what ``--json`` prints. A DAEMON
    command that is an async generator streams: every item is printed as it comes.
    """
    arguments: tuple[Argument, ...] = ()
    render: Callable[[Any], str] | None = None
    """Data to text for people; without it a generic table is printed."""
    where: Where = Where.DAEMON
    reads: bool = False
    """It only looks: nothing on this or another node is different afterwards. Users who may only look may run it."""
    empty: str = ""
    """What people read when a command that streams has ended without an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check. Anything but OK carries a remedy."""

    health: Health
    what: str
    why: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        if self.health is not Health.OK and not self.fix:
            raise ValueError(f"a finding that is not ok needs a fix: {self.what!r}")


class Probe(Protocol):
    """Read-only access for checks: the node's facts and requests, files and commands of the system."""

    @property
    def node(self) -> Node: ...
    async def call(self, request: Request[R]) -> R: ...
    def retained(self, kind: type[Event]) -> Sequence[Event]: ...
    async def output(self, *argv: str) -> str:
        """Standard output of a read-only command, bounded in time and size."""
        ...

    def read(self, path: str) -> str:
        """Text of a small file such as a sysctl; empty when it does not exist."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing `appliance doctor` looks at."""

    name: str
    help: str
    run: Callable[[Probe], Awaitable[Finding]]
    deadline_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """The two ends of a synchronization, for what is not the same on both."""

    sender: Mapping[str, tuple[str, ...]]
    """Own addresses of the sending node, ``192.168.1.2/24``, by logical interface."""
    receiver: Mapping[str, tuple[str, ...]]
    """Those of the receiving node."""
    rank: int = 1
    """1 for the first other node, 2 for the second."""


def unchanged(data: Mapping[str, Any], mirror: Mirror) -> Mapping[str, Any]:
    """For sections that are the same on all nodes."""
    del mirror
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSection:
    """A part of the configuration that travels to the other nodes, as a whole or not at all.

    Fields of scope LOCAL and items marked ``nosync`` never travel and are kept by the receiver; the core sees to both.
    """

    name: str
    """For people and for the switch that turns it off: ``"firewall rules"``."""
    keys: tuple[tuple[str, ...], ...]
    """What it is of `appliance.toml`: ``(("firewall", "rule"),)``, or ``(("carp",),)`` for a whole table."""
    outbound: Callable[[Mapping[str, Any], Mirror], Mapping[str, Any]] = unchanged
    """What the receiver should have of it, where that differs from the sender's: MIRRORED fields. Pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """What a plugin needs in a bootable image."""

    packages: tuple[str, ...] = ()
    """Debian package names."""
    kernel_modules: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Path in the image to a resource, ``"package:name"``."""
    units: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelNeed:
    """Devices of a kind that the kernel has to be able to make."""

    path: tuple[str | int, ...]
    """The key of the configuration that needs them."""
    kind: str
    """As ``ip link add … type`` calls it; `appliance.net.kernel` knows ``bond``, ``vlan``, ``macvlan`` and more."""
    what_for: str
    """``link aggregation``: begins the message when it is not possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Turns a plugin's table of an older file into the next version."""

    from_version: int
    to_version: int
    migrate: Callable[[Mapping[str, Any]], Mapping[str, Any]]
