"""The XML-RPC methods of a node: parameters in, values out. Nothing here executes anything.

Times are doubles, seconds since the epoch: XML-RPC's integers end in 2038.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import trio

from appliance.config.sections import canonical
from appliance.plugin import API, Node
from appliance.rpc import Caller, Fault, FaultCode, Method, Value, expect
from appliance_xmlrpc_sync.accounts import Accounts
from appliance_xmlrpc_sync.facts import Facts, utc_offset_s
from appliance_xmlrpc_sync.introductions import Introductions
from appliance_xmlrpc_sync.receiver import CONFIRM_MAX_S, CONFIRM_MIN_S, Offer, Part, Sender
from appliance_xmlrpc_sync.settings import PREFIX, PRODUCT
from appliance_xmlrpc_sync.station import Station

CONFIRM_S = 10.0
"""How long a change waits when the sender does not say."""
REASON_MAX = 200
"""Characters of a reason that are kept."""
SHA256_DIGITS = 64


class Methods:
    """What paired nodes can call.

    Args:
        node: This node.
        facts: Its configuration.
        station: Where sections are received.
        introductions: Who is paired.
        accounts: Who may do what.
    """

    def __init__(
        self, node: Node, *, facts: Facts, station: Station, introductions: Introductions, accounts: Accounts
    ) -> None:
        self._node, self._facts, self._station = node, facts, station
        self._introductions, self._accounts = introductions, accounts

    def table(self) -> dict[str, Method]:
        """All of them by full name."""
        methods: dict[str, Method] = {
            "host_firmware_version": self.host_firmware_version,
            "config_digest": self.config_digest,
            "sync_status": self.sync_status,
            "ping": self.ping,
            "backup_config_section": self.backup_config_section,
            "restore_config_section": self.restore_config_section,
            "confirm_config": self.confirm_config,
            "rollback_config": self.rollback_config,
        }
        return {PREFIX + name: method for name, method in methods.items()}

    # --- looking -------------------------------------------------------------------------------------------

    async def host_firmware_version(self, params: list[Value], caller: Caller) -> object:
        """Who this node is and what it understands: ``() -> struct``."""
        del caller
        expect(params)
        state = await self._facts.state()
        return {
            "product": PRODUCT,
            "version": product_version(),
            "api": [API.major, API.minor],
            "node": self._node.name,
            "role": self._node.role,
            "schemas": dict(state.schemas),
            "addresses": {name: list(each) for name, each in state.addresses.items()},
            "time": time.time(),
            "utc_offset": utc_offset_s(),
            "fingerprint": self._introductions.fingerprint,
        }

    async def config_digest(self, params: list[Value], caller: Caller) -> object:
        """Digests of all sections in force: ``() -> struct``."""
        del caller
        expect(params)
        picture = await self._facts.picture()
        return {
            "revision": picture.revision,
            "sections": picture.digests,
            "drift": {
                name: {"who": each.who, "when": each.since} for name, each in self._station.ledger.drifts.items()
            },
            "unconfirmed": list(self._station.unconfirmed),
        }

    async def sync_status(self, params: list[Value], caller: Caller) -> object:
        """What this node has received: ``() -> struct``."""
        del caller
        expect(params)
        return await received(self._node, self._facts, self._station)

    async def ping(self, params: list[Value], caller: Caller) -> object:
        """Both clocks: ``(double) -> struct``. `skew` is this node's clock minus the caller's, in seconds."""
        del caller
        expect(params, float)
        now = time.time()
        sent = params[0]
        assert isinstance(sent, float)
        return {"time": now, "skew": now - sent, "node": self._node.name}

    async def backup_config_section(self, params: list[Value], caller: Caller) -> object:
        """Sections in force: ``(array of names) -> struct of base64``, each canonical JSON. They hold secrets."""
        self._accounts.refuse_unless_sync(caller.user)
        expect(params, list)
        names = params[0]
        assert isinstance(names, list)
        picture = await self._facts.picture()
        unknown = [name for name in names if not isinstance(name, str) or name not in picture.sections]
        if unknown:
            raise Fault(FaultCode.SECTION, f"{self._node.name} knows no section {unknown[0]!r}")
        wanted = {str(name): picture.sections[str(name)].data.value for name in names}
        return await trio.to_thread.run_sync(lambda: {name: canonical(data) for name, data in wanted.items()})

    # --- changing ------------------------------------------------------------------------------------------

    async def restore_config_section(self, params: list[Value], caller: Caller) -> object:
        """Take sections over until they are confirmed: ``(struct, struct) -> struct``."""
        self._accounts.refuse_unless_sync(caller.user)
        expect(params, dict, dict)
        sections, meta = params
        assert isinstance(sections, dict)
        assert isinstance(meta, dict)
        offer = parse_offer(sections, meta, self._sender(caller))
        done = await self._station.restore(offer)
        return {
            "txn": done.transaction.txn,
            "revision": done.transaction.revision,
            "applied": list(done.transaction.digests),
            "kept": list(done.kept),
        }

    async def confirm_config(self, params: list[Value], caller: Caller) -> object:
        """Keep a change: ``(txn) -> struct``. Call it over a new connection."""
        self._accounts.refuse_unless_sync(caller.user)
        expect(params, str)
        done = await self._station.confirm(str(params[0]), caller.fingerprint)
        return {"revision": done.revision, "applied": list(done.digests)}

    async def rollback_config(self, params: list[Value], caller: Caller) -> object:
        """Take a change back: ``(txn) -> struct``."""
        self._accounts.refuse_unless_sync(caller.user)
        expect(params, str)
        return {"revision": await self._station.rollback(str(params[0]), caller.fingerprint)}

    def _sender(self, caller: Caller) -> Sender:
        name = self._introductions.name_of(caller.fingerprint)
        if name is None:
            raise Fault(FaultCode.AUTHENTICATION, "this certificate is not that of a paired node (any more)")
        return Sender(name=name, fingerprint=caller.fingerprint, address=caller.address)


async def received(node: Node, facts: Facts, station: Station) -> dict[str, Any]:
    """What a node has received, for `appliance.sync_status` and for its own commands."""
    picture, ledger = await facts.picture(), station.ledger
    return {
        "node": node.name,
        "role": node.role,
        "revision": picture.revision,
        "phase": str(station.phase),
        "sections": {
            name: {
                "digest": digest,
                "origin": ledger.origins[name].sender if name in ledger.origins else "",
                "at": ledger.origins[name].at if name in ledger.origins else 0.0,
                "drift": name in ledger.drifts,
            }
            for name, digest in picture.digests.items()
        },
    }


def parse_offer(sections: Mapping[str, Value], meta: Mapping[str, Value], sender: Sender) -> Offer:
    """The parameters of `restore_config_section`.

    Raises:
        Fault: PARAMETERS; says which.
    """
    unknown = set(meta) - {"node", "base", "confirm_timeout", "force", "reason"}
    if unknown:
        raise _wrong(f"the second parameter has no member {min(unknown)!r}")
    confirm_s, force = meta.get("confirm_timeout", CONFIRM_S), meta.get("force", False)
    reason, base = meta.get("reason", ""), meta.get("base", {})
    node = meta.get("node", sender.name)
    if isinstance(confirm_s, bool) or not isinstance(confirm_s, int | float):
        raise _wrong("confirm_timeout has to be a number of seconds")
    if not CONFIRM_MIN_S <= confirm_s <= CONFIRM_MAX_S:
        raise _wrong(f"confirm_timeout has to be {CONFIRM_MIN_S:g} to {CONFIRM_MAX_S:g} seconds, not {confirm_s:g}")
    if not isinstance(force, bool) or not isinstance(reason, str) or not isinstance(base, dict):
        raise _wrong("force has to be a boolean, reason a string, base a struct of digests")
    if node != sender.name:
        raise _wrong(f"node is {node!r}, and the certificate is that of {sender.name}")
    return Offer(
        sender=sender,
        parts={name: _part(name, part) for name, part in sections.items()},
        base={name: _digest(f"base of {name!r}", each) for name, each in base.items()},
        confirm_s=float(confirm_s),
        force=force,
        reason=reason[:REASON_MAX],
    )


def _part(name: str, part: Value) -> Part:
    if not isinstance(part, dict) or set(part) != {"data", "sha256"}:
        raise _wrong(f"the section {name!r} has to be a struct of data and sha256")
    data = part["data"]
    if not isinstance(data, bytes):
        raise _wrong(f"the data of {name!r} have to be base64 of canonical JSON")
    return Part(data=data, sha256=_digest(f"sha256 of {name!r}", part["sha256"]))


def _digest(what: str, value: Value) -> str:
    if not isinstance(value, str) or len(value) != SHA256_DIGITS:
        raise _wrong(f"the {what} has to be {SHA256_DIGITS} hexadecimal digits")
    return value.lower()


def _wrong(message: str) -> Fault:
    return Fault(FaultCode.PARAMETERS, message)


def product_version() -> str:
    """Version of the installed software."""
    try:
        return version(PRODUCT)
    except PackageNotFoundError:
        return "unknown"
