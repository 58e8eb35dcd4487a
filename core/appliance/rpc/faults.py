"""Faults: the numbered refusals of a method, as they travel in an answer.

A fault is for programs by its number and for people by its sentence. What goes wrong before a method is
reached (the network, TLS, HTTP) is no fault but an `appliance.rpc.RpcError`.
"""

from __future__ import annotations

from enum import IntEnum

from appliance.errors import ApplianceError


class FaultCode(IntEnum):
    """Numbers of faults. Those from -32 000 down are the common ones of XML-RPC servers."""

    AUTHENTICATION = -1
    """Unknown user or wrong password."""
    PRIVILEGE = -2
    """The user is known and may not do this."""
    LOCKED = -3
    """Too many failures: wait."""
    BUSY = -10
    """Another transaction is in progress."""
    NO_TRANSACTION = -11
    """There is no transaction of this name (any more)."""
    SECTION = -20
    """A section of the configuration is unknown here."""
    DIGEST = -21
    """A section is not what its digest says."""
    DRIFT = -30
    """The configuration has been changed here since."""
    VALIDATION = -40
    """The configuration was refused."""
    VERSION = -50
    """The two nodes are of incompatible versions."""
    LOOP = -60
    """The nodes would synchronize each other in a circle."""
    NO_METHOD = -32601
    PARAMETERS = -32602
    INTERNAL = -32603
    """A defect: the method failed in a way that it does not know itself."""
    PARSE = -32700
    """The call is not XML-RPC."""


_REMEDIES: dict[int, str] = {
    FaultCode.AUTHENTICATION: "Check the user and the password of the synchronization on both nodes.",
    FaultCode.PRIVILEGE: "Give this user the role `sync` on the other node, or use one who has it.",
    FaultCode.LOCKED: "Wait a minute, then try again with the right password.",
    FaultCode.BUSY: "Nothing to do: it is tried again when the other transaction is done.",
    FaultCode.NO_TRANSACTION: "Nothing to do: it was rolled back or confirmed already; compare with `show sync`.",
    FaultCode.SECTION: "Run the same version and the same plugins on both nodes.",
    FaultCode.DIGEST: "Try again; when it persists, report it as a bug.",
    FaultCode.DRIFT: "Look at `sync diff`, then decide which side is right.",
    FaultCode.VALIDATION: "Correct the configuration, or what it refers to on the other node.",
    FaultCode.VERSION: "Upgrade the older node.",
    FaultCode.LOOP: "Let one node only synchronize to the other: remove the target on the secondary.",
    FaultCode.NO_METHOD: "Run the same version and the same plugins on both nodes.",
    FaultCode.PARAMETERS: "Run the same version on both nodes.",
    FaultCode.INTERNAL: "Look at the log of the other node.",
    FaultCode.PARSE: "Use a client that speaks XML-RPC.",
}


class Fault(ApplianceError):  # noqa: N818 - the name of XML-RPC
    """A method said no.

    Args:
        code: One of `FaultCode` from us; any 32-bit number from others.
        message: What happened, as a sentence for people.
        hint: What to do about it. Does not travel: the default follows from the number.
    """

    def __init__(self, code: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or _REMEDIES.get(code, "Look at the log of the other node."))
        self.code = int(code)

    def __str__(self) -> str:
        return f"{self.message} (fault {self.code})\n{self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.code, self.message, self.hint))


def _rebuild(kind: type[Fault], code: int, message: str, hint: str) -> Fault:
    return kind(code, message, hint=hint)
