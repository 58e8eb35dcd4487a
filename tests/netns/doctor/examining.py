"""Asking the doctor of a lab: a fault is made, the doctor names it, its remedy is followed, and it is content again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.errors import ApplianceError
from appliance.lab import Lab
from appliance.lab.waiting import LabTimeoutError, wait_until

SETTLE_S = 90.0
"""Some findings wait for a minute, to be sure."""
POLL_S = 0.25
"""An examination starts a dozen processes on the node."""
NODES = ("fw1", "fw2")
Report = dict[str, Any]
Finding = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault of a node."""

    name: str
    """Of the fault."""
    finds: Mapping[str, str]
    """The checks that find it, each with words of what it says."""
    fault: Callable[[Lab], object]
    """Makes it."""
    remedy: Callable[[Lab, str], object]
    """Does what the remedies say; told their text, one line for each check."""
    node: str = "fw2"
    """Whose doctor is asked."""
    slow: bool = False
    """Whether it takes half a minute or more to be found; it is made before all others."""
    lingers: bool = False
    """Whether it is told for some time after it was mended; that it is gone is seen when all others are."""


def doctor(lab: Lab, node: str, *options: str) -> tuple[int, Report]:
    """Exit status and report, from the command line; the report is empty when the node does not answer."""
    done = lab.exec(node, "appliance", "doctor", "--json", *options, check=False)
    return done.returncode, json.loads(done.stdout or "{}")


def findings(lab: Lab, node: str) -> dict[str, Finding]:
    """All findings by check, asked as the command line asks; none while the node does not answer."""
    try:
        report: Any = lab.request(node, "doctor")
    except ApplianceError:
        return {}
    return {each["check"]: each for each in report["findings"]}


def sick(report: Report) -> dict[str, str]:
    """Checks that are not ok, with what they say."""
    return {each["check"]: each["what"] for each in report["findings"] if each["health"] != "ok"}


def wait_found(lab: Lab, node: str, finds: Mapping[str, str]) -> dict[str, Finding]:
    """Until each of these checks says these words and has a remedy; their findings."""
    last: dict[str, Finding] = {}

    def said() -> bool:
        last.clear()
        last.update(findings(lab, node))
        return all(_says(last.get(check), words) for check, words in finds.items())

    try:
        wait_until(said, f"{node} finds {dict(finds)}", SETTLE_S, POLL_S)
    except LabTimeoutError as error:
        told = {check: each["what"] for check, each in last.items() if each["health"] != "ok" or check in finds}
        raise AssertionError(f"{error.message}; it says {told}") from None
    return {check: last[check] for check in finds}


def _says(finding: Finding | None, words: str) -> bool:
    return finding is not None and finding["health"] != "ok" and words in finding["what"] and finding["fix"] != ""


def wait_gone(lab: Lab, node: str, *checks: str) -> None:
    """Until each of these checks is content."""
    last: dict[str, Finding] = {}

    def content() -> bool:
        last.clear()
        last.update(findings(lab, node))
        return all(check in last and last[check]["health"] == "ok" for check in checks)

    try:
        wait_until(content, f"{', '.join(checks)} of {node} are content", SETTLE_S, POLL_S)
    except LabTimeoutError as error:
        told = {check: last[check]["what"] for check in checks if check in last}
        raise AssertionError(f"{error.message}; they say {told}") from None


def wait_silent(lab: Lab, node: str) -> Report:
    """Until all checks of both nodes are content, examined from one; its report."""
    last: Report = {}

    def content() -> bool:
        last.clear()
        status, report = doctor(lab, node, "--peers")
        last.update(report)
        return status == 0 and [sick(each) for each in (report, *report["peers"])] == [{}, {}]

    try:
        wait_until(content, "both nodes are content", SETTLE_S, POLL_S)
    except LabTimeoutError:
        told = [(sick(each), each.get("error")) for each in (last, *last.get("peers", ())) if each]
        raise AssertionError(f"{node} still says {told}") from None
    return last


def begin(lab: Lab, case: Case) -> None:
    """Make the fault, of which nothing was to be seen before."""
    wait_gone(lab, case.node, *case.finds)
    case.fault(lab)


def provoke(lab: Lab, case: Case) -> None:
    """Make the fault, see it named, follow the remedies, and see it gone."""
    if not case.slow:
        begin(lab, case)
    found = wait_found(lab, case.node, case.finds)
    case.remedy(lab, "\n".join(each["fix"] for each in found.values()))
    if not case.lingers:
        wait_gone(lab, case.node, *case.finds)
