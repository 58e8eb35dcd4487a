"""The outbox of one target: what waits, when to send it, what becomes of it when that fails. Sans-IO.

Notices are not sent one by one. The first of a burst waits `SETTLE_S`, so that all that belongs to one failover is in
one message; each message costs a token, and what comes while there is none is in the next message. Within one message
the last notice about a key stands for the earlier ones, so a flapping gateway is one line and a number. What does not
fit any more is counted: "and N more".
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance_notify.vocabulary import Entry, Message, Notice, Severity

SETTLE_S = 2.0
"""From the first notice to the message."""
QUEUE_MAX = 50
"""Keys that wait; a message has all of them."""
RETRY_S = (5.0, 15.0, 60.0, 300.0)
"""After the first, second, … failure in a row; the last one goes on."""
ATTEMPTS_MAX = 30
"""Failures in a row after which what waits is given up: two hours and a quarter."""


class Outbox:
    """What waits for one target. At most one message is under way.

    Args:
        node: Name of this node.
        per_minute: Messages a minute, and messages in one burst.
    """

    def __init__(self, node: str, per_minute: int) -> None:
        self.sent = 0
        """Notices that were delivered, those that others stand for included."""
        self.lost = 0
        """Notices that never will be: given up, refused for good, or too many."""
        self.messages = 0
        """Messages that were delivered."""
        self.failures = 0
        """Attempts in a row that failed."""
        self.last_error = ""
        """Of the last attempt; empty when it succeeded."""
        self._node = node
        self._queue: dict[str, Entry] = {}
        self._more = 0
        self._under_way: Message | None = None
        self._not_before = 0.0
        self._per_minute = per_minute
        self._tokens = float(per_minute)
        self._counted_at: float | None = None

    @property
    def queued(self) -> int:
        """Notices that wait or are under way."""
        return _count(self._queue.values()) + (_count(self._under_way.entries) if self._under_way else 0)

    def change_rate(self, per_minute: int) -> None:
        """Take another configuration."""
        self._per_minute = per_minute
        self._tokens = min(self._tokens, float(per_minute))

    def put(self, notice: Notice, now: float) -> None:
        """Let a notice wait to be sent."""
        before = self._queue.pop(notice.key, None)
        if not self._queue and before is None:
            self._not_before = max(self._not_before, now + SETTLE_S)
        self._queue[notice.key] = Entry(notice=notice, times=1 + (before.times if before else 0))
        self._shorten()

    def _shorten(self) -> None:
        while len(self._queue) > QUEUE_MAX:
            # The oldest of the least important: news about the master must not go under in news about a gateway.
            key = min(self._queue, key=lambda each: self._queue[each].notice.severity)
            times = self._queue.pop(key).times
            self._more += times
            self.lost += times

    def hurry(self, now: float) -> None:
        """Do not wait for more, nor for the time of the next attempt: the node is stopping."""
        self._not_before = now

    def is_reached(self, now: float) -> None:
        """Something else has arrived there: earlier failures are history, and what waits is tried now."""
        self.failures, self.last_error = 0, ""
        self._not_before = now

    def next_deadline(self) -> float | None:
        """When `take` has a message; `None`: nothing waits, or one is under way."""
        if not self._queue or self._under_way is not None:
            return None
        return max(self._not_before, self._token_at())

    def take(self, now: float) -> Message | None:
        """The message to send now, if it is time for one. Say what became of it with `delivered` or `failed`."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return None
        self._refill(now)
        # A deadline that was computed may be a rounding error early.
        self._tokens = max(self._tokens - 1.0, 0.0)
        message = Message(node=self._node, entries=tuple(self._queue.values()), more=self._more)
        self._queue, self._more, self._under_way = {}, 0, message
        return message

    def delivered(self, now: float) -> None:
        """The message under way has arrived."""
        message = self._done()
        self.sent += _count(message.entries)
        self.messages += 1
        self.failures, self.last_error = 0, ""
        self._not_before = now

    def failed(self, reason: str, now: float, *, lasting: bool = False) -> None:
        """It has not; what of it is still news is tried again, unless that cannot help."""
        message = self._done()
        self.failures += 1
        self.last_error = reason
        self._not_before = now + RETRY_S[min(self.failures, len(RETRY_S)) - 1]
        if lasting or self.failures % ATTEMPTS_MAX == 0:
            self.lost += _count(message.entries)
            self._more += _count(message.entries) + message.more
            return
        newer = self._queue
        self._queue = {each.notice.key: each for each in message.entries}
        self._more += message.more
        for key, entry in newer.items():
            before = self._queue.pop(key, None)
            self._queue[key] = Entry(notice=entry.notice, times=entry.times + (before.times if before else 0))
        self._shorten()

    def _done(self) -> Message:
        message, self._under_way = self._under_way, None
        assert message is not None, "nothing is under way"
        return message

    def _refill(self, now: float) -> None:
        since, self._counted_at = self._counted_at, now
        if since is not None:
            self._tokens = min(float(self._per_minute), self._tokens + (now - since) * self._per_minute / 60.0)

    def _token_at(self) -> float:
        if self._tokens >= 1.0 or self._counted_at is None:
            return 0.0
        return self._counted_at + (1.0 - self._tokens) * 60.0 / self._per_minute


def _count(entries: Iterable[Entry]) -> int:
    return sum(each.times for each in entries)


def worst(message: Message) -> Severity:
    """The severity of a message."""
    return max((each.notice.severity for each in message.entries), default=Severity.INFO)
