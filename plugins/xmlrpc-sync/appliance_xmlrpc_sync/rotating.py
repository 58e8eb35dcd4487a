"""A new pairing secret on all nodes (`appliance.identity.rotation`), over the calls of this plugin."""

from __future__ import annotations

import time
from typing import Any

import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.identity import rotation
from appliance.identity.rotation import SETTLE_S, Answer, Ask, Done, Failed, Rotation, Wait
from appliance.plugin import Context
from appliance.rpc import Caller, Fault, FaultCode, Timeouts, Value, expect
from appliance_xmlrpc_sync.accounts import Accounts
from appliance_xmlrpc_sync.causes import SyncError
from appliance_xmlrpc_sync.dialing import way_to
from appliance_xmlrpc_sync.introductions import Introductions
from appliance_xmlrpc_sync.settings import PREFIX, ListenerSettings, SenderSettings

METHOD = PREFIX + "rotate"
CALL_S = 10.0
"""For one question to one node."""


class Rotations:
    """Both sides: every node answers, and one leads.

    Args:
        ctx: Of the service.
        settings: Of the service.
        introductions: Who is paired, and where the secrets are.
        accounts: Who may ask.
    """

    def __init__(
        self, ctx: Context, settings: ListenerSettings, introductions: Introductions, accounts: Accounts
    ) -> None:
        self._ctx, self._introductions, self._accounts = ctx, introductions, accounts
        self._dialing = SenderSettings(
            interface=settings.interface,
            device=settings.device,
            addresses=settings.addresses,
            port=settings.port,
            username=settings.username,
            password_file=settings.password_file,
        )
        self._leading = trio.Lock()
        self._proposed: dict[str, str] = {}
        """Id of the last secret that a node proposed, by its certificate: as many as there are pairings."""

    async def rotate(self, params: list[Value], caller: Caller) -> object:
        """What a leader asks: ``(struct) -> struct``."""
        self._accounts.refuse_unless_sync(caller.user)
        expect(params, dict)
        try:
            request = rotation.parse_request(params[0])
        except ValueError as error:
            raise Fault(FaultCode.PARAMETERS, str(error)) from None
        return (await self._answer(request, caller.fingerprint)).wire()

    async def lead(self) -> str:
        """Make a new secret, or finish what was interrupted; a sentence for people.

        Raises:
            ApplianceError: It stopped; everything works as before.
        """
        names = [peer.name for peer in self._introductions.peers]
        if not names:
            raise RefusedError("this node is not paired with any other", hint="There is no secret to be rotated.")
        if self._leading.locked():
            raise RefusedError("a rotation is under way on this node", hint="Wait for its end.")
        own = self._introductions.own().certificate.name
        async with self._leading:
            machine = Rotation(own, names, wall=int(time.time()), settle=SETTLE_S)
            while True:
                match machine.poll(trio.current_time()):
                    case Ask(requests=requests):
                        async with trio.open_nursery() as nursery:
                            for node, request in requests.items():
                                nursery.start_soon(self._ask, machine, node, request, own)
                    case Wait(until=until):
                        await trio.sleep_until(until)
                    case Done():
                        self._ctx.log.info("pairing_secret_rotated", nodes=names)
                        return f"{', '.join([own, *names])} use a new pairing secret"
                    case Failed(message=message, hint=hint):
                        raise RefusedError(message, hint=hint)

    async def _ask(self, machine: Rotation, node: str, request: rotation.Request, own: str) -> None:
        if node == own:
            machine.answered(node, await self._answer(request))
            return
        try:
            with trio.fail_after(CALL_S):
                machine.answered(node, await self._call(node, request))
        except trio.TooSlowError:
            machine.unanswered(node, f"not within {CALL_S:g} s")
        except (ApplianceError, SyncError) as error:
            machine.unanswered(node, error.message)
        except ValueError as error:
            machine.unanswered(node, str(error))

    async def _call(self, node: str, request: rotation.Request) -> Answer:
        address = next(peer.address for peer in self._introductions.peers if peer.name == node)
        way = await trio.to_thread.run_sync(way_to, address, self._dialing, self._ctx.state_dir)
        async with way.client(Timeouts(connect_s=CALL_S)) as client:
            said: Any = await client.call(METHOD, request.wire())
        return rotation.parse_answer(said)

    async def _answer(self, request: rotation.Request, leader: str = "") -> Answer:
        introductions = self._introductions
        async with introductions.storing:
            before = await trio.to_thread.run_sync(introductions.store.keyring)
            names = [peer.name for peer in introductions.peers]
            own, earlier = introductions.own().certificate.name, self._proposed.get(leader, "")
            if request.secret is not None and leader:
                refused = rotation.second_proposal(before, request.secret, earlier, own)
                if refused is not None:
                    return refused
                self._proposed[leader] = request.secret.id
            after, said = rotation.answer(before, request, own=own, peers=names)
            if after is not None and after != before:
                await trio.to_thread.run_sync(introductions.store.write_keyring, after)
                introductions.tell_keys()
        return said
