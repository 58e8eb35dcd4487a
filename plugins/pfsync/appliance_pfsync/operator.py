"""What operators ask of the replicator: its report, the table, resync, flush and kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from appliance.errors import RefusedError, UsageError
from appliance.events import Request
from appliance.net import conntrack
from appliance.plugin.context import RequestHandler
from appliance_pfsync import states
from appliance_pfsync.events import CountStates, FlushStates, GetPfsync, GetStates, KillStates, ResyncStates
from appliance_pfsync.filters import exportable
from appliance_pfsync.flow import Op

if TYPE_CHECKING:
    from appliance_pfsync.replicator import Replicator

FOUND_MAX = 1_000_000
"""States one `states kill` removes; more than that is a flush."""


class Operator:
    """The answers."""

    def __init__(self, replicator: Replicator) -> None:
        self._of = replicator

    def handlers(self) -> Iterator[tuple[type[Request[Any]], RequestHandler[Any]]]:
        """Every request with who answers it."""
        yield GetPfsync, self._report
        yield ResyncStates, self._resync
        yield FlushStates, self._flush
        yield GetStates, self._states
        yield CountStates, self._count
        yield KillStates, self._kill

    async def _report(self, _: Request[Any]) -> dict[str, Any]:
        return self.report()

    def report(self) -> dict[str, Any]:
        """What `show pfsync --json` prints."""
        of, actor = self._of, self._of.actor
        peers = [
            {
                "name": peer.name,
                "address": peer.address,
                "alive": peer.alive,
                "version": str(peer.version),
                "secured": peer.secured,
                "lag_ms": None if peer.lag_s is None else round(peer.lag_s * 1000, 3),
                "states": peer.states,
                "losses": peer.losses,
                "bulk": peer.bulk,
            }
            for peer in of.protocol.peers
        ]
        first = next((peer for peer in peers if peer["alive"]), None)
        worst = of.alarms.worst
        table = of.table.counters
        return {
            "node": of.settings.node,
            "interface": of.settings.interface,
            "peer": first["name"] if first else None,
            "version": of.settings.version,
            "secured": of.settings.is_secured,
            "bulk": "running" if of.is_behind else actor.bulk,
            "bulk_text": actor.bulk_text,
            "states": conntrack.count(),
            "peer_states": first["states"] if first else None,
            "lag_ms": first["lag_ms"] if first else None,
            "active": of.is_owner,
            "peers": peers,
            "audit": {**actor.audits, "last": _rfc3339(actor.last_audit)},
            "error": worst.what if worst and not of.is_running else None,
            "remedy": worst.fix if worst and not of.is_running else None,
            "counters": {
                **dict(of.protocol.counters),
                **dict(actor.counters),
                **(
                    {f"defer_{name}": count for name, count in of.defer.counters.items()}
                    if of.defer is not None
                    else {}
                ),
                **asdict(of.link.counters),
                "created": table.created,
                "updated": table.updated,
                "deleted": table.deleted,
                "clashed": table.clashed,
                "table_full": table.table_full,
                "refused_by_kernel": table.failed,
            },
        }

    async def _resync(self, _: Request[Any]) -> str:
        of = self._of
        alive = [peer.name for peer in of.protocol.peers if peer.alive]
        if not alive:
            raise RefusedError("no pfsync peer is heard", hint="'appliance show pfsync' on the other node says why.")
        of.fell_behind()
        of.protocol.request_bulk(trio.current_time())
        of.flush()
        of.rearm()
        return f"{', '.join(alive)} was asked for all states; 'appliance show pfsync' tells when they are here"

    async def _flush(self, _: Request[Any]) -> str:
        of = self._of
        of.protocol.clear(trio.current_time())
        of.flush()
        of.rearm()
        count = await of.remove_replicated()
        return f"{count} states removed here, and every peer was told to do the same"

    async def _states(self, request: Request[Any]) -> dict[str, Any]:
        assert isinstance(request, GetStates)
        wanted = states.StateFilter(request.words)
        matching, shown = 0, list[dict[str, Any]]()
        for pair in self._of.table.dump():
            for flows in pair:
                found = flows[wanted.mask(flows)]
                matching += len(found)
                shown += states.rows(found[: max(0, request.limit - len(shown))])
            await trio.lowlevel.checkpoint()
        return {"matching": matching, "states": shown}

    async def _count(self, _: Request[Any]) -> dict[str, Any]:
        of = self._of
        total: dict[str, int] = {}
        replicated = 0
        for pair in of.table.dump():
            for flows in pair:
                replicated += int(exportable(flows, of.local).sum())
                for name, count in states.protocols(flows).items():
                    total[name] = total.get(name, 0) + count
            await trio.lowlevel.checkpoint()
        return {
            "states": sum(total.values()),
            "max": conntrack.limit(),
            "replicated": replicated,
            "protocols": total,
        }

    async def _kill(self, request: Request[Any]) -> str:
        assert isinstance(request, KillStates)
        if not request.words:
            raise UsageError("no state was named", hint="Give a filter, or use 'states flush' to remove all of them.")
        wanted = states.StateFilter(request.words)
        found = [flows[wanted.mask(flows)] for pair in self._of.table.dump() for flows in pair]
        count = sum(map(len, found))
        if count > FOUND_MAX:
            raise RefusedError(f"{count} states match, too many to kill one by one", hint="Use 'states flush'.")
        for flows in found:
            if len(flows):
                flows["op"] = Op.DELETE
                self._of.table.apply(flows, extra_s=0)
                self._of.protocol.offer(flows[exportable(flows, self._of.local)], trio.current_time())
                self._of.flush()
                self._of.rearm()
                await trio.lowlevel.checkpoint()
        return f"{count} states removed here and on the peers"


def _rfc3339(unix_time: float | None) -> str | None:
    if unix_time is None:
        return None
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
