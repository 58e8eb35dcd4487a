"""What ``show sync`` tells: facts as JSON, and the screen for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from appliance.plugin import API, Node
from appliance_xmlrpc_sync.causes import Failure
from appliance_xmlrpc_sync.preflight import rfc3339
from appliance_xmlrpc_sync.settings import SenderSettings
from appliance_xmlrpc_sync.vocabulary import Known, Outcome, Verdict

WORST = ("failing", "behind", "in-sync", "off")
"""States, the worst first."""


class Timing(Protocol):
    """When the next look is."""

    @property
    def due(self) -> float: ...


class PeerFacts(Protocol):
    """A peer as far as it is told."""

    @property
    def address(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def known(self) -> Known: ...
    @property
    def failure(self) -> Failure | None: ...
    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def last_success(self) -> float | None: ...
    @property
    def last_push_ms(self) -> int | None: ...
    @property
    def is_busy(self) -> bool: ...
    @property
    def pace(self) -> Timing: ...


def peer_state(peer: PeerFacts, revision: int | None) -> str:
    """``in-sync``, ``behind`` or ``failing``.

    Args:
        peer: As it was found last.
        revision: Of this node's configuration; a newer one than was looked at has still to travel.
    """
    if peer.failure is not None:
        return "failing"
    outcome = peer.outcome
    if outcome is None or outcome.verdict is not Verdict.IN_SYNC or revision not in (None, outcome.revision):
        return "behind"
    return "in-sync"


def document(
    peers: Sequence[PeerFacts], settings: SenderSettings, *, node: Node, revision: int | None, now: float, wall: float
) -> dict[str, Any]:
    """All of it.

    Args:
        peers: In the order of the configuration.
        settings: Of the sender.
        node: This node.
        revision: Of its configuration; ``None`` while it starts.
        now: On the clock of `PeerFacts.pace`.
        wall: Seconds since the epoch.
    """
    rows = [_peer(peer, rank, revision, now, wall) for rank, peer in enumerate(peers, 1)]
    worst = min(rows, key=lambda row: WORST.index(row["state"]), default=None)
    return {
        "node": node.name,
        "role": node.role,
        "peer": worst["name"] if worst else "",
        "state": worst["state"] if worst else "off",
        "generation": revision or 0,
        "peer_generation": worst["generation"] if worst else None,
        "last_success": worst["last_success"] if worst else None,
        "error": worst["error"] if worst else None,
        "remedy": worst["remedy"] if worst else None,
        "policy": settings.policy,
        "on_drift": settings.on_drift,
        "warning": settings.large or None,
        "api": f"{API.major}.{API.minor}",
        "peers": rows,
    }


def _peer(peer: PeerFacts, rank: int, revision: int | None, now: float, wall: float) -> dict[str, Any]:
    hello, failure, outcome = peer.known.hello, peer.failure, peer.outcome
    due = peer.pace.due
    return {
        "name": peer.label,
        "address": peer.address,
        "rank": rank,
        "state": peer_state(peer, revision),
        "why": _why(outcome, revision) if failure is None else "",
        "cause": str(failure.cause) if failure else None,
        "error": failure.what if failure else None,
        "remedy": failure.fix if failure else None,
        "fingerprint": peer.fingerprint or None,
        "version": hello.version if hello else None,
        "api": ".".join(map(str, hello.api)) if hello else None,
        "utc_offset_s": hello.utc_offset_s if hello else None,
        "addresses": {name: list(each) for name, each in hello.addresses.items()} if hello else None,
        "skew_s": None if peer.known.skew_s is None else round(peer.known.skew_s, 3),
        "generation": peer.known.revision,
        "last_success": None if peer.last_success is None else rfc3339(peer.last_success),
        "as_of_s": None if peer.last_success is None else max(round(wall - peer.last_success, 1), 0.0),
        "last_push_ms": peer.last_push_ms,
        "busy": peer.is_busy,
        # Infinite while a look is under way.
        "next_retry_s": None if due == float("inf") else max(round(due - now, 1), 0.0),
        "pushed": list(outcome.pushed) if outcome else [],
        "kept": list(outcome.kept) if outcome else [],
        "sections": [
            {"name": name, "state": str(fact.state), "who": fact.who or None, "when": fact.when or None}
            for name, fact in peer.known.sections.items()
        ],
    }


def _why(outcome: Outcome | None, revision: int | None) -> str:
    if outcome is None:
        return "it has not been looked at yet"
    match outcome.verdict:
        case Verdict.PENDING:
            return "the policy is manual: 'appliance sync now' sends what it lacks"
        case Verdict.UNCONFIRMED:
            return "the change on this node waits to be confirmed and travels then"
        case Verdict.IN_SYNC:
            return "" if revision in (None, outcome.revision) else "the latest change is on its way"


# --- for people -------------------------------------------------------------------------------------------------


def render(data: Mapping[str, Any]) -> str:
    """The screen."""
    head = f"{data['node']}: {data['role']}, revision {data['generation']}, synchronization {data['state']}"
    blocks = [head]
    if data["state"] == "off":
        blocks.append("this node sends its configuration to nobody (xmlrpc_sync.peers is empty)")
    if data["warning"] and data["peers"]:
        blocks.append(f"warning: {data['warning']}")
    blocks += ["\n".join(_lines(row)) for row in data["peers"]]
    received = data.get("received")
    if received:
        blocks.append("\n".join(_received(received)))
    return "\n\n".join(blocks)


def render_result(data: Mapping[str, Any]) -> str:
    """What came of ``sync now``, a line or two per peer."""
    lines = []
    for row in data["peers"]:
        if row["error"]:
            lines += [f"{row['name']}: {row['error']}", f"  -> {row['remedy']}"]
        elif row["pushed"]:
            took = f" in {row['last_push_ms']} ms" if row["last_push_ms"] is not None else ""
            lines.append(f"{row['name']}: sent {', '.join(row['pushed'])}{took}; confirmed and compared")
        else:
            lines.append(f"{row['name']}: {row['why'] or 'in sync, nothing to send'}")
        lines += [f"  what was changed there is kept there as {name}" for name in row["kept"]]
    return "\n".join(lines)


def render_diff(data: Mapping[str, Any]) -> str:
    """What ``sync diff`` prints."""
    lines = []
    for row in data["peers"]:
        if row["error"]:
            lines += [f"{row['peer']}: {row['error']}", f"  -> {row['remedy']}"]
            continue
        what = "a push would change (there -> here)" if row["sections"] else "has what it should have"
        lines.append(f"{row['peer']}: {what}")
        for section in row["sections"]:
            drift = f", changed there{_by(section)}" if section["state"] == "drift" else ""
            lines.append(f"  {section['name']}{drift}")
            lines += [f"    {_key(each)}" for each in section["keys"]]
            lines += ["    …"] if section["more"] else []
    return "\n".join(lines)


def _key(change: Mapping[str, Any]) -> str:
    if change["change"] == "added":
        return f"+ {change['key']} = {change['here']}"
    if change["change"] == "removed":
        return f"- {change['key']} = {change['there']}"
    return f"~ {change['key']}: {change['there']} -> {change['here']}"


def _lines(row: Mapping[str, Any]) -> list[str]:
    name = row["name"] if row["name"] == row["address"] else f"{row['name']} ({row['address']})"
    lines = [f"{name}: {row['state']}" + (f", {row['why']}" if row["why"] else "")]
    if row["error"]:
        lines += [f"  {line}" for line in row["error"].splitlines()]
        lines.append(f"  -> {row['remedy']}")
    if row["version"] is not None:
        lines.append(f"  version {row['version']}, API {row['api']}, revision {row['generation']}{_clock(row)}")
    if row["fingerprint"]:
        lines.append(f"  certificate {row['fingerprint']}")
    seen = f"as of {_ago(row['as_of_s'])}" if row["as_of_s"] is not None else "never reached"
    took = f", last push took {row['last_push_ms']} ms" if row["last_push_ms"] is not None else ""
    next_look = "now" if row["next_retry_s"] is None else f"in {row['next_retry_s']:g} s"
    lines.append(f"  {seen}{took}; next look {next_look}")
    width = max((len(each["name"]) for each in row["sections"]), default=0)
    for each in row["sections"]:
        state = "DRIFT" + _by(each) if each["state"] == "drift" else each["state"]
        lines.append(f"  {each['name']:<{width}}  {state}")
    return lines


def _ago(seconds: float) -> str:
    """How old what is told of a peer is; its sections are as they were then."""
    if seconds < 60:
        return f"{seconds:g} s ago"
    minutes = int(seconds) // 60
    return f"{minutes} min ago" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min ago"


def _clock(row: Mapping[str, Any]) -> str:
    skew = row["skew_s"]
    return "" if not skew else f", clock {abs(skew):g} s {'ahead' if skew > 0 else 'behind'}"


def _by(section: Mapping[str, Any]) -> str:
    return (f" by {section['who']}" if section["who"] else "") + (f", {section['when']}" if section["when"] else "")


def _received(received: Mapping[str, Any]) -> list[str]:
    sections = {name: each for name, each in received["sections"].items() if each["origin"]}
    if not sections:
        return ["received: nothing yet"]
    width = max(map(len, sections))
    lines = [f"received: {'a change waits to be confirmed' if received['phase'] == 'unconfirmed' else 'confirmed'}"]
    for name, each in sections.items():
        state = "DRIFT, changed here since" if each["drift"] else "as received"
        lines.append(f"  {name:<{width}}  from {each['origin']}, {rfc3339(each['at'])}: {state}")
    return lines
