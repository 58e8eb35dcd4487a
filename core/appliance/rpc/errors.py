"""Why a call did not reach its method: one class per cause, each with one sentence and one remedy.

The classes let programs decide (retry, alarm, pair again); the sentences are what `show sync` prints.
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class RpcError(ApplianceError):
    """A call failed before or beside its method."""


class CodecError(RpcError):
    """Something is not XML-RPC, or a value cannot be carried by it."""


class RefusedConnectionError(RpcError):
    """The host is there and nothing listens on the port."""


class UnreachablePeerError(RpcError):
    """No way there, or no answer to the attempt to connect."""


class SilentPeerError(RpcError):
    """Connected, and then no answer in time."""


class NotTlsError(RpcError):
    """Something else than TLS 1.3 answers there."""


class WrongPeerError(RpcError):
    """The certificate of the other side is not the one that was paired."""


class NotAcceptedError(RpcError):
    """The other side does not know our certificate."""


class ConnectionLostError(RpcError):
    """The connection broke during a call: it may or may not have been carried out."""


class UnauthorizedError(RpcError):
    """HTTP 401: user or password."""


class ForbiddenError(RpcError):
    """HTTP 403: known, and not allowed."""


class TooLargeError(RpcError):
    """The call or its answer is larger than what is accepted."""


class TooManyAttemptsError(RpcError):
    """HTTP 429: locked for a while after wrong passwords."""

    def __init__(self, message: str, *, hint: str, wait_s: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.wait_s = wait_s
        """Seconds to wait, as the other side says; 0: it does not say."""


class BusyPeerError(RpcError):
    """HTTP 503: no free connection or no time there."""


class NonsenseError(RpcError):
    """What came back is not the answer of an XML-RPC server."""


def refused(where: str) -> RefusedConnectionError:
    """TCP reset in answer to SYN."""
    return RefusedConnectionError(
        f"nothing listens on {where} (connection refused)",
        hint="Start the appliance there, and compare address and port of its configuration synchronization.",
    )


def unreachable(where: str, reason: str) -> UnreachablePeerError:
    """No route, no neighbour, no answer to SYN."""
    return UnreachablePeerError(
        f"{where} cannot be reached: {reason}",
        hint="Check cable and address of the sync interface, and that the other node's firewall lets this port in.",
    )


def no_way_out(where: str, reason: str) -> UnreachablePeerError:
    """The own side of the connection cannot be made."""
    return UnreachablePeerError(
        f"no connection to {where} can be made from here: {reason}",
        hint="Check that the sync interface of this node exists and has its address.",
    )


def silent(where: str, what: str, seconds: float) -> SilentPeerError:
    """Connected, then a deadline passed."""
    return SilentPeerError(
        f"{where} did not {what} within {seconds:g} s",
        hint="Look whether the other node is overloaded or hangs; the call may have been carried out.",
    )


def not_tls(where: str, what: str) -> NotTlsError:
    """The handshake met something else."""
    return NotTlsError(
        f"{where} does not speak TLS 1.3: {what}",
        hint="Use the port of the configuration synchronization, not the one of another service, on both nodes.",
    )


def hung_up(where: str) -> NotTlsError:
    """The connection was closed within the handshake, without a reason."""
    return NotTlsError(
        f"{where} closed the connection during the TLS handshake",
        hint="It is another service, or has too many connections at the moment; compare the ports, then try again.",
    )


def wrong_peer(where: str, reason: str) -> WrongPeerError:
    """The certificate is not pinned."""
    return WrongPeerError(
        f"the certificate of {where} is not the one that was paired ({reason})",
        hint="If that node was installed anew, pair the nodes again; if not, find out who answers there.",
    )


def not_accepted(where: str) -> NotAcceptedError:
    """An alert about our certificate, or the end before the first answer."""
    return NotAcceptedError(
        f"{where} does not accept the certificate of this node",
        hint="Pair the nodes again: the other one does not know this one (any more).",
    )


def lost(where: str, when: str) -> ConnectionLostError:
    """The connection broke at a moment when the call may have arrived."""
    return ConnectionLostError(
        f"the connection to {where} broke while {when}",
        hint="Nothing to do if the other node restarts: try again. It may have carried out the call.",
    )


def unauthorized(where: str, user: str) -> UnauthorizedError:
    """HTTP 401."""
    who = f"user {user!r}" if user else "a call without user"
    return UnauthorizedError(
        f"{where} refused {who}: unknown user or wrong password",
        hint="Set the same user and password of the synchronization on both nodes.",
    )


def forbidden(where: str, user: str, reason: str) -> ForbiddenError:
    """HTTP 403."""
    return ForbiddenError(
        f"{where} does not allow user {user!r} to call it{': ' if reason else ''}{reason}",
        hint="Give this user the role `sync` on the other node, or use one who has it.",
    )


def too_large(where: str, size: int, limit: int) -> TooLargeError:
    """HTTP 413, or a call that is not even sent. `limit` 0: unknown."""
    at_most = f", at most {limit} are accepted" if limit else " and was refused as too large"
    return TooLargeError(
        f"the call to {where} has {size} bytes{at_most}",
        hint="Make the configuration smaller (large aliases first), or synchronize fewer sections.",
    )


def answer_too_large(where: str, limit: int) -> TooLargeError:
    """More came back than a client reads."""
    return TooLargeError(
        f"the answer of {where} has more than {limit} bytes",
        hint="Ask for fewer sections at a time.",
    )


def too_many_attempts(where: str, wait_s: float) -> TooManyAttemptsError:
    """HTTP 429."""
    return TooManyAttemptsError(
        f"{where} is locked for this node after too many wrong passwords",
        hint=f"Correct the password first; it opens again {f'in {wait_s:g} s' if wait_s else 'after a minute'}.",
        wait_s=wait_s,
    )


def busy(where: str) -> BusyPeerError:
    """HTTP 503."""
    return BusyPeerError(
        f"{where} has no capacity for another call at the moment", hint="Nothing to do: try again in some seconds."
    )


def nonsense(where: str, what: str) -> NonsenseError:
    """Not HTTP, not XML-RPC, or a status that no appliance sends."""
    return NonsenseError(
        f"{where} does not answer as an XML-RPC server: {what}",
        hint="Compare address, port and path with those of the other node's synchronization.",
    )
