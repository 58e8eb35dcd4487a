"""The texts that leave the node."""

from __future__ import annotations

import email.policy
import json
import re
from dataclasses import replace
from email.parser import BytesParser

from appliance_notify.formats import (
    LINE_MAX,
    LISTED_MAX,
    headline,
    listing,
    local_lines,
    mail,
    rfc3339,
    signature,
    syslog_lines,
    webhook_body,
)
from appliance_notify.vocabulary import Entry, Kind, Message, Notice, Severity, State

LOST = Notice(
    id="fw1-run-1",
    at=1_700_000_000.25,
    kind=Kind.PEER,
    severity=Severity.CRITICAL,
    state=State.RAISED,
    key="peer/fw2",
    what="fw2 is not heard any more",
    fix="Look at the cable.",
)
MASTER = replace(
    LOST,
    id="fw1-run-2",
    kind=Kind.ROLE,
    severity=Severity.WARNING,
    state=State.EVENT,
    key="role/lan/1",
    what="MASTER for VHID 1 on lan",
    fix="",
)
BOTH = Message(node="fw1", entries=(Entry(notice=LOST), Entry(notice=MASTER, times=3)), more=4)


def test_the_headline_is_the_most_severe_and_counts_the_others() -> None:
    assert headline(BOTH) == "[fw1] critical: fw2 is not heard any more and 7 more"
    assert headline(Message(node="fw1", entries=(Entry(notice=MASTER),))) == "[fw1] warning: MASTER for VHID 1 on lan"
    cleared = Entry(notice=replace(LOST, state=State.CLEARED, what="fw2 is alive"))
    assert headline(Message(node="fw1", entries=(cleared,))) == "[fw1] critical: cleared: fw2 is alive"


def test_people_read_a_line_for_each_and_what_to_do() -> None:
    assert listing(BOTH).splitlines() == [
        "2023-11-14T22:13:20.250Z critical peer: fw2 is not heard any more",
        "    Look at the cable.",
        "2023-11-14T22:13:20.250Z warning role: MASTER for VHID 1 on lan (3 times)",
        "and 4 more",
    ]


def test_a_long_list_is_cut_at_its_beginning() -> None:
    entries = tuple(Entry(notice=replace(MASTER, what=f"number {n}")) for n in range(LISTED_MAX + 5))
    lines = listing(Message(node="fw1", entries=entries)).splitlines()
    assert len(lines) == LISTED_MAX + 1
    assert (lines[0].partition(": ")[2], lines[-1]) == ("number 5", "and 5 more")


def test_a_webhook_gets_everything_as_json() -> None:
    document = json.loads(webhook_body(BOTH, 1_700_000_001.0))
    assert (document["node"], document["severity"], document["more"]) == ("fw1", "critical", 4)
    assert document["sent"] == "2023-11-14T22:13:21.000Z"
    assert document["text"].startswith("[fw1] critical: fw2")
    assert document["notices"][0] == {
        "id": "fw1-run-1",
        "time": "2023-11-14T22:13:20.250Z",
        "class": "peer",
        "severity": "critical",
        "state": "raised",
        "key": "peer/fw2",
        "what": "fw2 is not heard any more",
        "fix": "Look at the cable.",
        "times": 1,
    }
    assert document["notices"][1]["times"] == 3


def test_the_signature_is_hmac_sha256() -> None:
    # RFC 4231, test case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature("Jefe", b"what do ya want for nothing?") == f"sha256={expected}"


def test_a_mail_is_readable_and_answered_by_nobody() -> None:
    made = mail(BOTH, sender="fw@example.net", recipients=["a@example.net", "b@example.net"], now=1_700_000_001.0)
    read = BytesParser(policy=email.policy.default).parsebytes(made.as_bytes())
    assert read["Subject"] == "[fw1] critical: fw2 is not heard any more and 7 more"
    assert read["To"] == "a@example.net, b@example.net"
    assert read["Date"] == "Tue, 14 Nov 2023 22:13:21 +0000"
    assert read["Message-ID"] == "<fw1-run-1@fw1.appliance>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read.get_content().startswith("2023-11-14T22:13:20.250Z critical peer: fw2")


def test_syslog_lines_are_rfc_5424() -> None:
    first, second, rest = syslog_lines(BOTH, "local3")
    assert first == (
        b"<154>1 2023-11-14T22:13:20.250Z fw1 appliance - peer - \xef\xbb\xbf"
        b"fw2 is not heard any more Look at the cable. [raised peer/fw2]"
    )
    assert second.startswith(b"<156>1 ")
    assert rest.endswith(b"and 4 more")
    grammar = rb"<(\d{1,3})>1 \S+ \S{1,255} \S{1,48} (-|\S{1,128}) (-|\S{1,32}) - \xef\xbb\xbf.*"
    assert all(re.fullmatch(grammar, line) for line in (first, second, rest))


def test_what_is_cleared_is_a_notice_of_normal_level() -> None:
    cleared = Message(node="fw1", entries=(Entry(notice=replace(LOST, state=State.CLEARED)),))
    assert syslog_lines(cleared, "daemon")[0].startswith(b"<29>1 ")


def test_the_daemon_of_this_machine_gets_the_form_of_syslog_3() -> None:
    first, _, rest = local_lines(BOTH, "daemon")
    assert first == b"<26>appliance: fw2 is not heard any more Look at the cable. [raised peer/fw2]"
    assert rest == b"<28>appliance: and 4 more"


def test_lines_have_an_end_and_stay_utf_8() -> None:
    long = Message(node="fw1", entries=(Entry(notice=replace(LOST, what="ä" * LINE_MAX)),))
    (line,) = syslog_lines(long, "daemon")
    assert LINE_MAX - 1 <= len(line) <= LINE_MAX
    assert line.decode().endswith("ä")


def test_time_is_rfc_3339() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
