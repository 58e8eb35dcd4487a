"""How long and how much a server waits for, and a client: every wait and every size has its end here."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.rpc.values import BODY_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Patience of a server. Times in seconds, sizes in bytes."""

    handshake_s: float = 5.0
    """For the TLS handshake, measured at 5 ms."""
    headers_s: float = 5.0
    """For the head of a request from its first byte on."""
    idle_s: float = 30.0
    """For the next request on a connection."""
    body_grace_s: float = 5.0
    """Before the floor rate counts."""
    body_floor: int = 64 * 1024
    """Bytes per second that a body comes at, on average after the grace."""
    body_stall_s: float = 10.0
    """Without a single byte of the body."""
    send_stall_s: float = 10.0
    """For a client that does not read."""
    authenticate_s: float = 10.0
    """For the check of a password, waiting for others' checks included; scrypt takes 0.1 s."""
    method_s: float = 120.0
    """For a method; a large configuration is checked and applied in some seconds."""
    linger_s: float = 1.0
    """After a refusal, to drain what the client still sends: it would lose the answer to a reset."""
    head_max: int = 16 * 1024
    """Of the head of a request."""
    body_max: int = BODY_MAX
    """Of a body; what declares more is refused before it is read."""
    strangers_max: int = 16
    """Connections that have not shown a pinned certificate."""
    strangers_reserved: int = 2
    """Of these, kept free for the addresses of known peers."""
    per_peer_max: int = 4
    """Connections with the same pinned certificate."""

    def body_deadline(self, begun: float, now: float, received: int) -> float:
        """Until when the next bytes of a body have to come.

        Args:
            begun: When the body began, on the clock of `now`.
            now: The present.
            received: Bytes of the body so far.
        """
        return min(now + self.body_stall_s, begun + self.body_grace_s + received / self.body_floor)

    def send_time(self, size: int) -> float:
        """Seconds in which a client takes an answer of this size."""
        return self.send_stall_s + size / self.body_floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Patience of a client, in seconds, and the size of an answer, in bytes."""

    connect_s: float = 3.0
    """For TCP: a neighbour answers in a millisecond."""
    handshake_s: float = 5.0
    send_stall_s: float = 10.0
    """Without the server taking anything more."""
    answer_s: float = 130.0
    """For the answer to begin, longer than a server's method may take."""
    read_stall_s: float = 10.0
    """Without a further byte of an answer that has begun."""
    idle_s: float = 20.0
    """After which a kept connection is not used again, less than a server's `Limits.idle_s`."""
    head_max: int = 16 * 1024
    answer_max: int = BODY_MAX
