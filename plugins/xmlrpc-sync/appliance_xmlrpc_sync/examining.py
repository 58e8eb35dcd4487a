"""Both nodes examined from one: each answers a paired node with its own report, and asks the others for theirs."""

from __future__ import annotations

from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import Health, Request
from appliance.events.doctor import Examine, unexamined
from appliance.identity.store import Peer
from appliance.plugin import Context
from appliance.rpc import Caller, Fault, FaultCode, Value, expect
from appliance_xmlrpc_sync.causes import failure_of
from appliance_xmlrpc_sync.dialing import way_to
from appliance_xmlrpc_sync.introductions import Introductions
from appliance_xmlrpc_sync.settings import PREFIX, ListenerSettings, SenderSettings

METHOD = PREFIX + "doctor"
EXAMINE_S = 20.0
"""For one node. Checks have deadlines of some seconds each and run beside each other."""
FINDINGS_MAX = 500
"""Of a report; a node with every plugin has some forty checks."""
TEXT_MAX = 4000
"""Characters of a sentence of a report."""
_SENTENCES = ("check", "plugin", "what", "why", "fix")


class Examinations:
    """The two sides: what other nodes ask of this one, and what this one asks of them.

    Args:
        ctx: Of the service.
        settings: Of the service.
        introductions: Who is paired.
    """

    def __init__(self, ctx: Context, settings: ListenerSettings, introductions: Introductions) -> None:
        self._ctx, self._introductions = ctx, introductions
        self._dialing = SenderSettings(
            interface=settings.interface,
            device=settings.device,
            addresses=settings.addresses,
            port=settings.port,
            username=settings.username,
            password_file=settings.password_file,
        )

    async def doctor(self, params: list[Value], caller: Caller) -> object:
        """The report of this node: ``() -> struct``. It only looks, so every account may ask."""
        del caller
        expect(params)
        with trio.move_on_after(EXAMINE_S):
            return await self._ctx.call(Examine())
        raise Fault(FaultCode.BUSY, f"{self._ctx.node.name} did not end its checks within {EXAMINE_S:g} s")

    async def peers(self, _: Request[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """`ExaminePeers`: all at once, in the order of their names."""
        reports: dict[str, dict[str, Any]] = {}

        async def ask(peer: Peer) -> None:
            reports[peer.name] = await self._report(peer)

        async with trio.open_nursery() as nursery:
            for peer in self._introductions.peers:
                nursery.start_soon(ask, peer)
        return [reports[name] for name in sorted(reports)]

    async def _report(self, peer: Peer) -> dict[str, Any]:
        try:
            with trio.fail_after(EXAMINE_S + 5.0):  # its own answer that it takes too long says more
                way = await trio.to_thread.run_sync(way_to, peer.address, self._dialing, self._ctx.state_dir)
                async with way.client() as client:
                    return read_report(await client.call(METHOD), name=peer.name, address=peer.address)
        except trio.TooSlowError:
            remedy = "Look whether the other node is overloaded or hangs."
            return unexamined(peer.name, peer.address, f"{peer.name} did not answer in time", remedy)
        except ValueError as error:
            said = f"the report of {peer.name} is not what this version expects ({error})"
            return unexamined(peer.name, peer.address, said, "Run the same version on both nodes.")
        except ApplianceError as error:
            failure = failure_of(error, peer.name)
            remedy = failure.fix or "See 'appliance show sync'; run 'appliance doctor' on that node."
            return unexamined(peer.name, peer.address, failure.what, remedy)


def read_report(value: object, *, name: str, address: str) -> dict[str, Any]:
    """A report as another node has sent it, with its counts made anew.

    Args:
        value: What it said.
        name: As it was paired.
        address: Where it was asked.

    Raises:
        ValueError: It is no report.
    """
    findings = value.get("findings") if isinstance(value, dict) else None
    if not isinstance(findings, list) or len(findings) > FINDINGS_MAX:
        raise ValueError("findings")
    rows = [_finding(each) for each in findings]
    counts = {health.value: sum(row["health"] == health.value for row in rows) for health in Health}
    return {"node": name, "address": address, "error": None, "remedy": None, **counts, "findings": rows}


def _finding(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("health") not in list(Health):
        raise ValueError("health")
    texts = {key: value.get(key) for key in _SENTENCES}
    wrong = [key for key, text in texts.items() if not isinstance(text, str)]
    duration = value.get("duration_s")
    if wrong or not isinstance(duration, int | float):
        raise ValueError((*wrong, "duration_s")[0])
    shown = {key: str(text)[:TEXT_MAX] for key, text in texts.items()}
    return {
        "check": shown["check"],
        "plugin": shown["plugin"],
        "health": str(value["health"]),
        "what": shown["what"],
        "why": shown["why"],
        "fix": shown["fix"],
        "duration_s": float(duration),
    }
