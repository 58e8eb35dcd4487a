"""The texts that leave the node: JSON for webhooks, mails, lines for syslog. Pure.

Sources: RFC 5424 (syslog), RFC 5322 and RFC 3834 (mail).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from appliance_notify.machine import worst
from appliance_notify.vocabulary import Entry, Message, Notice, Severity, State

LINE_MAX = 2048
"""Bytes of a syslog message that every receiver should take (RFC 5424 section 6.1)."""
LISTED_MAX = 20
"""Notices that a text for people lists; the others are counted."""
APP = "appliance"
_FACILITIES = {"daemon": 3, **{f"local{number}": 16 + number for number in range(8)}}
_LEVELS = {Severity.INFO: 6, Severity.WARNING: 4, Severity.CRITICAL: 2}
"""RFC 5424 section 6.2.1: informational, warning, critical."""
_CLEARED_LEVEL = 5
"""Notice: normal but significant."""


def rfc3339(at: float) -> str:
    """Seconds since 1970 as text in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sentence(entry: Entry) -> str:
    """One notice as one line, without its time."""
    notice = entry.notice
    cleared = "cleared: " if notice.state is State.CLEARED else ""
    times = f" ({entry.times} times)" if entry.times > 1 else ""
    return f"{cleared}{notice.what}{times}"


def and_more(count: int) -> str:
    """What is not told."""
    return f"and {count} more" if count else ""


def headline(message: Message) -> str:
    """The message in one line: its most severe notice, the latest of them, and how many others there are."""
    entries = message.entries
    first = max(enumerate(entries), key=lambda pair: (pair[1].notice.severity, pair[0]))[1]
    others = message.more + sum(each.times for each in entries) - first.times
    return " ".join(filter(None, (f"[{message.node}]", f"{worst(message)}:", sentence(first), and_more(others))))


def listing(message: Message) -> str:
    """The message as text for people, latest notice last."""
    shown = message.entries[-LISTED_MAX:]
    left = sum(each.times for each in message.entries[:-LISTED_MAX]) + message.more
    lines = [line for entry in shown for line in _told(entry)]
    return "\n".join([*lines, *filter(None, [and_more(left)])])


def _told(entry: Entry) -> Iterator[str]:
    notice = entry.notice
    yield f"{rfc3339(notice.at)} {notice.severity} {notice.kind}: {sentence(entry)}"
    if notice.fix:
        yield f"    {notice.fix}"


# --- webhook ---------------------------------------------------------------------------------------------------


def webhook_body(message: Message, now: float) -> bytes:
    """The JSON of a webhook; `text` is what chat services show."""
    document = {
        "node": message.node,
        "sent": rfc3339(now),
        "severity": str(worst(message)),
        "text": f"{headline(message)}\n{listing(message)}" if len(message.entries) > 1 else headline(message),
        "more": message.more,
        "notices": [_notice(entry) for entry in message.entries],
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _notice(entry: Entry) -> dict[str, object]:
    notice = entry.notice
    return {
        "id": notice.id,
        "time": rfc3339(notice.at),
        "class": str(notice.kind),
        "severity": str(notice.severity),
        "state": str(notice.state),
        "key": notice.key,
        "what": notice.what,
        "fix": notice.fix,
        "times": entry.times,
    }


def signature(secret: str, body: bytes) -> str:
    """HMAC-SHA256 of the body, as the header says it."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


# --- mail ------------------------------------------------------------------------------------------------------


def mail(message: Message, *, sender: str, recipients: Sequence[str], now: float) -> EmailMessage:
    """A mail that no vacation program answers (RFC 3834 section 5)."""
    made = EmailMessage()
    made["From"] = sender
    made["To"] = ", ".join(recipients)
    made["Subject"] = headline(message)
    made["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    # Of the first notice: in an attempt that is repeated it is the same, and mail programs show it once.
    made["Message-ID"] = f"<{message.entries[0].notice.id}@{message.node}.appliance>"
    made["Auto-Submitted"] = "auto-generated"
    # Not 8bit, which some servers do not take (RFC 6152).
    made.set_content(f"{listing(message)}\n\n-- \nnode {message.node}\n", cte="quoted-printable")
    return made


# --- syslog ----------------------------------------------------------------------------------------------------


def syslog_lines(message: Message, facility: str) -> list[bytes]:
    """One line for each notice (RFC 5424 section 6), and one for those that are not told."""
    lines = [_syslog(message.node, each.notice, _text(each), facility) for each in message.entries]
    if message.more:
        last = message.entries[-1].notice
        lines.append(_syslog(message.node, last, and_more(message.more), facility))
    return lines


def local_lines(message: Message, facility: str) -> list[bytes]:
    """The same for the daemon of this machine, in the form of syslog(3) that all of them read."""
    more = [(message.entries[-1].notice, and_more(message.more))] if message.more else []
    told = [(each.notice, _text(each)) for each in message.entries]
    return [_cut(f"<{_priority(notice, facility)}>{APP}: {text}".encode()) for notice, text in [*told, *more]]


def _text(entry: Entry) -> str:
    notice = entry.notice
    fix = f" {notice.fix}" if notice.fix else ""
    return f"{sentence(entry)}{fix} [{notice.state} {notice.key}]"


def _syslog(node: str, notice: Notice, text: str, facility: str) -> bytes:
    head = f"<{_priority(notice, facility)}>1 {rfc3339(notice.at)} {node} {APP} - {notice.kind} - "
    # The mark says that what follows is UTF-8.
    return _cut(head.encode() + b"\xef\xbb\xbf" + text.encode())


def _priority(notice: Notice, facility: str) -> int:
    level = _CLEARED_LEVEL if notice.state is State.CLEARED else _LEVELS[notice.severity]
    return _FACILITIES[facility] * 8 + level


def _cut(line: bytes) -> bytes:
    return line if len(line) <= LINE_MAX else line[:LINE_MAX].decode(errors="ignore").encode()
