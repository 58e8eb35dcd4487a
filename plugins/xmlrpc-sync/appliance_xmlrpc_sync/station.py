"""Receives sections: brings the transaction (`receiver`), the ledger (`drift`) and the core's requests together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from appliance.errors import ApplianceError, ConfigError, RefusedError
from appliance.events import Alarm, Health
from appliance.events.config import ApplyConfig, ConfirmConfig, Hidden, PrepareSections, RevertConfig
from appliance.identity.files import read_private, write_private
from appliance.plugin import Context, NoProvider, ProviderFailed
from appliance.rpc import Fault, FaultCode
from appliance_xmlrpc_sync import drift, kept
from appliance_xmlrpc_sync.drift import Ledger
from appliance_xmlrpc_sync.events import SectionsReceived
from appliance_xmlrpc_sync.facts import Facts
from appliance_xmlrpc_sync.receiver import (
    Here,
    Offer,
    Phase,
    Receiver,
    Transaction,
    refuse_circle,
    refuse_damaged,
    refuse_drift,
    refuse_second_primary,
)

LEDGER_FILE = "received.json"
SENTENCE_MAX = 4000
"""Characters of a refusal that travel: twenty problems of a configuration with their lines."""
DRIFT_ALARM, LOOP_ALARM = "sync/drift", "sync/loop"
OPERATOR = "an operator"
"""Who changes a configuration that no other node sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What `Station.restore` has done."""

    transaction: Transaction
    kept: tuple[str, ...]
    """Files with copies of what was overwritten."""


class Station:
    """The receiving half of one node.

    Args:
        ctx: Of the service.
        here: This node.
        facts: Its configuration.
        receiver: Its transaction.
        paired: The names of the nodes it is paired with, at the moment.
    """

    def __init__(
        self, ctx: Context, here: Here, facts: Facts, receiver: Receiver, paired: Callable[[], Collection[str]]
    ) -> None:
        self._ctx, self._here, self._facts, self._receiver, self._paired = ctx, here, facts, receiver, paired
        self._path: Path = ctx.state_dir / LEDGER_FILE
        self._writing = trio.Lock()
        self._settling = trio.Lock()
        self._written = Ledger()
        self._raised: set[str] = set()
        self.ledger = Ledger()
        """What was received, and what of it was changed since."""

    # --- life ----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what is known from before the service started."""
        try:
            raw = await trio.to_thread.run_sync(lambda: read_private(self._path, size_max=drift.LEDGER_MAX))
            self.ledger = self._written = drift.decode(raw) if raw is not None else Ledger()
        except (ApplianceError, ValueError) as error:
            # Without it nothing breaks: no section counts as received, so none can have drifted.
            reason = error.message if isinstance(error, ApplianceError) else str(error)
            self._ctx.log.warning("sync_ledger_unusable", path=str(self._path), reason=reason)
        if self._here.role == "primary":
            # It owns its configuration now; what it received when it was a secondary is history.
            self.ledger = Ledger()
            await self._write()

    async def observe(self) -> None:
        """Look what a change of the configuration means. Called after each."""
        transaction = self._receiver.current(trio.current_time())
        if transaction is not None and self._facts.revision != transaction.revision:
            self._receiver.taken_back()
        if not self._may_look():
            return
        try:
            digests = (await self._facts.picture()).digests
        except (ApplianceError, NoProvider, ProviderFailed) as error:
            self._ctx.log.warning("sync_not_compared", reason=str(error))
            return
        if not self._may_look():  # another change has begun meanwhile
            return
        before = self.ledger
        after = drift.observe(drift.settle(before, digests), digests, who=OPERATOR, now=time.time())
        self.ledger = after
        self._tell_drift(drift.fresh(before, after))
        await self._write()

    def _may_look(self) -> bool:
        return self._here.role == "secondary" and self.phase is Phase.IDLE

    @property
    def phase(self) -> Phase:
        """Where the transaction is."""
        return self._receiver.phase(trio.current_time())

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """Sections in force that go away unless they are confirmed."""
        transaction = self._receiver.current(trio.current_time())
        return tuple(transaction.digests) if transaction is not None else ()

    # --- a transaction -------------------------------------------------------------------------------------

    async def restore(self, offer: Offer) -> Received:
        """Make the sections of another node part of this one's configuration, until they are confirmed.

        Raises:
            Fault: Nothing has been changed.
        """
        self._refuse_circle(offer)
        offer = await self._replace(offer)
        self._receiver.begin(offer, self._here, trio.current_time())
        try:
            return await self._restore(offer)
        finally:
            self._receiver.abandon()

    async def _replace(self, offer: Offer) -> Offer:
        """Take back what the same node has sent and does not confirm any more; the offer in the light of that.

        Raises:
            Fault: It cannot be taken back.
        """
        async with self._settling:
            replaced = self._receiver.replaceable(offer.sender.fingerprint, trio.current_time())
            if replaced is None:
                return offer
            self._ctx.log.info("sync_replaced", sender=replaced.sender.name, revision=replaced.revision)
            try:
                await self._take_back(replaced)
            except Fault as fault:
                if fault.code != FaultCode.NO_TRANSACTION:  # gone by itself a moment ago
                    raise
        # What that node saw here was its own change, which is no drift.
        base = {name: seen for name, seen in offer.base.items() if seen != replaced.digests.get(name)}
        return replace(offer, base=base)

    async def _restore(self, offer: Offer) -> Received:
        picture = await self._facts.picture()
        lost = refuse_drift(offer, picture.digests, self.ledger.drifts, self._here)
        data = await trio.to_thread.run_sync(refuse_damaged, offer)
        prepared = await self._prepare(data)
        copies: tuple[str, ...] = ()
        if lost:
            copies = await self._keep({name: picture.sections[name].data.value for name in lost}, offer)
        revision = await self._apply(prepared, offer)
        transaction = self._receiver.applied(
            offer, revision=revision, changed=revision != picture.revision, now=trio.current_time()
        )
        await self._refuse_unless_taken_over(transaction)
        return Received(transaction=transaction, kept=copies)

    async def confirm(self, txn: str, fingerprint: str) -> Transaction:
        """Keep a change for good. May be repeated when its answer was lost.

        Raises:
            Fault: NO_TRANSACTION: it is not there any more. INTERNAL: it cannot be written; it will go away.
        """
        async with self._settling:  # a repeated call may come before the first one has ended
            again = self._receiver.was_confirmed(txn, fingerprint)
            if again is not None:
                return again
            transaction = self._receiver.waiting(txn, fingerprint, trio.current_time())
            await self._confirm(transaction)
        await self.observe()
        name, sections = transaction.sender.name, tuple(transaction.digests)
        self._ctx.publish(SectionsReceived(sender=name, revision=transaction.revision, sections=sections))
        self._ctx.log.info("sync_received", sender=name, revision=transaction.revision, sections=list(sections))
        return transaction

    async def rollback(self, txn: str, fingerprint: str) -> int:
        """Take a change back before its time is over; the revision then in force.

        Raises:
            Fault: NO_TRANSACTION: it is not there any more.
        """
        async with self._settling:
            transaction = self._receiver.waiting(txn, fingerprint, trio.current_time())
            return await self._take_back(transaction)

    # --- parts of it ---------------------------------------------------------------------------------------

    def _refuse_circle(self, offer: Offer) -> None:
        try:
            refuse_circle(offer.sender, self._here)
            refuse_second_primary(offer.sender, self._here, self.ledger, self._paired())
        except Fault as fault:
            self._alarm(LOOP_ALARM, active=True, health=Health.FAIL, what=fault.message, fix=fault.hint)
            raise
        self._alarm(LOOP_ALARM, active=False, what="no other primary sends to this node", fix="")

    async def _prepare(self, data: Mapping[str, Any]) -> Hidden:
        try:
            return await self._ctx.call(PrepareSections(sections=Hidden(data)))
        except ConfigError as error:
            raise Fault(FaultCode.VALIDATION, _sentence(error)) from None
        except RefusedError as error:
            raise Fault(FaultCode.SECTION, _sentence(error)) from None

    async def _keep(self, sections: Mapping[str, Any], offer: Offer) -> tuple[str, ...]:
        def write() -> tuple[str, ...]:
            return kept.keep(self._ctx.state_dir, sections, sender=offer.sender.name, at=time.time())

        try:
            copies = await trio.to_thread.run_sync(write)
        except ApplianceError as error:
            # Better not to overwrite than to overwrite without the copy that was promised.
            raise Fault(FaultCode.INTERNAL, f"no copy of what would be overwritten: {_sentence(error)}") from None
        self._ctx.log.warning("sync_overwrites", sender=offer.sender.name, sections=list(sections), kept=list(copies))
        return copies

    async def _apply(self, text: Hidden, offer: Offer) -> int:
        names = ", ".join(offer.parts)
        comment = f"{names} from {offer.sender.name}" + (f": {offer.reason}" if offer.reason else "")
        request = ApplyConfig(
            text=text, comment=comment, who=f"sync from {offer.sender.name}", confirm_within_s=offer.confirm_s
        )
        try:
            return await self._ctx.call(request)
        except RefusedError as error:
            raise Fault(FaultCode.BUSY, f"{self._here.name}: {_sentence(error)}") from None
        except ApplianceError as error:
            raise Fault(FaultCode.VALIDATION, _sentence(error)) from None

    async def _refuse_unless_taken_over(self, transaction: Transaction) -> None:
        """What the sender will read back has to be what it sent; if not, nobody could ever be in sync."""
        digests = (await self._facts.picture()).digests
        wrong = [name for name, each in transaction.digests.items() if digests.get(name) != each]
        if wrong:
            await self._take_back(transaction)
            message = f"{', '.join(wrong)}: {self._here.name} would have something else than was sent"
            raise Fault(FaultCode.DIGEST, message)

    async def _confirm(self, transaction: Transaction) -> None:
        self.ledger = drift.stage(self.ledger, transaction.digests, sender=transaction.sender.name, at=time.time())
        await self._write()
        if transaction.changed:
            try:
                await self._ctx.call(ConfirmConfig(revision=transaction.revision, who=_who(transaction)))
            except RefusedError as error:
                self._receiver.taken_back()
                raise Fault(FaultCode.NO_TRANSACTION, _sentence(error)) from None
            except ApplianceError as error:
                raise Fault(FaultCode.INTERNAL, _sentence(error)) from None
        self._receiver.confirmed(transaction)

    async def _take_back(self, transaction: Transaction) -> int:
        revision = transaction.revision
        if transaction.changed:
            try:
                revision = await self._ctx.call(RevertConfig(revision=revision, who=_who(transaction)))
            except RefusedError as error:
                self._receiver.taken_back()
                raise Fault(FaultCode.NO_TRANSACTION, _sentence(error)) from None
        self._receiver.taken_back()
        return revision

    # --- what is told and written --------------------------------------------------------------------------

    def _tell_drift(self, fresh: tuple[str, ...]) -> None:
        refused = self._here.on_drift == "refuse"
        names = tuple(self.ledger.drifts)
        if fresh:
            what = drift.warning(self.ledger, fresh, refused=refused)
            self._ctx.log.warning("sync_drift", sections=list(fresh), what=what)
        what = drift.warning(self.ledger, names, refused=refused) if names else "nothing was changed here"
        fix = "Make the change on the primary instead; 'appliance sync diff' there shows the difference."
        self._alarm(DRIFT_ALARM, active=bool(names), what=what, fix=fix)

    def _alarm(self, key: str, *, active: bool, what: str, fix: str, health: Health = Health.WARN) -> None:
        if active or key in self._raised:
            self._ctx.publish(Alarm(key=key, active=active, health=health, what=what, fix=fix))
        (self._raised.add if active else self._raised.discard)(key)

    async def _write(self) -> None:
        async with self._writing:
            ledger = self.ledger
            if ledger == self._written:
                return
            try:
                await trio.to_thread.run_sync(write_private, self._path, drift.encode(ledger))
                self._written = ledger
            except ApplianceError as error:
                self._ctx.log.error("sync_ledger_not_written", path=str(self._path), reason=error.message)


def _who(transaction: Transaction) -> str:
    return f"sync from {transaction.sender.name}"


def _sentence(error: ApplianceError) -> str:
    return error.message[:SENTENCE_MAX]
