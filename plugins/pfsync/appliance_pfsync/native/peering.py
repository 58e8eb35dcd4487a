"""The native protocol as the service sees it: datagrams and time in, effects and datagrams out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance_pfsync.flow import Flows
from appliance_pfsync.native.effects import Effect, Hashes, PeerReport
from appliance_pfsync.native.keys import Keyring
from appliance_pfsync.settings import PfsyncSettings

IP_HEADER_BYTES = {4: 20, 6: 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeeringSettings:
    """Sizes and times; the defaults are those of the product."""

    payload_max: int = 1500 - 20 - 8
    """Bytes of the largest datagram, without its IP header."""
    hello_s: float = 1.0
    dead_s: float = 3.5
    """Silence after which a peer is down: three lost hellos are forgiven."""
    bulk_timeout_s: float = 60.0
    """Seconds without progress after which a bulk update is given up."""
    lonely_s: float = 5.0
    """Seconds after which nobody is expected to have states for us."""
    audit_s: float = 30.0
    """Between two comparisons with a peer; 0 for none."""
    versions: tuple[int, int] = (1, 1)
    """Lowest and highest version of the protocol that is spoken."""

    @classmethod
    def of(cls, settings: PfsyncSettings) -> PeeringSettings:
        """Those of a configured service."""
        return cls(
            payload_max=settings.mtu - IP_HEADER_BYTES[settings.family],
            bulk_timeout_s=settings.bulk_timeout_s,
            audit_s=settings.audit_s,
        )


class Peering:
    """Everything between this node and its peers. All times are monotonic seconds; nothing here raises or waits."""

    def __init__(
        self, settings: PeeringSettings, *, node: str, keyring: Keyring | None, random_bytes: Callable[[int], bytes]
    ) -> None:
        """Prepare; the first `tick` begins.

        Args:
            settings: Sizes and times.
            node: This node's name.
            keyring: Secrets of the cluster; `None` is the explicit choice of plain datagrams.
            random_bytes: A cryptographically secure source, such as `secrets.token_bytes`.
        """
        self.settings = settings
        self.node = node
        self.counters: dict[str, int] = {}
        self.states = 0
        """How many states this node has, told to the peers; set by the service now and then."""
        self._keyring = keyring
        self._random_bytes = random_bytes

    # --- driving -------------------------------------------------------------------------------------------
    # receive(datagram: bytes, source: str, now: float) -> list[Effect]
    # tick(now: float) -> list[Effect]
    # deadline() -> float                        when to call tick at the latest
    # outgoing() -> list[tuple[str, bytes]]      ask after every other call; destination "" = everybody
    # --- live ----------------------------------------------------------------------------------------------
    # offer(flows: Flows, now, *, ack_wanted=False) -> int      one family an array; returns a ticket
    # injected(peer: str, token: int, now) -> None              confirms FlowsReceived
    # clear(now) -> None                                        the operator flushed
    # lost_events(now) -> None                                  ENOBUFS: tells the peers that they miss something
    # --- bulk ----------------------------------------------------------------------------------------------
    # request_bulk(now) -> None
    # room_for_bulk(peer) -> int                 records that may be handed over now; 0 also when none is wanted
    # bulk_targets -> tuple[str, ...]            peers whose bulk has been wanted and not ended
    # offer_bulk(peer, flows, now) -> None
    # end_bulk(peer, now) -> None
    # --- audit ---------------------------------------------------------------------------------------------
    # request_audit(now) -> None
    # audit_snapshot(hashes: Hashes, now) -> list[Effect]       the answer to AuditWanted
    # offer_repair(peer, flows, now) -> None                    the answer to AuditSend
    # --- others --------------------------------------------------------------------------------------------
    # set_keyring(keyring, now) -> None
    # peers -> tuple[PeerReport, ...]


_Signatures = Effect | Hashes | PeerReport | Flows
