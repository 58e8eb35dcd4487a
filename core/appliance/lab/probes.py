"""Starts traffic probes in a lab and collects what they measured."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from appliance.errors import ApplianceError
from appliance.lab import netns, waiting
from appliance.lab.measure import ProbeKind, ProbeResult

if TYPE_CHECKING:
    from appliance.lab.lab import Lab

FLOWING_DEADLINE_S = 10.0
"""A Python start on a loaded machine and one lost neighbour discovery fit in."""
RESULT_DEADLINE_S = 10.0
"""Beyond the time the probe was given: it lingers half a second for late answers."""
SECONDS_MAX = 3600.0


class ProbeError(ApplianceError):
    """A probe could not do its work."""


class RunningProbe:
    """A probe at work. As a context manager it is ended when the block ends."""

    def __init__(self, process: subprocess.Popen[str], kind: ProbeKind, seconds: float) -> None:
        self._process = process
        self._kind = kind
        self._deadline = time.monotonic() + seconds + RESULT_DEADLINE_S
        self._result: ProbeResult | None = None
        self._flowing = False

    def wait_flowing(self, deadline_s: float = FLOWING_DEADLINE_S) -> Self:
        """Until the first answer has arrived."""
        while not self._flowing:
            self._take(self._line(deadline_s, "its first answer"))
            if self._result is not None and not self._flowing:
                raise ProbeError(f"the {self._kind} probe got no answer at all", hint=self._result.sentence())
        return self

    def stop(self) -> ProbeResult:
        """Ends it early; the result is that of the time until now."""
        if self._process.poll() is None:
            self._process.terminate()
        return self.result()

    def result(self) -> ProbeResult:
        """Waits for its end."""
        while self._result is None:
            self._take(self._line(max(0.1, self._deadline - time.monotonic()), "its result"))
        self.close()
        return self._result

    def close(self) -> None:
        """Kills it if it still runs."""
        if self._process.poll() is None and self._result is None:
            self._process.kill()
        self._process.wait(timeout=RESULT_DEADLINE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, deadline_s: float, what: str) -> dict[str, Any]:
        stream = self._process.stdout
        assert stream is not None
        # A line is far smaller than the pipe and written at once: readable means that all of it is there.
        ready, _, _ = select.select([stream], [], [], deadline_s)
        line = stream.readline() if ready else ""
        if not line:
            self._process.kill()
            why = "it ended" if ready else f"waited {deadline_s:.0f} s"
            raise ProbeError(f"the {self._kind} probe did not report {what} ({why})", hint="Does the network work?")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def _take(self, facts: dict[str, Any]) -> None:
        if "error" in facts:
            raise ProbeError(str(facts["error"]), hint="Does the network work? Are the routes there?")
        if "flowing" in facts:
            self._flowing = True
        else:
            self._result = ProbeResult.from_json(facts)


def start(
    lab: Lab,
    kind: ProbeKind | str,
    *,
    seconds: float,
    source: str = "client",
    target: str = "server",
    family: int = 4,
    rate: int = 0,
    address: str = "",
) -> RunningProbe:
    """Starts a probe from one machine to another, through the firewalls.

    Args:
        lab: The lab, which is up.
        kind: Which traffic.
        seconds: How long it runs unless it is stopped.
        source: Where the traffic starts.
        target: Where it is answered.
        family: 4 or 6.
        rate: Packets, questions or connections per second; 0 is the kind's own.
        address: Destination address; the default is the target's own.
    """
    chosen = ProbeKind(kind)
    if not 0 < seconds <= SECONDS_MAX:
        raise ProbeError(f"a probe of {seconds} s is not possible", hint=f"Use up to {SECONDS_MAX:.0f} s.")
    if chosen is not ProbeKind.PING:
        ensure_server(lab, target, "udp" if chosen is ProbeKind.UDP else "tcp")
    argv = [sys.executable, "-m", "appliance.lab.probe", str(chosen)]
    argv += ["--address", address or address_of(lab, target, family), "--seconds", str(seconds), "--rate", str(rate)]
    return RunningProbe(lab.popen(source, *argv), chosen, seconds)


def address_of(lab: Lab, target: str, family: int) -> str:
    """The address of a machine outside the sync network; the server's is its WAN address."""
    for cable in lab.topology.cables_of(target):
        network = cable.network
        if not network.host:
            continue
        if target in lab.topology.node_names:
            ordinal = lab.topology.ordinal(target)
            return (network.node6(ordinal) if family == 6 else network.node4(ordinal)).partition("/")[0]
        if family == 4:
            return f"{network.prefix4}.{network.host4}"
        if network.prefix6 and lab.topology.ipv6:
            return f"{network.prefix6}::{network.host6}"
    raise ProbeError(f"{target} has no IPv{family} address", hint="Choose the other family, or another machine.")


def ensure_server(lab: Lab, target: str, half: str) -> None:
    """Starts the far end on a machine unless it runs there."""
    log = lab.directory / f"probe-{half}-{target}.log"
    module = "appliance.lab.probe_server"
    running = (netns.command_line(pid) for pid in netns.pids(lab.topology.namespace(target)))
    if not any(line.endswith(f"{module} {half}") for line in running):
        log.unlink(missing_ok=True)
        lab.spawn(target, [sys.executable, "-m", module, half], log=log)
    waiting.wait_until(
        lambda: log.exists() and "ready" in log.read_text(), f"the {half} probe server runs on {target} ({log})"
    )
