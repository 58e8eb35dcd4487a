"""``appliance drill``: failures rehearsed, in the lab or on a cluster in use, with the loss a client had of each."""

from __future__ import annotations

import json as jsonlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.control.client import DEFAULT_SOCKET
from appliance.errors import UsageError
from appliance.lab import client, live
from appliance.lab.config import whole
from appliance.lab.demo import as_interrupt, uninterrupted
from appliance.lab.drill import Drill
from appliance.lab.drill_report import html, text
from appliance.lab.lab import Lab, unique_name
from appliance.lab.pairing import pair_all
from appliance.lab.rehearsals import PRIMARY, REHEARSALS, Rehearsal
from appliance.lab.report import Report, Say
from appliance.lab.topology import Topology
from appliance.plugin.contributions import Argument, Command, Where

INTERRUPTED = 130
SETTLE_S = 60.0
HOLD_S = 3.0
HOLD_MAX_S = 60.0
Confirm = Callable[[str], bool]


def drill(
    *,
    lab: bool,
    name: str,
    only: str,
    skip: str,
    yes: bool,
    json: bool,
    report: str | None,
    profile: str,
    hold: float,
    socket: str | None,
) -> int:
    """Exit status: 0 when all went well, 1 when not, 130 when interrupted."""
    say = _voice(json)
    with _ended_by_signals():
        if lab:
            # A cluster of its own has no users; one with a name may have.
            confirm: Confirm = (lambda _: True) if yes or not name else _ask
            found, status = _in_the_lab(name, profile, _chosen(only, skip), say, confirm)
        else:
            found, status = _here(socket, only, skip, hold, say, (lambda _: True) if yes else _ask)
    went = _tell(found, say, json=json, report=report)
    return status or went


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A closed terminal and TERM end it as Ctrl-C does."""
    previous = {number: signal.signal(number, as_interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _voice(json: bool) -> Say:
    def say(line: str) -> None:
        print(line, file=sys.stderr if json else sys.stdout, flush=True)

    return say


def _in_the_lab(name: str, profile: str, chosen: list[Rehearsal], say: Say, confirm: Confirm) -> tuple[Report, int]:
    with _cluster(name, profile, say) as cluster:
        run = Drill(cluster, say=say, confirm=confirm)
        try:
            run.run(chosen)
        except KeyboardInterrupt:
            return run.report, INTERRUPTED
    return run.report, 0


def _here(socket: str | None, only: str, skip: str, hold: float, say: Say, confirm: Confirm) -> tuple[Report, int]:
    """On the cluster of a running node."""
    if not 0 <= hold <= HOLD_MAX_S:
        raise UsageError(f"nothing can be held for {hold:g} s", hint=f"Use 0 to {HOLD_MAX_S:g} seconds.")
    node = live.LiveNode(socket or os.environ.get("APPLIANCE_SOCKET") or DEFAULT_SOCKET)
    chosen = live.choose(live.rehearsals(live.cluster_of(node)), only, skip)
    run = live.LiveDrill(node, say=say, confirm=confirm, hold_s=hold)
    try:
        run.run(chosen)
    except KeyboardInterrupt:
        return run.report, INTERRUPTED
    return run.report, 0


def _tell(found: Report, say: Say, *, json: bool, report: str | None) -> int:
    if report is not None:
        Path(report).write_text(html(found), encoding="utf-8")
        say(f"The report is in {report}.")
    print(jsonlib.dumps(found.to_json(), indent=2) if json else text(found))
    return 0 if found.passed else 1


def probe(*, target: str, kinds: str, seconds: float, save: str) -> int:
    """Measure on a client while a node runs its drill."""
    with _ended_by_signals():
        measured = client.measure(target, client.kinds_of(kinds), seconds, _voice(json=False))
    Path(save).write_text(jsonlib.dumps(measured.to_json()) + "\n", encoding="utf-8")
    print(f"Saved in {save}. On the node: appliance drill merge DRILL.json {save} --report page.html")
    return 0


def answer() -> int:
    """Be the other end."""
    print("Answering UDP 7001 and TCP 7002 and 7003 until Ctrl-C.", flush=True)
    with _ended_by_signals():
        client.answer()
    return 0


def merge(*, drill: str, measured: str, json: bool, report: str | None) -> int:
    """Exit status: 0 when all went well, 1 when not."""
    try:
        seen = client.Measured.from_json(client.read(measured))
    except (KeyError, TypeError, ValueError) as error:
        hint = "Name a file that `appliance drill probe --save` has written."
        raise UsageError(f"{measured} is not what a client measured: {error}", hint=hint) from None
    found = client.merge(client.report_from(client.read(drill)), seen)
    return _tell(found, _voice(json), json=json, report=report)


def _chosen(only: str, skip: str) -> list[Rehearsal]:
    known = {each.name: each for each in REHEARSALS}
    names = [each for each in only.split(",") if each] or list(known)
    unwanted = [each for each in skip.split(",") if each]
    unknown = [each for each in (*names, *unwanted) if each not in known]
    if unknown:
        raise UsageError(f"there is no rehearsal {unknown[0]!r}", hint=f"There are: {', '.join(known)}.")
    return [known[each] for each in names if each not in unwanted]


def _ask(what: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"{what} Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def _cluster(name: str, profile: str, say: Say) -> Iterator[Lab]:
    """The lab of this name, or a new one that is gone afterwards."""
    if name:
        yield Lab.open(name)
        return
    topology = Topology(name=unique_name("drill"))
    made = Lab(topology, settings=whole(topology, profile=profile))
    say("Build the example cluster on this machine")
    try:
        made.up()
        made.wait_settled(deadline_s=SETTLE_S)
        pair_all(made)
        made.wait_settled(PRIMARY, deadline_s=SETTLE_S)
        yield made
    finally:
        with uninterrupted():
            made.down()


_REPORT = Argument(name="--report", help="write one HTML page with plots of the loss into this file")
_JSON = Argument(name="--json", flag=True, help="print JSON")

COMMANDS = (
    Command(
        path=("drill",),
        help="Rehearse failures of this node, or in the lab, and report what was lost; everything is put back.",
        run=drill,
        where=Where.LOCAL,
        arguments=(
            Argument(name="--lab", flag=True, help="in the lab: a cluster in network namespaces of this machine"),
            Argument(name="--name", help="a lab that is up; without, one is built and removed again", default=""),
            Argument(name="--only", help="names with commas between: switchover,unplug-wan …", default=""),
            Argument(name="--skip", help="names to leave out", default=""),
            Argument(name="--yes", flag=True, help="do not ask before something dangerous"),
            _JSON,
            _REPORT,
            Argument(name="--profile", help="timers of a new lab", choices=("book", "fast"), default="book"),
            Argument(name="--hold", type=float, help="seconds that each step lasts, outside the lab", default=HOLD_S),
            Argument(name="--socket", help="the control socket of the node to drill"),
        ),
    ),
    Command(
        path=("drill", "probe"),
        help="On a client: measure what it loses while a node runs its drill.",
        run=probe,
        where=Where.LOCAL,
        arguments=(
            Argument(name="target", help="an address on the other side of the cluster", required=True),
            Argument(name="--kinds", help="ping,udp,download,interactive,connections", default=client.DEFAULT_KINDS),
            Argument(name="--seconds", type=float, help="how long; Ctrl-C ends it earlier", default=600.0),
            Argument(name="--save", help="where to write what it measured", default="client.json"),
        ),
    ),
    Command(
        path=("drill", "answer"),
        help="On the other side: answer what `drill probe` sends besides ping.",
        run=answer,
        where=Where.LOCAL,
    ),
    Command(
        path=("drill", "merge"),
        help="Put what a client measured into the report of a drill.",
        run=merge,
        where=Where.LOCAL,
        arguments=(
            Argument(name="drill", help="what `appliance drill --json` printed", required=True),
            Argument(name="measured", help="what `appliance drill probe` saved", required=True),
            _JSON,
            _REPORT,
        ),
    ),
)
