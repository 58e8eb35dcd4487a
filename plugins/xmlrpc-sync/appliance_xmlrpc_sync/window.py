"""The side of a pairing that shows the code: a listener that is open for ten minutes, five tries or one success."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NoReturn

import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.identity.introduction import Refused
from appliance.identity.keyring import Keyring
from appliance.identity.pairing import Listener, Paired, Reply
from appliance.plugin import Context
from appliance.rpc import Caller, Fault, FaultCode, Limits, Listen, Server, Value, expect, server_tls
from appliance_xmlrpc_sync.events import PairingOpen
from appliance_xmlrpc_sync.introductions import METHOD, Introductions
from appliance_xmlrpc_sync.settings import ListenerSettings

LINGER_S = 1.0
"""Between a success and the end of the listening, so that its answer gets out."""
UNWATCHED_S = 5.0
"""Between the code and the first wait for what comes of it; nobody waits: nobody has seen the code."""
MESSAGE_MAX = 16 * 1024
"""Bytes of a call; a message of a pairing has 3 kB before it becomes XML. Strangers must not fill the memory."""
FAULTS = {
    "code": FaultCode.AUTHENTICATION,
    "closed": FaultCode.LOCKED,
    "version": FaultCode.VERSION,
    "malformed": FaultCode.PARAMETERS,
    "run": FaultCode.NO_TRANSACTION,
}
"""Of refusals by their kind; the others are `FaultCode.PRIVILEGE`."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Window:
    """One time of listening."""

    number: int
    listener: Listener
    over: trio.Event
    """Set when it is to be closed, or everybody has been told what came of it."""
    result: dict[str, Any]
    gone: trio.Event
    """Set when nothing listens any more."""
    watched: bool = False


class PairingDesk:
    """Opens and closes windows; at most one at a time.

    Args:
        ctx: Of the service.
        settings: Of the service.
        introductions: Where a success is recorded.
        nursery: Of the service.
    """

    def __init__(
        self, ctx: Context, settings: ListenerSettings, introductions: Introductions, nursery: trio.Nursery
    ) -> None:
        self._ctx, self._settings, self._introductions, self._nursery = ctx, settings, introductions, nursery
        self._window: _Window | None = None
        """The last one, also when it is closed: somebody may still ask what came of it."""
        self._opened = 0

    @property
    def is_open(self) -> bool:
        """Whether somebody can pair at the moment."""
        return self._window is not None and not self._window.over.is_set()

    async def open(self) -> PairingOpen:
        """Listen with a new code.

        Raises:
            ApplianceError: The node has no identity, or cannot listen.
        """
        own = self._introductions.own()
        await self._close("another 'pair --listen' began")
        now = trio.current_time()
        names = [peer.name for peer in self._introductions.peers]
        self._opened += 1
        window = _Window(
            number=self._opened,
            listener=Listener(own.certificate, names, now=now),
            over=trio.Event(),
            gone=trio.Event(),
            result=_closed("nobody waits for it"),
        )
        await self._nursery.start(self._run, window)
        return PairingOpen(
            window=window.number,
            name=own.certificate.name,
            fingerprint=own.certificate.fingerprint,
            code=window.listener.code,
            valid_s=window.listener.expires_at - now,
            addresses=self._settings.addresses,
            port=self._settings.pairing_port,
        )

    async def wait(self, number: int) -> dict[str, Any]:
        """What came of it. Cancelled, it closes the window.

        Raises:
            RefusedError: There is a newer one.
        """
        window = self._window
        if window is None or window.number != number:
            raise RefusedError("this code is not valid any more", hint="Run 'appliance pair --listen' again.")
        window.watched = True
        try:
            await window.over.wait()
        finally:
            window.over.set()
        return window.result

    async def _close(self, why: str) -> None:
        window = self._window
        if window is not None and not window.over.is_set():
            window.result = _closed(why)
            window.over.set()
        if window is not None:
            await window.gone.wait()

    # --- one window ------------------------------------------------------------------------------------------

    async def _run(self, window: _Window, *, task_status: trio.TaskStatus[None]) -> None:
        store = self._introductions.store
        tls = server_tls(store.certificate_path, store.key_path, [], optional=True)
        limits = Limits(body_max=MESSAGE_MAX)
        self._window = window

        async def pair(params: list[Value], caller: Caller) -> object:
            return await self._pair(window, params, caller)

        try:
            async with trio.open_nursery() as nursery:
                servers = []
                for address in self._settings.addresses:
                    where = Listen(address=address, port=self._settings.pairing_port, device=self._settings.device)
                    servers.append(Server(where, tls, {METHOD: pair}, log=self._ctx.log, limits=limits))
                    await nursery.start(servers[-1].run)
                _refuse_unless_listening(servers)
                task_status.started()
                nursery.start_soon(self._close_unwatched, window)
                await self._until_over(window)
                nursery.cancel_scope.cancel()
        finally:
            window.gone.set()

    async def _until_over(self, window: _Window) -> None:
        with trio.move_on_at(window.listener.expires_at):
            await window.over.wait()
        if not window.over.is_set():
            window.result = _closed(window.listener.closed(trio.current_time()) or "its time is over")
            window.over.set()
        if window.result["state"] == "paired":
            await trio.sleep(LINGER_S)

    async def _close_unwatched(self, window: _Window) -> None:
        await trio.sleep(UNWATCHED_S)
        if not window.watched:
            window.over.set()

    async def _pair(self, window: _Window, params: list[Value], caller: Caller) -> object:
        expect(params, dict)
        message = params[0]
        assert isinstance(message, dict)
        if message.get("step") != "confirm":
            return _message(self._take(window, message, None, caller))
        # Whoever knows the code gets the secrets: none may be made meanwhile.
        async with self._introductions.storing:
            keyring = await trio.to_thread.run_sync(self._introductions.store.keyring)
            outcome = self._take(window, message, keyring, caller)
            return await self._record(window, outcome, caller) if isinstance(outcome, Paired) else _message(outcome)

    def _take(
        self, window: _Window, message: dict[str, Value], keyring: Keyring | None, caller: Caller
    ) -> Reply | Paired:
        now, wall = trio.current_time(), int(time.time())
        outcome = window.listener.receive(message, keyring=keyring, now=now, wall=wall, source=caller.address)
        if isinstance(outcome, Refused):
            self._refused(window, outcome, caller)
        return outcome

    async def _record(self, window: _Window, paired: Paired, caller: Caller) -> object:
        try:
            peer = await self._introductions.record(paired, caller.address)
        except ApplianceError as error:
            window.result = _closed(error.message)
            window.over.set()
            raise Fault(FaultCode.INTERNAL, f"{error.message}\n{error.hint}") from None
        window.result = {
            "state": "paired",
            "peer": peer.name,
            "fingerprint": peer.certificate.fingerprint,
            "address": peer.address,
            "reason": "",
        }
        window.over.set()
        return paired.answer

    def _refused(self, window: _Window, refused: Refused, caller: Caller) -> NoReturn:
        """Tell both sides.

        Raises:
            Fault: Always.
        """
        self._ctx.log.warning("pairing_refused", address=caller.address, kind=refused.kind, reason=refused.message)
        closed = window.listener.closed(trio.current_time())
        if closed is not None and not window.over.is_set():
            window.result = _closed(closed)
            window.over.set()
        raise Fault(FAULTS.get(refused.kind, FaultCode.PRIVILEGE), f"{refused.message}\n{refused.hint}")


def _message(outcome: Reply | Paired) -> object:
    return outcome.message if isinstance(outcome, Reply) else outcome.answer


def _closed(why: str) -> dict[str, Any]:
    return {"state": "closed", "peer": "", "fingerprint": "", "address": "", "reason": why}


def _refuse_unless_listening(servers: list[Server]) -> None:
    if not any(server.port for server in servers):
        reason = servers[0].waiting_for if servers else "the sync interface has no address"
        raise ApplianceError(
            f"cannot listen for a pairing: {reason}",
            hint="Check that the sync interface is up and that no other program uses the port.",
        )
