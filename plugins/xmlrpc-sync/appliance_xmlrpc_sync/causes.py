"""Why a peer does not have this node's configuration: one cause for each thing an operator does about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import appliance.rpc as rpc
from appliance.errors import ApplianceError

TEXT_MAX = 4000
"""Characters of a reason; a refused configuration may have many problems."""


class Cause(StrEnum):
    """What kind of failure it is."""

    REFUSED = "refused"
    """The host answers, and nothing listens there."""
    UNREACHABLE = "unreachable"
    SILENT = "silent"
    """Connected, and no answer in time."""
    LOST = "lost"
    """The connection broke during a call."""
    BUSY = "busy"
    IDENTITY = "identity"
    """It does not prove to be the node that was paired."""
    NOT_PAIRED = "not paired"
    """One of the two does not know the other (any more)."""
    PASSWORD = "password"
    PRIVILEGE = "privilege"
    VERSION = "version"
    INTERFACES = "interfaces"
    """It lacks logical interfaces that the configuration names."""
    VALIDATION = "validation"
    """It has refused the configuration."""
    DRIFT = "drift"
    """It was changed there, and this is not to be overwritten."""
    LOOP = "loop"
    """Both would send to each other."""
    SIZE = "size"
    NONSENSE = "nonsense"
    """Something else than an appliance answers, or a defect."""
    CUT = "cut"
    """With the new configuration it cannot be reached, so that it takes it back."""
    READ_BACK = "read-back"
    """It says that it has applied the configuration, and has not."""
    OWN = "own"
    """This node itself cannot."""


PASSING = frozenset({Cause.REFUSED, Cause.UNREACHABLE, Cause.SILENT, Cause.LOST, Cause.BUSY})
"""What a restart of the peer looks like: not worth an alarm until it lasts."""


class SyncError(ApplianceError):
    """A synchronization failed for a reason that this node has found itself."""

    def __init__(self, cause: Cause, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.cause, self.message, self.hint))


def _rebuild(cause: Cause, message: str, hint: str) -> SyncError:
    return SyncError(cause, message, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed, as people read it."""

    cause: Cause
    what: str
    """One sentence."""
    fix: str

    @property
    def is_passing(self) -> bool:
        """Whether it may be over in some seconds without anybody doing anything."""
        return self.cause in PASSING


_ERRORS: dict[type[rpc.RpcError], Cause] = {
    rpc.RefusedConnectionError: Cause.REFUSED,
    rpc.UnreachablePeerError: Cause.UNREACHABLE,
    rpc.SilentPeerError: Cause.SILENT,
    rpc.ConnectionLostError: Cause.LOST,
    rpc.BusyPeerError: Cause.BUSY,
    rpc.WrongPeerError: Cause.IDENTITY,
    rpc.NotTlsError: Cause.NONSENSE,
    rpc.NotAcceptedError: Cause.NOT_PAIRED,
    rpc.UnauthorizedError: Cause.PASSWORD,
    rpc.TooManyAttemptsError: Cause.PASSWORD,
    rpc.ForbiddenError: Cause.PRIVILEGE,
    rpc.TooLargeError: Cause.SIZE,
    rpc.NonsenseError: Cause.NONSENSE,
    rpc.CodecError: Cause.SIZE,
}

_FAULTS: dict[int, tuple[Cause, str]] = {
    rpc.FaultCode.AUTHENTICATION: (Cause.PASSWORD, "{peer} refused user or password: {text}"),
    rpc.FaultCode.LOCKED: (Cause.PASSWORD, "{peer} has locked this node out: {text}"),
    rpc.FaultCode.PRIVILEGE: (Cause.PRIVILEGE, "{peer} does not allow this: {text}"),
    rpc.FaultCode.BUSY: (Cause.BUSY, "{peer} is in the middle of another change: {text}"),
    rpc.FaultCode.NO_TRANSACTION: (Cause.LOST, "{peer} has taken the change back: {text}"),
    rpc.FaultCode.SECTION: (Cause.VERSION, "{peer} lacks what this configuration needs: {text}"),
    rpc.FaultCode.DIGEST: (Cause.NONSENSE, "what reached {peer} is not what was sent: {text}"),
    rpc.FaultCode.DRIFT: (Cause.DRIFT, "{peer} was changed and refuses to be overwritten: {text}"),
    rpc.FaultCode.VALIDATION: (Cause.VALIDATION, "{peer} refused the configuration: {text}"),
    rpc.FaultCode.VERSION: (Cause.VERSION, "{peer} is of another version: {text}"),
    rpc.FaultCode.LOOP: (Cause.LOOP, "{peer} follows another node, or none: {text}"),
}


def failure_of(error: ApplianceError, peer: str) -> Failure:
    """What an attempt's error means.

    Args:
        error: Of this node, of the way to the peer, or of the peer's method.
        peer: Its name, for the sentence.
    """
    if isinstance(error, SyncError):
        return _failure(error.cause, error.message, error.hint)
    if isinstance(error, rpc.Fault):
        cause, sentence = _FAULTS.get(error.code, (Cause.NONSENSE, "{peer} failed: {text}"))
        return _failure(cause, sentence.format(peer=peer, text=error.message), error.hint)
    if isinstance(error, rpc.RpcError):
        cause = next((_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS), Cause.NONSENSE)
        return _failure(cause, error.message, error.hint)
    return _failure(Cause.OWN, error.message, error.hint)


def _failure(cause: Cause, what: str, fix: str) -> Failure:
    return Failure(cause=cause, what=what[:TEXT_MAX], fix=fix[:TEXT_MAX])
