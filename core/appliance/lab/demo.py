"""``appliance lab demo``: a cluster fails over while a client looks on.

Every step checks that what it announces has really happened; the exit status is 0 only if all did.
Whatever happens, also Ctrl-C, the lab is taken down at the end.
"""

from __future__ import annotations

import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.lab.commands import open_shell, wait_for_enter
from appliance.lab.config import NodeSettings
from appliance.lab.lab import Lab, unique_name
from appliance.lab.measure import ProbeKind, ProbeResult
from appliance.lab.probes import RunningProbe
from appliance.lab.topology import Topology
from appliance.lab.waiting import describe

PICTURE = """\
                 server 198.51.100.1
                        |
  WAN  -----+-----------+-----------+-----  198.51.100.0/24   virtual 198.51.100.200
            |                       |
          fw1 .201 ==== sync ==== fw2 .202
            |                       |
  LAN  -----+-----------+-----------+-----  192.168.1.0/24    virtual 192.168.1.1
                        |
                 client 192.168.1.100"""
BEFORE_S = 1.0
"""Traffic that flows undisturbed before something happens."""
AFTER_S = 2.0
"""Traffic after it: TCP may wait for its next retransmission."""
PROBE_MAX_S = 90.0
INTERRUPTED = 130
QUIET_LOSS_MAX = 0.01
"""Undisturbed traffic may lose this share on a busy machine before the demonstration is not believed."""


class DemoError(ApplianceError):
    """A step did not do what it announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One row of the table at the end."""

    title: str
    udp4: ProbeResult
    udp6: ProbeResult
    download: ProbeResult
    interactive: ProbeResult

    @property
    def all(self) -> tuple[ProbeResult, ...]:
        """All measurements."""
        return (self.udp4, self.udp6, self.download, self.interactive)


class Demo:
    """One run."""

    def __init__(
        self,
        *,
        pause: bool = False,
        shell_on_error: str | None = None,
        pcap: bool = False,
        keep_logs: Path | None = None,
        profile: str = "book",
        colour: bool = False,
    ) -> None:
        self._pause = pause
        self._shell_on_error = shell_on_error
        self._colour = colour
        settings = NodeSettings(profile=profile, pfsync={}, firewall=True)
        self._lab = Lab(Topology(name=unique_name("demo")), settings=settings, pcap=pcap, keep_logs=keep_logs)
        self._scenes: list[Scene] = []
        self._step = 0

    def run(self) -> int:
        """Exit status: 0 when every step happened, 1 when one did not, 130 when interrupted."""
        previous = signal.signal(signal.SIGTERM, as_interrupt)
        try:
            self._play()
        except KeyboardInterrupt:
            print("\nInterrupted.")
            status = INTERRUPTED
        except (ApplianceError, subprocess.SubprocessError) as error:
            print(f"\nThe demonstration failed in step {self._step}: {error}")
            self._look_around()
            status = 1
        else:
            status = 0
        finally:
            clean = self._clean_up()
            signal.signal(signal.SIGTERM, previous)
        return status if clean else 1

    def _play(self) -> None:
        self._build()
        self._undisturbed()
        self._power_failure()
        self._power_back()
        self._cable()
        self._switchover()
        self._table()

    # ---- the steps -------------------------------------------------------------------------------

    def _build(self) -> None:
        self._say("Build the example cluster on this machine")
        print(textwrap.indent(PICTURE, "    ") + "\n")
        start = time.monotonic()
        self._lab.up()
        print(
            f"  Networks and nodes were built in {(time.monotonic() - start) * 1000:.0f} ms. Each firewall is its own"
        )
        print("  `appliance run` in its own network namespace. They now listen before anybody takes an address.")
        seen = self._lab.wait_settled("fw1")
        print(f"  After {time.monotonic() - start:.1f} s: {describe(seen)}.\n")
        for node in self._lab.topology.node_names:
            self._run_on(node, "appliance", "show", "ha")
        print("  The kernel's connection states of either node are in the other one's kernel, encrypted on their way:")
        self._run_on("fw1", "appliance", "show", "pfsync")

    def _undisturbed(self) -> None:
        self._say("Send traffic from the client through the cluster to the server")
        print("  1000 numbered datagrams per second over IPv4, as many over IPv6, a download, and a session of small")
        print("  questions and answers. First without any disturbance:")
        scene = self._traffic("nothing happens", lambda: None)
        for result in (scene.udp4, scene.udp6):
            _require(result.sent > 0, "no traffic was sent")
            _require(
                result.lost <= result.sent * QUIET_LOSS_MAX, f"traffic is lost without a cause: {result.sentence()}"
            )

    def _power_failure(self) -> None:
        self._say("Take the power of the master, fw1: no farewell, all its cables dead")

        def happen() -> None:
            self._lab.power_off("fw1")
            self._lab.wait_settled("fw2")

        scene = self._traffic("power failure of the master", happen)
        _require(scene.udp4.lost > 0, "the client lost nothing although the master had no power")
        _require(not self._lab.has_power("fw1"), "fw1 still has power")
        self._run_on("fw2", "appliance", "show", "ha")

    def _power_back(self) -> None:
        self._say("Give fw1 its power back: it boots, learns who is master, and takes over again (preempt)")

        def happen() -> None:
            self._lab.power_on("fw1")
            self._lab.wait_settled("fw1")

        self._traffic("fw1 returns", happen)

    def _cable(self) -> None:
        self._say("Pull one cable: the WAN of the master")

        def happen() -> None:
            self._lab.pull("fw1", "wan")
            self._lab.wait_for(_all_master("fw2"), "fw2 took over everything, the LAN too")

        self._traffic("WAN cable of the master pulled", happen)
        print("\n  What fw1 says about it:")
        self._run_on("fw1", "appliance", "show", "ha")
        print("  The cable is plugged in again.")
        self._lab.plug("fw1", "wan")
        print(f"  {describe(self._lab.wait_settled('fw1'))}.")

    def _switchover(self) -> None:
        self._say("Planned switchover: fw1 hands everything to fw2")

        def happen() -> None:
            self._run_on("fw1", "appliance", "ha", "switchover")
            self._lab.wait_settled("fw2")

        self._traffic("planned switchover", happen)

    def _table(self) -> None:
        self._say("What the client noticed")
        rows = [("", "datagrams lost", "longest gap", "IPv6 gap", "download pause", "slowest answer", "sessions")]
        for scene in self._scenes:
            alive = scene.download.survived and scene.interactive.survived
            rows.append(
                (
                    scene.title,
                    f"{scene.udp4.lost} of {scene.udp4.sent}",
                    f"{scene.udp4.longest_gap_ms:.0f} ms",
                    f"{scene.udp6.longest_gap_ms:.0f} ms",
                    f"{scene.download.longest_gap_ms:.0f} ms",
                    f"{scene.interactive.longest_gap_ms:.0f} ms",
                    "survived" if alive else "broken",
                )
            )
        print(table(rows))

    # ---- doing and showing -------------------------------------------------------------------------

    def _traffic(self, title: str, happen: Callable[[], None]) -> Scene:
        """Sends all kinds of traffic while something happens, and measures."""
        with ExitStack() as stack:
            wanted = ((ProbeKind.UDP, 4), (ProbeKind.UDP, 6), (ProbeKind.DOWNLOAD, 4), (ProbeKind.INTERACTIVE, 4))
            running: list[RunningProbe] = []
            for kind, family in wanted:
                running.append(stack.enter_context(self._lab.probe(kind, seconds=PROBE_MAX_S, family=family)))
            for probe in running:
                probe.wait_flowing()
            time.sleep(BEFORE_S)
            happen()
            time.sleep(AFTER_S)
            udp4, udp6, download, interactive = (probe.stop() for probe in running)
        scene = Scene(title=title, udp4=udp4, udp6=udp6, download=download, interactive=interactive)
        self._scenes.append(scene)
        print(f"  datagrams IPv4: {udp4.sentence()}")
        print(f"  datagrams IPv6: {udp6.sentence()}")
        print(f"  download:       {download.sentence()}")
        print(f"  session:        slowest answer {interactive.slowest_ms:.0f} ms, {_survival(interactive)}")
        for result in scene.all:
            _require(result.survived, f"the {result.kind} traffic did not survive: {result.sentence()}")
        return scene

    def _run_on(self, node: str, *argv: str) -> None:
        print(f"  {node}$ {' '.join(argv)}")
        print(textwrap.indent(self._lab.exec(node, *argv).stdout.rstrip(), "    ") + "\n")

    def _say(self, text: str) -> None:
        self._step += 1
        if self._pause and self._step > 1:
            wait_for_enter("  ")
        bold, plain = ("\033[1m", "\033[0m") if self._colour else ("", "")
        print(f"\n{bold}{self._step}. {text}{plain}", flush=True)

    def _look_around(self) -> None:
        if self._shell_on_error is not None and self._lab.has_power(self._shell_on_error):
            open_shell(self._lab, self._shell_on_error)

    def _clean_up(self) -> bool:
        """Takes everything down; whether nothing is left."""
        with uninterrupted():
            running = self._lab.processes()
            if self._lab.keep_logs is not None:
                print(f"\nLogs are kept in {self._lab.keep_logs / self._lab.name}.")
            self._lab.down()
            left = self._lab.remains(running)
        if left:
            print(f"\nLeft behind: {', '.join(left)}")
            return False
        print("\nEverything is removed: no namespace, process or file is left.")
        return True


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "   ".join(cells).rstrip())
    return "\n".join(lines)


def _all_master(node: str) -> Callable[..., bool]:
    from appliance.lab.waiting import is_all

    return lambda seen: is_all(seen.get(node), "MASTER")


def _survival(result: ProbeResult) -> str:
    return "survived" if result.survived else "did not survive"


def _require(happened: bool, otherwise: str) -> None:
    if not happened:
        raise DemoError(otherwise, hint="Run it with --keep-logs DIR to see the nodes' logs.")


def as_interrupt(number: int, frame: object) -> None:
    """A signal handler: TERM ends in an orderly way, as Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """An impatient second Ctrl-C must not leave anything behind."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
