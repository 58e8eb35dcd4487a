"""One target at run time: its outbox, and the task that empties it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, assert_never

import trio

from appliance.events import Alarm, Event
from appliance.plugin import Logger
from appliance_notify import mail, syslog, webhook
from appliance_notify.dialing import Dialer
from appliance_notify.formats import rfc3339
from appliance_notify.machine import Outbox
from appliance_notify.settings import Mail, Syslog, Target, Webhook
from appliance_notify.vocabulary import DELIVER_S, FAILING, DeliveryError, Message, Notice

ALARM = "notify"


async def deliver(target: Target, message: Message, dialer: Dialer) -> None:
    """Deliver a message within `DELIVER_S`.

    Raises:
        DeliveryError: It was not.
    """
    try:
        with trio.fail_after(DELIVER_S):
            match target:
                case Webhook():
                    await webhook.deliver(target, message, dialer)
                case Mail():
                    await mail.deliver(target, message, dialer)
                case Syslog():
                    await syslog.deliver(target, message, dialer)
                case _:
                    assert_never(target)
    except trio.TooSlowError:
        raise DeliveryError(f"{target.where} did not take it within {DELIVER_S:g} s") from None


class Delivery:
    """Notices for one target, on their way.

    Args:
        target: Where they go.
        dialer: Opens connections.
        node: Name of this node.
        log: Where failures are noted.
        publish: For the alarm about a target that cannot be reached.
        count: Is told how many notices of the target were sent, and how many are lost.
    """

    def __init__(
        self,
        target: Target,
        dialer: Dialer,
        *,
        node: str,
        log: Logger,
        publish: Callable[[Event], None],
        count: Callable[[str, int, int], None],
    ) -> None:
        self.target = target
        self.outbox = Outbox(node, target.wanted.per_minute)
        self.scope = trio.CancelScope()
        self._dialer = dialer
        self._log, self._publish, self._count = log, publish, count
        self._changed = trio.Event()
        self._told = (0, 0)
        self._last_sent: float | None = None
        self._is_alarmed = False

    @property
    def alarm_key(self) -> str:
        """Of the alarm about this target, which is not sent to the target itself."""
        return f"{ALARM}/{self.target.name}"

    @property
    def is_failing(self) -> bool:
        """Whether several attempts in a row have failed."""
        return self.outbox.failures >= FAILING

    def put(self, notice: Notice) -> None:
        """Send it if the target wants it."""
        if self.target.wanted.wants(notice) and notice.key != self.alarm_key:
            self.outbox.put(notice, trio.current_time())
            self._tell()
            self.wake()

    def wake(self) -> None:
        """Look at the outbox again."""
        self._changed.set()

    def change(self, target: Target, dialer: Dialer) -> None:
        """Take another configuration; what waits is sent by it."""
        self.target, self._dialer = target, dialer
        self.outbox.change_rate(target.wanted.per_minute)
        self.outbox.hurry(trio.current_time())
        self.wake()

    def is_reached(self) -> None:
        """Something else has arrived there."""
        self.outbox.is_reached(trio.current_time())
        self._tell()
        self.judge()
        self.wake()

    async def run(self) -> None:
        """Empty the outbox for ever."""
        with self.scope:
            while True:
                await self._wait()
                await self.step()

    async def _wait(self) -> None:
        deadline = self.outbox.next_deadline()
        with trio.CancelScope(deadline=math.inf if deadline is None else deadline):
            await self._changed.wait()
        self._changed = trio.Event()

    async def step(self) -> None:
        """Deliver one message if it is time for one."""
        message = self.outbox.take(trio.current_time())
        if message is None:
            return
        try:
            await deliver(self.target, message, self._dialer)
        except DeliveryError as error:
            self.outbox.failed(error.reason, trio.current_time(), lasting=error.lasting)
            self._log.warning("notify_failed", target=self.target.name, reason=error.reason)
        except BaseException:
            # Cancelled on the way: whether it arrived is not known.
            self.outbox.failed("interrupted", trio.current_time())
            raise
        else:
            self.outbox.delivered(trio.current_time())
            self._last_sent = time.time()
        self._tell()
        self.judge()

    def _tell(self) -> None:
        before, self._told = self._told, (self.outbox.sent, self.outbox.lost)
        self._count(self.target.name, self._told[0] - before[0], self._told[1] - before[1])

    def judge(self, *, gone: bool = False) -> None:
        """Raise the alarm, or clear it."""
        is_bad = self.is_failing and not gone
        if is_bad == self._is_alarmed:
            return
        self._is_alarmed = is_bad
        self._publish(
            Alarm(
                key=self.alarm_key,
                active=is_bad,
                what=f"the notify target {self.target.name} cannot be reached: {self.outbox.last_error}"
                if is_bad
                else f"the notify target {self.target.name} cannot be reached",
                fix=f"'appliance notify test {self.target.name}' tries again and says why.",
            )
        )

    def row(self) -> dict[str, Any]:
        """How it is, for `show notify`."""
        outbox, wanted = self.outbox, self.target.wanted
        return {
            "name": self.target.name,
            "kind": self.target.kind,
            "where": self.target.where,
            "classes": sorted(wanted.classes),
            "severity": str(wanted.severity),
            "sent": outbox.sent,
            "messages": outbox.messages,
            "lost": outbox.lost,
            "queued": outbox.queued,
            "failures": outbox.failures,
            "last_sent": None if self._last_sent is None else rfc3339(self._last_sent),
            "last_error": outbox.last_error or None,
        }
