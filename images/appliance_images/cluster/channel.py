"""Between the nodes: what a node lets the one it is paired with do, and how that is called.

XML-RPC over mutually authenticated TLS with the identities of the pairing. Being paired is not enough to bring a system
along: every machine checks the signature with the keys of its own system before it writes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import PairedNode, Pairing, Switchover
from appliance.plugin import Context, NoProvider
from appliance.rpc import (
    Caller,
    Client,
    Fault,
    FaultCode,
    Limits,
    Method,
    RpcError,
    Target,
    Timeouts,
    Value,
    client_tls,
    expect,
)
from appliance_images import bundle, slots
from appliance_images.cluster.local import Local
from appliance_images.cluster.record import Report, report_of, said
from appliance_images.cluster.settings import Settings

PREFIX = "upgrade."
PIECE = slots.PIECE
"""Bytes of a call; in base64 a third more."""
TIMEOUTS = Timeouts(connect_s=2.0, handshake_s=10.0, send_stall_s=20.0, answer_s=60.0, read_stall_s=20.0)
LIMITS = Limits(body_max=4 * PIECE, method_s=55.0, handshake_s=10.0)
SWITCH_S = 45.0


class Methods:
    """What the paired node may do here.

    Args:
        ctx: Of the service.
        local: This machine.
        peers: Who is paired, by fingerprint.
    """

    def __init__(self, ctx: Context, local: Local, peers: Mapping[str, PairedNode]) -> None:
        self._ctx, self._local, self._peers = ctx, local, peers
        self._one_at_a_time = trio.Lock()

    def table(self) -> dict[str, Method]:
        """All of them by full name."""
        methods: dict[str, Method] = {
            "report": self._report,
            "examine": self._examine,
            "offer": self._offer,
            "piece": self._piece,
            "finish": self._finish,
            "restart": self._restart,
            "back": self._back,
        }
        return {PREFIX + name: self._guarded(method) for name, method in methods.items()}

    def _guarded(self, method: Method) -> Method:
        async def call(params: list[Value], caller: Caller) -> object:
            if caller.fingerprint not in self._peers:
                raise Fault(FaultCode.PRIVILEGE, "this node is not paired with the caller")
            try:
                async with self._one_at_a_time:
                    return await method(params, caller)
            except Fault:
                raise
            except ApplianceError as error:
                raise Fault(FaultCode.VALIDATION, error.message) from None

        return call

    async def _report(self, params: list[Value], _: Caller) -> object:
        expect(params)
        return said(await trio.to_thread.run_sync(self._local.report))

    async def _examine(self, params: list[Value], _: Caller) -> object:
        expect(params, bytes, bytes)
        manifest, signature = params
        assert isinstance(manifest, bytes)
        assert isinstance(signature, bytes)
        about = await trio.to_thread.run_sync(self._local.examine, manifest, signature)
        return about.version

    async def _offer(self, params: list[Value], caller: Caller) -> object:
        expect(params, bytes, bytes)
        manifest, signature = params
        assert isinstance(manifest, bytes)
        assert isinstance(signature, bytes)
        await trio.to_thread.run_sync(self._local.offer, manifest, signature)
        self._ctx.log.info("upgrade_offered", by=self._peers[caller.fingerprint].name)
        return True

    async def _piece(self, params: list[Value], _: Caller) -> object:
        expect(params, int, bytes)
        offset, piece = params
        assert isinstance(offset, int)
        assert isinstance(piece, bytes)
        await trio.to_thread.run_sync(self._local.take, offset, piece)
        return True

    async def _finish(self, params: list[Value], _: Caller) -> object:
        expect(params)
        await trio.to_thread.run_sync(self._local.finish)
        return True

    async def _restart(self, params: list[Value], caller: Caller) -> object:
        expect(params)
        self._ctx.log.warning("upgrade_restarts", asked_by=self._peers[caller.fingerprint].name)
        await trio.to_thread.run_sync(self._local.restart)
        return True

    async def _back(self, params: list[Value], caller: Caller) -> object:
        """To the system in this slot: the addresses are handed over, and the machine restarts if another one runs."""
        expect(params, str)
        slot = str(params[0])
        if slot not in ("a", "b"):
            raise Fault(FaultCode.PARAMETERS, "a slot is a or b")
        self._ctx.log.warning("upgrade_goes_back", slot=slot, asked_by=self._peers[caller.fingerprint].name)
        if await trio.to_thread.run_sync(self._local.keep, slot):
            await hand_over(self._ctx)
            await trio.to_thread.run_sync(self._local.restart)
        return True


async def hand_over(ctx: Context) -> None:
    """Give the virtual addresses to the other node, if there are any.

    Raises:
        ApplianceError: It does not take them.
    """
    try:
        with trio.fail_after(SWITCH_S):
            await ctx.call(Switchover())
    except NoProvider:
        return  # there are no virtual addresses
    except trio.TooSlowError:
        raise RefusedError(
            f"the virtual addresses were not handed over within {SWITCH_S:g} s", hint="See `appliance show ha`."
        ) from None


class Peer:
    """The other node, as this one calls it."""

    def __init__(self, node: PairedNode, pairing: Pairing, settings: Settings) -> None:
        self.node = node
        self._tls = client_tls(pairing.certificate, pairing.key, [node.certificate])
        self._target = Target(address=node.address, port=settings.port, device=settings.device)

    async def report(self) -> Report:
        """How it is.

        Raises:
            ApplianceError: It does not answer, or nonsense.
        """
        found = await self._call("report")
        try:
            return report_of(found)
        except ValueError as error:
            raise ApplianceError(
                f"{self.node.name} answers nonsense: {error}", hint="Run the same software on both nodes."
            ) from None

    async def examine(self, upgrade: bundle.Upgrade) -> None:
        """Let it check a signature."""
        await self._call("examine", upgrade.manifest, upgrade.signature)

    async def send(self, file: Path, keys: list[Path], progress: Callable[[int, int], None]) -> None:
        """Give it an upgrade, which it writes into its other slot.

        Args:
            file: The upgrade.
            keys: Whom this node trusts.
            progress: Is told how many bytes of how many have been sent.
        """
        async with self._client() as client:
            opening = bundle.opened(file, keys)
            upgrade = await trio.to_thread.run_sync(opening.__enter__)
            try:
                await self._ask(client, "offer", upgrade.manifest, upgrade.signature)
                at, size = 0, upgrade.about.size
                while at < size:
                    piece = await trio.to_thread.run_sync(upgrade.slot.read, min(PIECE, size - at))
                    if not piece:
                        raise ApplianceError(f"{file} ends too early", hint="Get the file again.")
                    await self._ask(client, "piece", at, piece)
                    at += len(piece)
                    progress(at, size)
                await self._ask(client, "finish")
            finally:
                opening.__exit__(None, None, None)

    async def restart(self) -> None:
        """Let it start its next slot."""
        await self._call("restart")

    async def back(self, slot: str) -> None:
        """Let it go back to the system in this slot."""
        await self._call("back", slot)

    def _client(self) -> Client:
        return Client(self._target, tls=self._tls, timeouts=TIMEOUTS)

    async def _call(self, method: str, *params: object) -> Value:
        async with self._client() as client:
            return await self._ask(client, method, *params)

    async def _ask(self, client: Client, method: str, *params: object) -> Value:
        try:
            return await client.call(PREFIX + method, *params)
        except (RpcError, Fault) as error:
            raise ApplianceError(
                f"{self.node.name}: {error.message}", hint="Does [upgrade] stand in its configuration as well?"
            ) from None
