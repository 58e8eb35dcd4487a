"""What a target wants, and how it is named for people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance_notify.settings import Syslog, Wanted, Webhook
from appliance_notify.vocabulary import Kind, Severity
from tests.unit.plugins.notify.servers import NOTICE


@pytest.mark.parametrize(
    ("wanted", "kind", "severity", "expected"),
    [
        (Wanted(), Kind.ROLE, Severity.WARNING, True),
        (Wanted(), Kind.CONFIG, Severity.INFO, False),
        (Wanted(severity=Severity.INFO), Kind.CONFIG, Severity.INFO, True),
        (Wanted(classes=frozenset({"peer"})), Kind.ROLE, Severity.CRITICAL, False),
        (Wanted(classes=frozenset({"peer"})), Kind.PEER, Severity.CRITICAL, True),
        (Wanted(classes=frozenset({"peer"}), severity=Severity.CRITICAL), Kind.TEST, Severity.INFO, True),
    ],
)
def test_class_and_severity_decide(wanted: Wanted, kind: Kind, severity: Severity, expected: bool) -> None:
    assert wanted.wants(replace(NOTICE, kind=kind, severity=severity)) is expected


def test_where_a_target_is() -> None:
    assert Webhook(name="a", host="x", port=80, tls=False, path="/secret").where == "http://x:80"
    assert Syslog(name="a", transport="tls", host="x", port=6514).where == "tls x:6514"
    assert Syslog(name="a", transport="local", path="/dev/log").where == "/dev/log"
