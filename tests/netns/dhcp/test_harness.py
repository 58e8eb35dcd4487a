"""The clients of these tests see what is wrong: otherwise the tests of the product would prove nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from appliance.lab import Lab, Software, Topology
from appliance.lab.lab import unique_name
from appliance.lab.waiting import wait_until
from tests.netns.dhcp import frames, plainkea
from tests.netns.dhcp.crowds import Hold, Ledger, Renewal, crowded
from tests.netns.dhcp.realclients import machines

pytestmark = pytest.mark.netns

MAC = b"\x02\xdc\x00\x00\x00\x01"
POOL = plainkea.Pool(
    device="lan0", subnet="192.168.1.0/24", first="192.168.1.110", last="192.168.1.240", lease_s=20,
    router="192.168.1.1",
)  # fmt: skip
STARTED_S = 20.0


def serve(lab: Lab, node: str) -> None:
    """A server that knows nothing of any other."""
    folder = lab.node_dir(node) / "kea"
    lab.spawn(node, plainkea.command(folder, plainkea.config(folder, POOL)), log=lab.node_dir(node) / "kea.log")
    wait_until((folder / "ctl").exists, f"Kea on {node}", STARTED_S)


@contextmanager
def one_server() -> Iterator[Lab]:
    with Lab(Topology(name=unique_name("h"), ipv6=False), software=Software.BARE) as lab:
        serve(lab, "fw1")
        yield lab


def ledger(*holds: Hold, renewals: tuple[Renewal, ...] = ()) -> Ledger:
    return Ledger(clients=2, offers=(), waiting=(), holds=holds, renewals=renewals, refused=(), masters=(),
                  frames_lost=0, ended_at=100.0)  # fmt: skip


def test_a_successor_without_leases_gives_addresses_twice() -> None:
    with one_server() as lab, crowded(lab, "--new", 20, "--renewing", 10, "--renew-every", 1) as clients:
        lab.power_off("fw1")
        serve(lab, "fw2")
        time.sleep(4.0)
        seen = clients.stop()
    assert seen.frames_lost == 0
    assert seen.duplicates()


def test_clients_of_one_server_get_addresses_once_and_keep_them() -> None:
    with one_server() as lab, crowded(lab, "--new", 20, "--renewing", 20, "--renew-every", 1) as clients:
        time.sleep(3.0)
        seen = clients.stop()
    assert (seen.duplicates(), seen.moved(), seen.failed_renewals(), seen.frames_lost) == ([], [], [], 0)
    assert seen.clients >= 40
    assert {each.outcome for each in seen.renewals} <= {"renewed", "open"}
    assert len({each.client for each in seen.renewals}) == 20


def test_every_client_that_people_have_gets_an_address_and_renews_it() -> None:
    with one_server() as lab, machines(lab) as seen:
        for kind, machine in seen.items():
            wait_until(lambda m=machine: len(m.leases(server="192.168.1.2")) >= 2, f"{kind} renews", 40.0)  # type: ignore[misc]
            assert len(machine.addresses()) == 1
            assert machine.losses() == []
            assert {each.router for each in machine.leases()} == {"192.168.1.1"}


def test_holds_that_overlap_are_duplicates_and_those_that_follow_each_other_are_not() -> None:
    first, second = Hold(1.0, 5.0, 1, "192.168.1.9"), Hold(4.0, 6.0, 2, "192.168.1.9")
    assert ledger(first, second).duplicates() == [(first, second)]
    assert ledger(first, Hold(5.0, 6.0, 2, "192.168.1.9")).duplicates() == []
    assert ledger(first, Hold(4.0, 6.0, 1, "192.168.1.9")).duplicates() == []
    assert ledger(first, Hold(4.0, 6.0, 2, "192.168.1.8")).duplicates() == []


def test_a_client_that_comes_back_with_another_address_has_moved() -> None:
    first, second = Hold(1.0, 5.0, 1, "192.168.1.9"), Hold(6.0, 7.0, 1, "192.168.1.8")
    assert ledger(first, second).moved() == [(first, second)]


def test_renewals_fail_when_they_are_refused_or_never_answered() -> None:
    good = Renewal(1.0, 1.1, 1, "renewed", "192.168.1.2")
    late, recent = Renewal(90.0, 100.0, 1, "open", ""), Renewal(97.0, 100.0, 1, "open", "")
    refused = Renewal(2.0, 2.1, 2, "refused", "")
    assert ledger(renewals=(good, late, recent, refused)).failed_renewals() == [late, refused]


def test_a_question_is_a_well_formed_message() -> None:
    question = frames.Question(kind=frames.DISCOVER, xid=7, mac=MAC, secs=3, hostname="pc",
                               requested=IPv4Address("192.168.1.9"))  # fmt: skip
    frame = question.frame()
    message = frame[42:]
    assert frame[:14] == frames.BROADCAST + MAC + b"\x08\x00"
    assert frames.checksum(frame[14:34]) == 0
    assert frame[34:38] == bytes((0, 68, 0, 67))
    assert message[:12] == bytes((1, 1, 6, 0, 0, 0, 0, 7, 0, 3, 0x80, 0))
    options = frames.read_options(message[240:])
    assert (options[53], options[12], options[50], options[61]) == (
        b"\x01",
        b"pc",
        bytes((192, 168, 1, 9)),
        b"\x01" + MAC,
    )


def test_nothing_but_a_reply_is_read_as_one() -> None:
    asked = frames.Question(kind=frames.DISCOVER, xid=7, mac=MAC).frame()
    assert frames.read_reply(asked) is None
    for length in range(len(asked)):
        assert frames.read_reply(asked[:length]) is None
