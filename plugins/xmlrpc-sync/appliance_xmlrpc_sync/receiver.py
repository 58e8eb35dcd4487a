"""What a node does with sections of another one: refuse, stage, apply, and keep only when they are confirmed.

Knows neither sockets nor clocks. One transaction at a time::

    idle --begin--> staging --applied--> unconfirmed --confirmed--> idle
                       |                      |
                    abandon              taken_back, or the time is over

The node whose change waits may replace it: it has been restarted, or has lost the answer, and knows nothing of it.

That nothing is ever half applied, and that an unconfirmed change goes away by itself, is the core's doing: the file on
disk stays the old one until the confirmation. This machine only knows whose transaction it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.config.sections import canonical
from appliance.rpc import Fault, FaultCode
from appliance_xmlrpc_sync.drift import Ledger
from appliance_xmlrpc_sync.settings import OnDrift

CONFIRM_MIN_S, CONFIRM_MAX_S = 1.0, 120.0
"""How long a sender may ask this node to wait for its confirmation."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""How JSON escapes half of a character; canonical JSON escapes none."""


class Phase(StrEnum):
    """Where the transaction is."""

    IDLE = "idle"
    STAGING = "staging"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends."""

    name: str
    """Name of the paired node."""
    fingerprint: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One section as it came."""

    data: bytes = field(repr=False)
    """Canonical JSON."""
    sha256: str
    """What the sender says its digest is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What another node wants to be in force here."""

    sender: Sender
    parts: Mapping[str, Part]
    """By name of the section."""
    base: Mapping[str, str]
    """Digests of this node's sections as the sender saw them last."""
    confirm_s: float = 10.0
    force: bool = False
    """Overwrite whatever was changed here."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """This node at the moment."""

    name: str
    role: str
    """``primary`` or ``secondary``."""
    peers: tuple[str, ...]
    """Addresses that it sends to itself."""
    on_drift: OnDrift = "overwrite"
    primary: str | None = None
    """Name of the only node it takes sections from; ``None``: whoever has sent those that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A change that waits to be confirmed, or has been."""

    txn: str
    sender: Sender
    revision: int
    digests: Mapping[str, str]
    """Of its sections."""
    deadline: float
    changed: bool = True
    """Whether anything is different from before; if not, there is nothing for the core to confirm."""


class Receiver:
    """The one transaction of a node.

    Args:
        token: Makes a name for a transaction that nobody can guess.
    """

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token
        self._phase = Phase.IDLE
        self._sender: Sender | None = None
        self._current: Transaction | None = None
        self._last: Transaction | None = None

    @property
    def last(self) -> Transaction | None:
        """The transaction that was confirmed last, since the service started."""
        return self._last

    def phase(self, now: float) -> Phase:
        """Where the transaction is at that moment.

        Args:
            now: Seconds of a clock that does not jump; the same in all calls.
        """
        if self._phase is Phase.UNCONFIRMED and self._current is not None and now >= self._current.deadline:
            self._end()
        return self._phase

    def current(self, now: float) -> Transaction | None:
        """The transaction that waits to be confirmed."""
        return self._current if self.phase(now) is Phase.UNCONFIRMED else None

    def replaceable(self, fingerprint: str, now: float) -> Transaction | None:
        """The change that waits here, if it is that node's own: it may send another one in its place at once."""
        found = self.current(now)
        return found if found is not None and found.sender.fingerprint == fingerprint else None

    def begin(self, offer: Offer, here: Here, now: float) -> None:
        """Start a transaction.

        Raises:
            Fault: BUSY or PARAMETERS; none has been started.
        """
        if self.phase(now) is not Phase.IDLE:
            who = self._sender.name if self._sender else "another node"
            raise Fault(FaultCode.BUSY, f"{here.name} is in the middle of a change by {who}")
        if not offer.parts:
            raise Fault(FaultCode.PARAMETERS, "no section was sent")
        self._phase, self._sender = Phase.STAGING, offer.sender

    def abandon(self) -> None:
        """It came to nothing; a transaction that is past staging is left alone."""
        if self._phase is Phase.STAGING:
            self._end()

    def applied(self, offer: Offer, *, revision: int, changed: bool, now: float) -> Transaction:
        """The sections are in force and wait to be confirmed."""
        self._current = Transaction(
            txn=self._token(),
            sender=offer.sender,
            revision=revision,
            digests={name: part.sha256 for name, part in offer.parts.items()},
            deadline=now + offer.confirm_s,
            changed=changed,
        )
        self._phase = Phase.UNCONFIRMED
        return self._current

    def waiting(self, txn: str, fingerprint: str, now: float) -> Transaction:
        """The transaction that is to be confirmed or taken back.

        Raises:
            Fault: NO_TRANSACTION: there is none of this name by this node (any more).
        """
        found = self.current(now)
        if found is None or found.txn != txn or found.sender.fingerprint != fingerprint:
            raise Fault(
                FaultCode.NO_TRANSACTION, "no change of this name waits here: its time is over, or it was taken back"
            )
        return found

    def was_confirmed(self, txn: str, fingerprint: str) -> Transaction | None:
        """The transaction, if it is the one that was confirmed last: its answer may have got lost."""
        last = self._last
        return last if last and last.txn == txn and last.sender.fingerprint == fingerprint else None

    def confirmed(self, transaction: Transaction) -> None:
        """The change is there to stay."""
        self._last = transaction
        if self._current is transaction:  # and has not run out of time while this was found out
            self._end()

    def taken_back(self) -> None:
        """The change is gone."""
        self._end()

    def _end(self) -> None:
        self._phase, self._sender, self._current = Phase.IDLE, None, None


def refuse_circle(sender: Sender, here: Here) -> None:
    """Refuse a node that this one sends to, and any when this one is a primary.

    Raises:
        Fault: LOOP; says what to change and where.
    """
    if sender.address in here.peers:
        raise Fault(
            FaultCode.LOOP,
            f"{here.name} sends its configuration to {sender.address}, which is {sender.name}: the two would "
            f"overwrite each other; remove [xmlrpc_sync] peers on the secondary",
        )
    if here.role == "primary":
        raise Fault(
            FaultCode.LOOP,
            f"{here.name} is a primary too and takes no configuration from {sender.name}; make one of them the "
            f'secondary ([node] role = "secondary") and restart it',
        )


def refuse_second_primary(sender: Sender, here: Here, ledger: Ledger, paired: Collection[str]) -> None:
    """Refuse a node other than the one this node follows: two would overwrite each other here, turn by turn.

    Args:
        sender: Who sends.
        here: This node.
        ledger: Says whose sections this node has.
        paired: Names of the nodes it is paired with; one that was removed is followed no longer.

    Raises:
        Fault: LOOP; says what to change and where.
    """
    followed = {here.primary} if here.primary else {each.sender for each in ledger.origins.values()} & {*paired}
    if followed and sender.name not in followed:
        leader = min(followed)
        raise Fault(
            FaultCode.LOOP,
            f"{here.name} takes its configuration from {leader}, not from {sender.name}; stop {sender.name} sending, "
            f'or tell {here.name} whom to follow: xmlrpc_sync.primary = "{sender.name}"',
        )


def refuse_damaged(offer: Offer) -> dict[str, Any]:
    """Read the sections. Takes 0.2 s for 10 MB: for a thread.

    Returns:
        Data by name of the section.

    Raises:
        Fault: DIGEST: one is not what its digest says. PARAMETERS: one is no JSON object.
    """
    return {name: _read(name, part) for name, part in offer.parts.items()}


def refuse_drift(
    offer: Offer, digests: Mapping[str, str], drifted: Mapping[str, object], here: Here
) -> tuple[str, ...]:
    """Which sections have been changed here in a way that the sender does not know or does not want.

    Args:
        offer: What was sent.
        digests: Of this node's sections in force.
        drifted: Those that were changed here since they had been received.
        here: This node.

    Returns:
        Sections of which a copy has to be kept, because they are overwritten.

    Raises:
        Fault: SECTION: this node does not declare one. DRIFT: the policy is to refuse.
    """
    unknown = sorted(set(offer.parts) - set(digests))
    if unknown:
        raise Fault(
            FaultCode.SECTION,
            f"{here.name} knows no section {', '.join(map(repr, unknown))}; it has {', '.join(sorted(digests))}",
        )
    lost = tuple(
        name
        for name, part in offer.parts.items()
        if digests[name] != part.sha256 and (name in drifted or offer.base.get(name, digests[name]) != digests[name])
    )
    if lost and here.on_drift == "refuse" and not offer.force:
        raise Fault(
            FaultCode.DRIFT,
            f"{', '.join(lost)} {'was' if len(lost) == 1 else 'were'} changed on {here.name} since; nothing was "
            "overwritten ([xmlrpc_sync] on_drift there)",
        )
    return lost


def _read(name: str, part: Part) -> dict[str, Any]:
    if hashlib.sha256(part.data).hexdigest() != part.sha256:
        raise Fault(FaultCode.DIGEST, f"the section {name!r} is not what its digest says")
    try:
        data = json.loads(part.data.decode())
        if _SURROGATE.search(part.data):
            canonical(data)  # half of a character is no text, and could never be written
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Fault(FaultCode.PARAMETERS, f"the section {name!r} is not a JSON object of valid text")
    return data
