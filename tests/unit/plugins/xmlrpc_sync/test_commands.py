"""The commands of the synchronization, with a service that answers what the test wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.events import Event, Health
from appliance.events.config import ConfigState, GetConfig, Hidden
from appliance.plugin import Finding, Node, NoProvider
from appliance_xmlrpc_sync import checks, commands
from appliance_xmlrpc_sync.events import GetReceived
from appliance_xmlrpc_sync.facts import utc_offset_s
from appliance_xmlrpc_sync.requests import DiffSync, GetSync, SyncNow

pytestmark = pytest.mark.usefixtures("autojump_clock")

ROW: dict[str, Any] = {
    "name": "fw2", "state": "in-sync", "error": None, "remedy": None, "why": "", "skew_s": 0.2, "utc_offset_s": None,
    "addresses": {"lan": ["192.168.1.3/24"], "wan": ["198.51.100.202/24", "fe80::3/64"], "own": ["10.9.9.9/24"]},
}  # fmt: skip
SENDING: dict[str, Any] = {"role": "primary", "state": "in-sync", "peer": "fw2", "error": None, "peers": [ROW]}
IDLE: dict[str, Any] = {"role": "secondary", "state": "off", "peer": "", "error": None, "remedy": None, "peers": []}


class Inside:
    """A `CommandContext` and `Probe`."""

    node = Node(name="fw1", role="primary")
    exit_code = 0

    def __init__(self, answers: dict[type, Any] | None = None, *, hangs: bool = False) -> None:
        self.answers, self.hangs = answers or {}, hangs
        self.asked: list[object] = []

    async def call(self, request: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        if self.hangs:
            await trio.sleep_forever()
        if type(request) not in self.answers:
            raise NoProvider("nobody")
        return self.answers[type(request)]

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return ()

    async def output(self, *argv: str) -> str:
        raise AssertionError("checks ask the node only")

    def read(self, path: str) -> str:
        raise AssertionError("checks ask the node only")


def section(*, at: float, drift: bool = False, origin: str = "fw1") -> dict[str, Any]:
    return {"digest": "a", "origin": origin, "at": at, "drift": drift}


async def shown(sections: dict[str, Any], phase: str = "idle") -> dict[str, Any]:
    return await commands.show_sync(Inside({GetSync: IDLE, GetReceived: {"phase": phase, "sections": sections}}))


async def test_a_primary_tells_of_its_peers() -> None:
    assert await commands.show_sync(Inside({GetSync: SENDING})) == SENDING


async def test_a_secondary_tells_what_it_has_received() -> None:
    data = await shown(
        {"rules": section(at=1.0), "aliases": section(at=1_700_000_000.0), "own": section(at=0, origin="")}
    )
    assert (data["peer"], data["state"], data["last_success"]) == ("fw1", "in-sync", "2023-11-14T22:13:20Z")
    assert data["error"] is None


async def test_a_secondary_that_was_changed_is_behind_and_says_where() -> None:
    data = await shown({"rules": section(at=1.0, drift=True), "aliases": section(at=2.0)})
    assert data["state"] == "behind"
    assert data["error"] == "changed on this node since it was received: rules"
    assert "the next push overwrites it" in data["remedy"]


async def test_a_secondary_in_the_middle_of_a_change_is_behind() -> None:
    assert (await shown({"rules": section(at=1.0)}, phase="unconfirmed"))["state"] == "behind"


async def test_a_secondary_that_has_received_nothing_is_off() -> None:
    assert (await shown({}))["state"] == "off"


async def test_sync_now_asks_the_service_and_passes_force_on() -> None:
    inside = Inside({SyncNow: SENDING})
    assert await commands.sync_now(inside, force=True) == SENDING
    assert inside.asked == [SyncNow(force=True)]


async def test_sync_diff_asks_the_service() -> None:
    assert await commands.sync_diff(Inside({DiffSync: SENDING})) == SENDING


@pytest.mark.parametrize(("run", "asks"), [(commands.sync_now, SyncNow), (commands.sync_diff, DiffSync)])
@pytest.mark.parametrize(("error", "exit_code"), [("no answer within 3 s", 1), (None, 0)])
async def test_a_peer_that_was_not_reached_is_a_failure_for_scripts(
    run: Any, asks: type, error: str | None, exit_code: int
) -> None:
    inside = Inside({asks: SENDING | {"peers": [ROW, ROW | {"name": "fw3", "error": error}]}})
    assert len((await run(inside))["peers"]) == 2
    assert inside.exit_code == exit_code


@pytest.mark.parametrize("run", [commands.sync_now, commands.sync_diff])
async def test_a_node_without_peers_says_where_to_run_it(run: Any) -> None:
    with pytest.raises(ApplianceError, match="sends its configuration to nobody") as refusal:
        await run(Inside({SyncNow: IDLE, DiffSync: IDLE}))
    assert "on the primary" in refusal.value.hint


async def test_without_the_service_the_remedy_is_told() -> None:
    with pytest.raises(ApplianceError, match=r"xmlrpc_sync.* is not running") as refusal:
        await commands.show_sync(Inside())
    assert "[xmlrpc_sync]" in refusal.value.hint


async def test_a_service_that_hangs_is_not_waited_for() -> None:
    with pytest.raises(ApplianceError, match="did not answer within 5 s"):
        await commands.show_sync(Inside(hangs=True))


def test_every_command_is_where_the_product_says() -> None:
    paths = {command.path for command in commands.COMMANDS}
    assert paths == {("show", "sync"), ("sync", "status"), ("sync", "now"), ("sync", "diff")}


# --- doctor -----------------------------------------------------------------------------------------------------


async def test_doctor_is_content_with_peers_in_sync() -> None:
    finding = await checks.peers_are_in_sync(Inside({GetSync: SENDING}))
    assert (finding.health, finding.what) == (Health.OK, "1 peers, all in sync")
    assert (await checks.clocks_agree(Inside({GetSync: SENDING}))).health is Health.OK


async def test_doctor_names_a_peer_that_is_behind_with_its_remedy() -> None:
    late = {**ROW, "state": "failing", "error": "nothing listens", "remedy": "start it"}
    finding = await checks.peers_are_in_sync(Inside({GetSync: {**SENDING, "peers": [ROW, late]}}))
    assert (finding.health, finding.what, finding.fix) == (Health.WARN, "fw2: nothing listens", "start it")


async def test_doctor_misses_the_peers_of_a_primary_and_not_of_a_secondary() -> None:
    alone = await checks.peers_are_in_sync(Inside({GetSync: {**IDLE, "role": "primary"}}))
    assert (alone.health, "to nobody" in alone.what) == (Health.WARN, True)
    assert (await checks.peers_are_in_sync(Inside({GetSync: IDLE}))).health is Health.OK


@pytest.mark.parametrize(("skew", "health"), [(4.9, Health.OK), (-5.1, Health.WARN), (31.0, Health.FAIL)])
async def test_doctor_compares_clocks(skew: float, health: Health) -> None:
    finding = await checks.clocks_agree(Inside({GetSync: {**SENDING, "peers": [ROW, {**ROW, "skew_s": skew}]}}))
    assert finding.health is health


async def test_doctor_compares_time_zones() -> None:
    there = {**ROW, "utc_offset_s": utc_offset_s() + 7200}
    finding = await checks.clocks_agree(Inside({GetSync: {**SENDING, "peers": [there]}}))
    assert (finding.health, finding.what) == (Health.WARN, "the time zone of fw2 is 2 h ahead")
    assert "timedatectl" in finding.fix
    same = {**ROW, "utc_offset_s": utc_offset_s()}
    assert (await checks.clocks_agree(Inside({GetSync: {**SENDING, "peers": [same]}}))).health is Health.OK


async def networks(**addresses: str) -> Finding:
    own = {name: (text, "fe80::2/64") for name, text in addresses.items()}
    state = ConfigState(revision=1, text=Hidden(""), unconfirmed_s=None, addresses=own, schemas={})
    return await checks.networks_agree(Inside({GetSync: SENDING, GetConfig: state}))


async def test_doctor_finds_swapped_interfaces_and_other_masks() -> None:
    assert (await networks(lan="192.168.1.2/24", wan="198.51.100.201/24")).health is Health.OK
    mask = await networks(lan="192.168.1.2/25", wan="198.51.100.201/24")
    assert (mask.health, mask.what) == (Health.FAIL, "lan is 192.168.1.0/24 on fw2, 192.168.1.0/25 here")
    swapped = await networks(wan="192.168.1.2/24", lan="198.51.100.201/24")
    assert "lan is 192.168.1.0/24 on fw2, 198.51.100.0/24 here" in swapped.what
    assert "wan is 198.51.100.0/24 on fw2, 192.168.1.0/24 here" in swapped.what
    assert swapped.fix


@pytest.mark.parametrize("run", [checks.peers_are_in_sync, checks.clocks_agree, checks.networks_agree])
async def test_doctor_says_when_the_service_does_not_answer(run: Any) -> None:
    assert (await run(Inside())).health is Health.FAIL
