"""Requests: one provider per type, awaited in the caller's own task.

There are no reply queues and no correlation ids. A call is a function call that finds its function by
the type of its argument, so deadlines, cancellation and exceptions behave as everybody expects, and a
caller cannot hang because a provider died: when the provider's `serve` block ends, whoever is inside
its handler is taken out of it with `NoProvider`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

import trio

from appliance.bus.envelope import Envelope, handling
from appliance.errors import ApplianceError, PluginError
from appliance.events import Event, Request
from appliance.plugin.context import NoProvider, ProviderFailed, RequestHandler

R = TypeVar("R")


# Plain subclasses and not @event: these are written to the trace only, nobody can subscribe to them.
@dataclass(frozen=True, slots=True, kw_only=True)
class Called(Event):
    """A request went to its provider; what happens in its course has this as its cause."""

    request: Request[Any]
    provider: str
    """Empty when nobody serves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Event):
    """A call ended."""

    request_type: str
    outcome: str
    """``"ok"``, ``"cancelled"`` or the error. How long it took is the difference to its cause."""


class Recorder(Protocol):
    """How calls get into the trace; the bus is one."""

    def record(self, event: Event, *, source: str) -> Envelope: ...


@dataclass(slots=True, eq=False)
class _Provider:
    source: str
    handler: Callable[[Any], Awaitable[Any]]
    running: set[trio.CancelScope] = field(default_factory=set)


class Calls:
    """The registry of providers of one bus."""

    def __init__(self, bus: Recorder) -> None:
        self._bus = bus
        self._providers: dict[type[Request[Any]], _Provider] = {}

    def providers(self) -> tuple[tuple[str, str], ...]:
        """Request class and who serves it."""
        return tuple((kind.__qualname__, provider.source) for kind, provider in self._providers.items())

    @contextmanager
    def serve(self, kind: type[Request[R]], handler: RequestHandler[R], *, source: str) -> Iterator[None]:
        """Answer requests of exactly this type while the block lasts."""
        if (other := self._providers.get(kind)) is not None:
            raise PluginError(
                f"{source} cannot serve {kind.__qualname__}: {other.source} already does",
                hint="block one of the two plugins in [plugins] blocked",
            )
        provider = self._providers[kind] = _Provider(source=source, handler=handler)
        try:
            yield
        finally:
            del self._providers[kind]
            for scope in provider.running:
                scope.cancel(reason=f"{source} stopped serving {kind.__qualname__}")

    async def call(self, request: Request[R], *, source: str) -> R:
        """Ask the provider and trace the call. What `EventBus.call` does."""
        kind = type(request)
        await trio.lowlevel.checkpoint()  # a caller that retries on NoProvider must not starve the loop
        provider = self._providers.get(kind)
        called = self._bus.record(Called(request=request, provider=provider.source if provider else ""), source=source)
        if provider is None:
            raise NoProvider(f"nobody serves {kind.__qualname__}")
        token = handling.set((self._bus, called))
        outcome = "cancelled"
        try:
            answer = await _ask(provider, request)
            outcome = "ok"
        except (ApplianceError, NoProvider, ProviderFailed) as error:
            outcome = f"{type(error).__name__}: {error.args[0]}"
            raise
        finally:
            self._bus.record(Answered(request_type=kind.__qualname__, outcome=outcome), source=provider.source)
            handling.reset(token)
        return cast("R", answer)


async def _ask(provider: _Provider, request: Request[Any]) -> object:
    scope = trio.CancelScope()
    provider.running.add(scope)
    try:
        with scope:
            return await provider.handler(request)
    except ApplianceError:
        raise
    except Exception as error:
        if scope.cancel_called:  # its sockets were closed under its feet
            raise NoProvider(f"{provider.source} stopped while answering") from error
        if (meant := _only_leaf(error)) is not None:
            raise meant from error
        raise ProviderFailed(
            f"{provider.source} failed to answer {type(request).__qualname__}: {type(error).__name__}: {error}"
        ) from error
    finally:
        provider.running.discard(scope)
    raise NoProvider(f"{provider.source} stopped while answering")


def _only_leaf(error: BaseException) -> ApplianceError | None:
    """The refusal inside the groups that nurseries wrap around it; ``None`` when there is more to tell."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, ApplianceError) else None
