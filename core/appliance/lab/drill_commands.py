"""``appliance drill``: failures rehearsed in the lab, with the loss a client had of each."""

from __future__ import annotations

import json as jsonlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import UsageError
from appliance.lab.config import NodeSettings
from appliance.lab.demo import as_interrupt, uninterrupted
from appliance.lab.drill import Drill
from appliance.lab.drill_report import html, text
from appliance.lab.lab import Lab, unique_name
from appliance.lab.rehearsals import REHEARSALS, Rehearsal
from appliance.lab.topology import Topology
from appliance.plugin.contributions import Argument, Command, Where

INTERRUPTED = 130
SETTLE_S = 60.0


def drill(*, lab: bool, name: str, only: str, yes: bool, json: bool, report: str | None, profile: str) -> int:
    """Exit status: 0 when all went well, 1 when not, 130 when interrupted."""
    if not lab:
        raise UsageError(
            "a drill needs a place",
            hint="`appliance drill --lab` builds a cluster of its own on this machine; with --name NAME it uses a lab "
            "that is up.",
        )
    chosen = _chosen(only)

    def say(line: str) -> None:
        print(line, file=sys.stderr if json else sys.stdout, flush=True)

    # A cluster of its own has no users; one with a name may have.
    confirm: Callable[[str], bool] = (lambda _: True) if yes or not name else _ask
    previous = signal.signal(signal.SIGTERM, as_interrupt)
    try:
        with _cluster(name, profile, say) as cluster:
            run = Drill(cluster, say=say, confirm=confirm)
            status = 0
            try:
                run.run(chosen)
            except KeyboardInterrupt:
                status = INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, previous)
    found = run.report
    if report is not None:
        Path(report).write_text(html(found), encoding="utf-8")
        say(f"The report is in {report}.")
    print(jsonlib.dumps(found.to_json(), indent=2) if json else text(found))
    return status or (0 if found.passed else 1)


def _chosen(only: str) -> list[Rehearsal]:
    known = {each.name: each for each in REHEARSALS}
    names = [each for each in only.split(",") if each] or list(known)
    unknown = [each for each in names if each not in known]
    if unknown:
        raise UsageError(f"there is no rehearsal {unknown[0]!r}", hint=f"There are: {', '.join(known)}.")
    return [known[each] for each in names]


def _ask(what: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"{what} Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def _cluster(name: str, profile: str, say: Callable[[str], None]) -> Iterator[Lab]:
    """The lab of this name, or a new one that is gone afterwards."""
    if name:
        yield Lab.open(name)
        return
    settings = NodeSettings(profile=profile, pfsync={}, firewall=True)
    made = Lab(Topology(name=unique_name("drill")), settings=settings)
    say("Build the example cluster on this machine")
    try:
        made.up()
        made.wait_settled(deadline_s=SETTLE_S)
        yield made
    finally:
        with uninterrupted():
            made.down()


COMMANDS = (
    Command(
        path=("drill",),
        help="Rehearse failures in the lab and report what a client lost; everything is put back.",
        run=drill,
        where=Where.LOCAL,
        arguments=(
            Argument(name="--lab", flag=True, help="in the lab: a cluster in network namespaces of this machine"),
            Argument(name="--name", help="a lab that is up; without, one is built and removed again", default=""),
            Argument(name="--only", help="names with commas between: switchover,unplug-wan …", default=""),
            Argument(name="--yes", flag=True, help="do not ask before something dangerous"),
            Argument(name="--json", flag=True, help="print JSON"),
            Argument(name="--report", help="write one HTML page with plots of the loss into this file"),
            Argument(name="--profile", help="timers of a new lab", choices=("book", "fast"), default="book"),
        ),
    ),
)
