"""The pairing half of the service "listener": the identity of this node, its peers, and how new ones are met."""

from __future__ import annotations

import time
from pathlib import Path

import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import KeysChanged, PairedNode, Pairing
from appliance.identity.certificates import Identity
from appliance.identity.introduction import Refused
from appliance.identity.pairing import Initiator, Paired
from appliance.identity.store import DIRECTORY, IdentityStore, Peer
from appliance.plugin import Context
from appliance.rpc import Client, Fault, RefusedConnectionError, Target, Tls, client_tls, server_tls
from appliance_xmlrpc_sync.events import PeersPaired
from appliance_xmlrpc_sync.settings import PREFIX, ListenerSettings

METHOD = PREFIX + "pair"
PAIR_S = 20.0
"""For the two calls of a pairing; a network without trouble needs 0.1 s."""


class Introductions:
    """Whom this node trusts.

    Args:
        ctx: Of the service.
        settings: Of the service.
        store: The directory with identity and peers; used by this object only as far as this service writes.
    """

    def __init__(self, ctx: Context, settings: ListenerSettings, store: IdentityStore) -> None:
        self._ctx, self._settings, self.store = ctx, settings, store
        self.storing = trio.Lock()
        """Held from the moment a pairing gave new secrets until they are on the disk."""
        self._identity: Identity | None = None
        self._changes = 0
        self._generation = 0
        self.peers: tuple[Peer, ...] = ()
        """Paired nodes."""
        self.problem: ApplianceError | None = None
        """Why nothing can be trusted at the moment."""
        self.changed = trio.Event()
        """Set when peers, identity or problem change; then there is a new one."""

    @property
    def fingerprint(self) -> str:
        """Of this node's certificate, as the operator sees it; empty while there is none."""
        return self._identity.certificate.fingerprint if self._identity else ""

    def names(self) -> frozenset[str]:
        """Of the nodes this one is paired with."""
        return frozenset(peer.name for peer in self.peers)

    def name_of(self, fingerprint: str) -> str | None:
        """The paired node with this certificate.

        Args:
            fingerprint: 64 hexadecimal digits, as the server says.
        """
        return next((peer.name for peer in self.peers if plain(peer.certificate.fingerprint) == fingerprint), None)

    async def read(self) -> None:
        """Read identity and peers; make the identity when there is none."""
        try:
            self._identity, self.peers = await trio.to_thread.run_sync(
                lambda: (self.store.identity(self._ctx.node.name), self.store.peers())
            )
            self.problem = None
        except ApplianceError as error:
            self._identity, self.peers, self.problem = None, (), error
            self._ctx.log.error("sync_identity_unusable", reason=error.message)
        self._changes += 1
        self.changed.set()
        self.changed = trio.Event()
        self._ctx.publish(PeersPaired(peers=tuple(peer.name for peer in self.peers), change=self._changes))

    def tell_keys(self) -> None:
        """Say that the keys of the cluster may be others now. To be called when they are on the disk."""
        self._generation += 1
        self._ctx.publish(KeysChanged(generation=self._generation))

    def server_tls(self) -> Tls:
        """The pins for the server of the paired nodes.

        Raises:
            ApplianceError: A file cannot be used, or nobody is paired.
        """
        pins = [pin(self._ctx.state_dir, peer.name) for peer in self.peers]
        return server_tls(self.store.certificate_path, self.store.key_path, pins)

    def pairing(self) -> Pairing:
        """Identity and peers, for other channels between the nodes.

        Raises:
            ApplianceError: The identity of this node cannot be used.
        """
        if self.problem is not None:
            raise self.problem
        return Pairing(
            certificate=self.store.certificate_path,
            key=self.store.key_path,
            peers=tuple(
                PairedNode(
                    name=peer.name,
                    address=peer.address,
                    fingerprint=plain(peer.certificate.fingerprint),
                    certificate=pin(self._ctx.state_dir, peer.name),
                )
                for peer in self.peers
            ),
        )

    async def remove(self, name: str) -> None:
        """Trust a node no longer.

        Raises:
            ApplianceError: There is no such peer, or it cannot be removed.
        """
        async with self.storing:
            before = self.peers
            # First of all: whoever serves the peers must not look for the file of one that is being removed.
            self.peers = tuple(peer for peer in before if peer.name != name)
            try:
                await trio.to_thread.run_sync(self.store.remove_peer, name)
            except ApplianceError:
                self.peers = before
                raise
            await self.read()
            self.tell_keys()

    async def reset(self) -> None:
        """Forget everything and make a new identity.

        Raises:
            ApplianceError: Something cannot be removed.
        """
        async with self.storing:
            self.peers = ()
            try:
                await trio.to_thread.run_sync(self.store.reset)
            finally:
                await self.read()
                self.tell_keys()

    # --- the side that is given the code -------------------------------------------------------------------

    async def pair_with(self, address: str, port: int, code: str) -> Peer:
        """Pair with the node that listens there.

        Raises:
            ApplianceError: It did not come about; nothing has changed here.
        """
        initiator = Initiator(self.own().certificate, [peer.name for peer in self.peers], code)
        target = Target(address=address, port=port, device=self._settings.device)
        try:
            with trio.fail_after(PAIR_S):
                # Whoever holds the lock knows the secrets that it sends: a rotation must not come in between.
                async with self.storing, Client(target, tls=client_tls(None, None, [])) as client:
                    paired = await self._introduce(client, initiator)
                    return await self.record(paired, address)
        except RefusedConnectionError:
            raise ApplianceError(
                f"nobody listens for a pairing at {target}",
                hint="Run 'appliance pair --listen' on the other node first, and compare address and port.",
            ) from None
        except trio.TooSlowError:
            raise ApplianceError(
                f"the pairing with {target} did not end within {PAIR_S:g} s",
                hint="Check the network and the load of the other node, then listen there again for a new code.",
            ) from None

    async def _introduce(self, client: Client, initiator: Initiator) -> Paired:
        keyring = await trio.to_thread.run_sync(self.store.keyring)
        message: object = initiator.hello()
        for _ in range(2):
            try:
                answer = await client.call(METHOD, message)
            except Fault as fault:
                said, _, hint = fault.message.partition("\n")
                raise RefusedError(said, hint=hint or fault.hint) from None
            outcome = initiator.receive(answer, keyring=keyring)
            if isinstance(outcome, Paired):
                return outcome
            if isinstance(outcome, Refused):
                raise outcome.error()
            message = outcome.message
        raise RefusedError("the other node does not come to an end", hint="Bring both nodes to the same version.")

    # --- for both sides --------------------------------------------------------------------------------------

    def own(self) -> Identity:
        """Certificate and key of this node.

        Raises:
            ApplianceError: They cannot be used; says why.
        """
        if self._identity is None:
            raise self.problem or RefusedError("this node has no identity yet", hint="Try again in a second.")
        return self._identity

    async def record(self, paired: Paired, address: str) -> Peer:
        """Trust a node from now on. With `storing` held.

        Raises:
            ApplianceError: It cannot be written.
        """
        peer = Peer(certificate=paired.certificate, address=address, paired_at=int(time.time()))
        await trio.to_thread.run_sync(self.store.record_pairing, peer, paired.keyring)
        self._ctx.log.info("paired", peer=peer.name, address=address, fingerprint=peer.certificate.fingerprint)
        await self.read()
        self.tell_keys()
        return peer


def plain(fingerprint: str) -> str:
    """A fingerprint as the server of `appliance.rpc` says it: 64 small hexadecimal digits."""
    return fingerprint.replace(":", "").lower()


def pin(state_dir: Path, name: str) -> Path:
    """The file with the certificate of a paired node, for `appliance.rpc.client_tls`.

    Args:
        state_dir: Of the plugin.
        name: Of the node.
    """
    return state_dir / DIRECTORY / "peers" / f"{name}.pem"
