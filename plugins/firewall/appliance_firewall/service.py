"""The service `log` of the firewall: what rules log, and answers about rules and aliases.

Whatever comes in, it takes a bounded share of the processor: a batch of packets, then a pause. What does not fit is
dropped by the kernel, which numbers the packets, so the log tells how many are missing.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import Alarm, Count, GetCounters, Health, Request, RulesetLoaded, Status
from appliance.net.fastpath import SystemCallError
from appliance.net.nflog import Logged, PacketLog
from appliance.plugin.context import Context, NoProvider, ProviderFailed, Started
from appliance_firewall import blocklog, packets, report
from appliance_firewall.clock import local_time
from appliance_firewall.events import GetAliases, GetFirewall, GetFirewallLog, PacketBlocked
from appliance_firewall.settings import FirewallSettings

BATCH = 60
PAUSE_S = 0.03
"""At most some `BATCH` packets are recorded in this time, about 2000 a second. Measured with 50,000 blocked packets a
second that were all logged: 6 % of one processor, and no other task of the node waited for more than a batch."""
RETRY_S = 5.0
"""Until the group is tried again when it could not be opened or read."""
NAMES_S = 1.0
"""How long the name of a device is believed: it may be renamed, and its number may be used again."""
EVENTS_BURST = 10
EVENT_EVERY_S = 10.0
"""`PacketBlocked` after a burst. The bus keeps the last four thousand events: the noise of the Internet, a packet a
second, must not push out why a node became MASTER."""
WAIT_MAX_S = 60.0
COUNTERS_S = 3.0
"""Asking nft for all counters of 50,000 rules takes less."""
COUNTER_PREFIX = "fw_"
DIRECTIONS = {0: "in", 1: "in", 2: "forward", 3: "out", 4: "out"}
"""Of the hooks NF_INET_*."""
FIX = "Stop the other program that reads packet logs (ulogd?), or see the kernel's log; this is tried again."


async def run(ctx: Context, task_status: Started) -> None:
    """Record until told to stop."""
    recorder = Recorder(ctx)
    with (
        ctx.on_reload(recorder.reload),
        ctx.serve(GetFirewall, recorder.rules),
        ctx.serve(GetFirewallLog, recorder.entries),
        ctx.serve(GetAliases, recorder.aliases),
    ):
        recorder.tell()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.record)
            nursery.start_soon(recorder.follow)
            task_status.started()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


def _settings(config: object) -> FirewallSettings:
    assert isinstance(config, FirewallSettings)
    return config


class Recorder:
    """Keeps the log and answers."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._log = blocklog.BlockLog()
        self._rules_since = time.time()
        self._news = trio.Event()
        self._names = DeviceNames()
        self._tickets = Tickets(burst=EVENTS_BURST, every_s=EVENT_EVERY_S)
        self._untold = 0
        self._alarm: Alarm | None = None
        self._status: Status | None = None
        self._logged = ctx.metrics.counter("logged", "Packets that rules logged and that were recorded", ("action",))
        self._suppressed = ctx.metrics.counter("log_suppressed", "Packets that rules logged and that were not recorded")
        self._configure(_settings(ctx.config))

    # ------------------------------------------------------------------------------------ configuration

    def _configure(self, settings: FirewallSettings) -> None:
        self._settings = settings
        self._devices = dict(settings.devices)
        self._ids = {rule.counter: rule.id for rule in settings.rules if rule.counter}
        self._known = frozenset(rule.id for rule in settings.rules)

    async def reload(self, config: object) -> None:
        """Other rules, aliases and devices; what is recorded stays."""
        self._configure(_settings(config))
        self.tell()

    def tell(self) -> None:
        """One line for `show services`."""
        count = sum(not rule.disabled for rule in self._settings.rules)
        status = Status(health=Health.OK, summary=f"{count} rules; what they log is recorded")
        if self._alarm is not None:
            status = Status(health=Health.WARN, summary=self._alarm.what)
        if status != self._status:
            self._status = status
            self._ctx.publish(status)

    # ------------------------------------------------------------------------------------ recording

    async def follow(self) -> None:
        """Remember since when the rules are those of now: what was blocked before may have been passed since."""
        with self._ctx.subscribe(RulesetLoaded) as loads:
            async for _ in loads:
                self._rules_since = time.time()

    async def record(self) -> None:
        """Open the group, record what comes, begin again after a failure."""
        while True:
            try:
                with PacketLog(self._settings.group) as log:
                    self._recovered()
                    await self._drain(log)
            except (SystemCallError, OSError) as error:
                self._failed(error)
            await trio.sleep(RETRY_S)

    async def _drain(self, log: PacketLog) -> None:
        while True:
            await trio.lowlevel.wait_readable(log)
            for logged in log.drain(BATCH):
                self._take(logged)
            await trio.sleep(PAUSE_S)

    def _take(self, logged: Logged) -> None:
        if logged.missed:
            self._log.skip(logged.missed)
            self._suppressed.inc(logged.missed)
        counter, _, action = logged.prefix.partition(":")
        # Not known is a rule from before a reload, or one of another table.
        rule = self._ids.get(counter, counter.removeprefix(COUNTER_PREFIX))
        action = action if action in blocklog.ACTIONS else "block"
        direction = DIRECTIONS.get(logged.hook, "in")
        near, far = (logged.outdev, 0) if direction == "out" else (logged.indev, logged.outdev)
        entry = self._log.add(
            wall=logged.timestamp or time.time(),
            rule=rule,
            action=action,
            direction=direction,
            interface=self._interface(near),
            out_interface=self._interface(far),
            packet=packets.parse(logged.payload),
        )
        self._logged.inc(action=action)
        self._news.set()
        if action != "pass":
            self._publish(entry)

    def _interface(self, index: int) -> str:
        if not index:
            return ""
        name = self._names.of(index, trio.current_time())
        return self._devices.get(name, name)

    def _publish(self, entry: blocklog.Entry) -> None:
        if not self._tickets.take(trio.current_time()):
            self._untold += 1 + entry.suppressed
            return
        packet = entry.packet
        self._ctx.publish(
            PacketBlocked(
                rule=entry.rule, action=entry.action, direction=entry.direction, interface=entry.interface,
                protocol=packet.protocol, source=str(packet.source or ""), destination=str(packet.destination or ""),
                source_port=packet.source_port, destination_port=packet.destination_port,
                suppressed=self._untold + entry.suppressed,
            )
        )  # fmt: skip
        self._untold = 0

    def _failed(self, error: OSError | SystemCallError) -> None:
        what = error.message if isinstance(error, SystemCallError) else str(error)
        fix = error.hint if isinstance(error, SystemCallError) and error.code == errno.EPERM else FIX
        alarm = Alarm(key="firewall/log", what=f"blocked packets are not recorded: {what}", fix=fix)
        if alarm != self._alarm:
            self._alarm = alarm
            self._ctx.log.warning("packet_log_failed", why=what)
            self._ctx.publish(alarm)
            self.tell()

    def _recovered(self) -> None:
        if self._alarm is not None:
            gone, self._alarm = self._alarm, None
            self._ctx.publish(Alarm(key=gone.key, active=False, what=gone.what, fix=gone.fix))
            self.tell()

    # ------------------------------------------------------------------------------------ answers

    async def rules(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """For `GetFirewall`."""
        assert isinstance(request, GetFirewall)
        counts: dict[str, Count] | None = None
        with trio.move_on_after(COUNTERS_S):
            try:
                counts = dict(await self._ctx.call(GetCounters()))
            except (NoProvider, ProviderFailed, ApplianceError) as error:
                self._ctx.log.warning("counters_unknown", why=str(error))
        return report.rules(self._settings, counts, interface=request.interface, limit=request.limit, now=local_time())

    async def entries(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """For `GetFirewallLog`."""
        assert isinstance(request, GetFirewallLog)
        test = blocklog.parse_filter(request.words, interfaces=set(self._devices.values()), rules=self._known)
        if request.after is None:
            return self._answer(self._log.last(test, request.limit), request.limit)
        # A number that is not there yet is from before the service was restarted.
        after = request.after if request.after <= self._log.recorded else 0
        found = self._log.since(after, test, request.limit)
        with trio.move_on_after(min(request.wait_s, WAIT_MAX_S)):
            while not found:
                after, self._news = self._log.recorded, trio.Event() if self._news.is_set() else self._news
                await self._news.wait()
                found = self._log.since(after, test, request.limit)
        return self._answer(found, request.limit)

    def _answer(self, found: list[blocklog.Entry], limit: int) -> dict[str, Any]:
        return {
            "node": self._settings.node,
            "recording": self._alarm is None,
            "error": None if self._alarm is None else self._alarm.what,
            "remedy": None if self._alarm is None else self._alarm.fix,
            "recorded": self._log.recorded,
            "suppressed": self._log.suppressed,
            "rules_since": report.rfc3339(self._rules_since),
            "last_seq": found[-1].seq if len(found) == limit else self._log.recorded,
            "entries": [report.entry(entry) for entry in found],
        }

    async def aliases(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """For `GetAliases`."""
        assert isinstance(request, GetAliases)
        return report.aliases(self._settings, request.name)


class DeviceNames:
    """Names of devices by their numbers, asked of the kernel and believed for `NAMES_S`."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._until = 0.0

    def of(self, index: int, now: float) -> str:
        """The name, or ``#7`` when there is no such device any more."""
        if now >= self._until:
            self._names.clear()
            self._until = now + NAMES_S
        name = self._names.get(index)
        if name is None:
            try:
                name = socket.if_indextoname(index)
            except OSError:
                name = f"#{index}"
            self._names[index] = name
        return name


class Tickets:
    """So many at once, then one every so often."""

    def __init__(self, *, burst: int, every_s: float) -> None:
        self._burst, self._every_s = burst, every_s
        self._left, self._at = float(burst), 0.0

    def take(self, now: float) -> bool:
        """Whether there is one."""
        self._left = min(self._burst, self._left + (now - self._at) / self._every_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
