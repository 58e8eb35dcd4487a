"""Takeovers of the DHCP service and the way back, again and again, while clients come, renew and go.

Also a program, for more of them than a test has time for: ``python cycles.py [NUMBER]``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from appliance.lab import Lab
from appliance.lab.waiting import is_all
from tests.netns.dhcp.crowds import Clients, Ledger, crowded, favour
from tests.netns.dhcp.largelan import STEP_S, large_lan, pair, wait_in_step

NEW_PER_S, RENEWING, STAY_S = 50, 200, 12
"""New clients release their lease after a while: addresses are given again, to others, by another node."""
CYCLES_MAX_S = 3000


def death(lab: Lab) -> None:
    lab.power_off("fw1")
    _fw2_serves(lab)
    time.sleep(1.0)
    lab.power_on("fw1")


def planned(lab: Lab) -> None:
    lab.exec("fw1", "appliance", "ha", "switchover")
    _fw2_serves(lab)
    time.sleep(1.0)
    lab.exec("fw2", "appliance", "ha", "switchover")


def cable(lab: Lab) -> None:
    lab.pull("fw1", "lan")
    _fw2_serves(lab)
    time.sleep(1.0)
    lab.plug("fw1", "lan")


def killed(lab: Lab) -> None:
    lab.kill("fw1", "main")
    time.sleep(1.0)


FAULTS: tuple[Callable[[Lab], None], ...] = (death, planned, cable, killed)


def _fw2_serves(lab: Lab) -> None:
    lab.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 has everything", STEP_S)


def run(lab: Lab, clients: Clients, faults: tuple[Callable[[Lab], None], ...], number: int) -> Ledger:
    """So many cycles; each begins when fw1 serves and both have all leases."""
    for fault in islice(cycle(faults), number):
        fault(lab)
        wait_in_step(lab)
        time.sleep(1.0)
    return clients.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What has to be zero, and what has to be short."""

    clients: int
    duplicates: int
    moved: int
    failed_renewals: int
    takeovers: int
    first_offer_s: tuple[float, ...]
    """From each transition of CARP to the first OFFER of the new master."""
    longest_wait_s: float
    longest_renewal_s: float

    @classmethod
    def of(cls, ledger: Ledger) -> Summary:
        """Reads the books of the clients."""
        assert ledger.frames_lost == 0, f"the clients lost {ledger.frames_lost} frames: nothing can be said"
        found = [seconds for _, seconds in ledger.takeovers()]
        return cls(
            clients=ledger.clients,
            duplicates=len(ledger.duplicates()),
            moved=len(ledger.moved()),
            failed_renewals=len(ledger.failed_renewals()),
            takeovers=len(found),
            first_offer_s=tuple(found),
            longest_wait_s=ledger.longest_wait(0, ledger.ended_at - 1),
            longest_renewal_s=ledger.longest_renewal(),
        )

    def __str__(self) -> str:
        offers = self.first_offer_s or (0.0,)
        return (
            f"{self.takeovers} takeovers, {self.clients} clients: {self.duplicates} duplicates, {self.moved} moved, "
            f"{self.failed_renewals} renewals failed; first OFFER after {statistics.median(offers):.3f} s (median), "
            f"{max(offers):.3f} s at most; longest wait {self.longest_wait_s:.2f} s, "
            f"longest renewal {self.longest_renewal_s:.2f} s"
        )


def main() -> None:
    """Entry point."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    crowd = ("--new", NEW_PER_S, "--renewing", RENEWING, "--stay", STAY_S, "--seconds", CYCLES_MAX_S)
    with large_lan() as lab:
        pair(lab)
        with crowded(lab, *crowd) as clients:
            favour(lab)
            print(Summary.of(run(lab, clients, FAULTS, number)), flush=True)


if __name__ == "__main__":
    main()
