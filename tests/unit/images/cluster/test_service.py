"""Two nodes on the loopback upgrade each other: real calls over TLS, machines whose disks are files."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.events import GetPairing, PairedNode, Pairing, Request, Switchover
from appliance.plugin import Context, Service, Started, hookimpl
from appliance.testing.harness import run_service
from appliance.testing.node import RunningNode
from appliance_images import bundle, grubenv, slots
from appliance_images.cluster import leader, service
from appliance_images.cluster.events import GetUpgrade, UpgradeCluster, UpgradeStep
from appliance_images.cluster.local import Local
from appliance_images.cluster.settings import Settings
from tests.unit.core.rpc.peers import Identity, make_peers
from tests.unit.images.machines import FileMachine, file_machine, upgrade

WAIT_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Box:
    """A machine: its disk, what its node says, and what happens when it restarts."""

    def __init__(self, folder: Path, name: str, role: str) -> None:
        self.folder, self.name, self.role = folder, name, role
        self.machine: FileMachine = file_machine(folder)
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("1")
        self.restarts = 0
        self.services: list[dict[str, Any]] = [{"name": "carp/heartbeat", "state": "running", "error": None}]
        self.is_sick = False
        self.other: Box

    def local(self) -> Local:
        return Local(self.machine, self.ask, boot_id=self.boot_id, reboot=self.reboot)

    def ask(self, words: list[str]) -> object:
        if words == ["show", "services"]:
            return self.services
        assert words == ["show", "ha"]
        peers = [{"peer": self.other.name, "alive": True}]
        return {"node": self.name, "role": self.role, "peers": peers, "reasons": [], "vips": [], "links": []}

    def reboot(self) -> None:
        """What boot loader and health check do, at once."""
        self.restarts += 1
        state = self.machine.boot_state()
        slot = "a" if self.is_sick else state.next_slot
        object.__setattr__(self.machine, "slot", slot)
        slots.mark_good(self.machine)
        self.boot_id.write_text(str(self.restarts + 1))

    async def switchover(self, _: Request[str]) -> str:
        self.role, self.other.role = self.other.role, self.role
        return "done"


class Cluster:
    """Both boxes, paired."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "rpc").mkdir()
        peers = make_peers(folder / "rpc")
        self.boxes: dict[str, tuple[Box, Identity, str]] = {}
        for name, role, identity, address in (
            ("fw1", "MASTER", peers.a, "127.0.0.1"),
            ("fw2", "BACKUP", peers.b, "127.0.0.2"),
        ):
            (folder / name).mkdir()
            self.boxes[name] = Box(folder / name, name, role), identity, address
        self.one, self.two = self.boxes["fw1"][0], self.boxes["fw2"][0]
        self.one.other, self.two.other = self.two, self.one
        shutil.copy(self.one.folder / "keys/one.pub", self.two.folder / "keys/one.pub")
        self.file = upgrade(self.one.folder)

    def plugin(self, name: str) -> type:
        """A plugin that runs the service for a box."""
        box, identity, address = self.boxes[name]
        (theirs,) = (each for each in self.boxes.values() if each[0] is not box)
        peer = PairedNode(
            name=theirs[0].name, address=theirs[2], fingerprint=theirs[1].fingerprint, certificate=theirs[1].certificate
        )
        pairing = Pairing(certificate=identity.certificate, key=identity.key, peers=(peer,))
        settings = Settings(device="", addresses=(address,), port=self.port, patience_s=60.0)

        async def keys(ctx: Context, task_status: Started) -> None:
            async def answer(_: Request[Pairing]) -> Pairing:
                return pairing

            with ctx.serve(GetPairing, answer), ctx.serve(Switchover, box.switchover):
                task_status.started()
                await ctx.stopping.wait()

        async def run(ctx: Context, task_status: Started) -> None:
            await service.serve(ctx, settings, box.local(), task_status, keys=slots.trusted(box.machine))

        class Plugin:
            api = (1, 0)

            @hookimpl
            def appliance_services(self) -> list[Service]:
                provides = frozenset({"keys"})
                return [
                    Service(key="keys", run=keys, provides=provides),
                    Service(key="upgrade", run=run, needs=provides),
                ]

        return Plugin

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[RunningNode]:
        box = self.boxes[name][0]
        (box.folder / "state").mkdir(mode=0o700, exist_ok=True)
        async with run_service(self.plugin(name), node=name, state_dir=box.folder / "state") as node:
            yield node


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(leader, "LOOK_S", 0.05)
    monkeypatch.setattr(slots, "running_version", lambda: "1.0")
    return Cluster(tmp_path)


async def ended(node: RunningNode) -> Mapping[str, Any]:
    while True:
        now = await node.call(GetUpgrade())
        if now["phase"] in ("done", "failed"):
            return now
        await trio.sleep(0.05)


async def begun(node: RunningNode, cluster: Cluster, *, dry_run: bool = False) -> Mapping[str, Any]:
    """Begin as soon as the other one can be reached."""
    while True:
        try:
            return await node.call(UpgradeCluster(file=str(cluster.file), dry_run=dry_run))
        except ApplianceError as error:
            if "paired with nobody" not in error.message and "refused" not in error.message:
                raise
        await trio.sleep(0.05)


async def test_both_get_the_system_and_somebody_is_master_all_the_time(cluster: Cluster) -> None:
    async with cluster.running("fw2"), cluster.running("fw1") as one:
        plan = await begun(one, cluster)
        assert [line.split()[0] for line in plan["plan"]] == ["fw2", "it", "fw1"]
        told = await ended(one)
    assert told["phase"] == "done", told
    assert (cluster.one.machine.slot, cluster.two.machine.slot) == ("b", "b")
    assert (cluster.one.restarts, cluster.two.restarts) == (1, 1)
    for box in (cluster.one, cluster.two):
        assert (box.folder / "disk4").read_bytes()[:4] == b"hsqs"
        assert box.machine.boot_state() == grubenv.BootState(order="ba", left=(3, 3))
    assert (cluster.one.role, cluster.two.role) == ("BACKUP", "MASTER")
    assert [each.phase for each in one.events(UpgradeStep)][:2] == ["send", "peer-restarts"]


async def test_a_node_that_leads_goes_on_after_its_own_restart(cluster: Cluster) -> None:
    restarted = trio.Event()
    token = trio.lowlevel.current_trio_token()
    reboot = cluster.one.reboot

    def note() -> None:
        reboot()
        token.run_sync_soon(restarted.set)

    cluster.one.reboot = note  # type: ignore[method-assign]
    async with cluster.running("fw2"):
        async with cluster.running("fw1") as one:
            await begun(one, cluster)
            with trio.fail_after(WAIT_S):
                await restarted.wait()
        async with cluster.running("fw1") as one:
            assert (await ended(one))["phase"] == "done"


async def test_a_dry_run_looks_at_everything_and_changes_nothing(cluster: Cluster) -> None:
    async with cluster.running("fw2"), cluster.running("fw1") as one:
        assert (await begun(one, cluster, dry_run=True))["begun"] is False
        assert (await one.call(GetUpgrade()))["phase"] == "none"
    assert cluster.two.machine.boot_state() == grubenv.BootState()


def _no_key(cluster: Cluster) -> None:
    (cluster.two.folder / "keys/one.pub").unlink()


def _ill(cluster: Cluster) -> None:
    cluster.two.services = [{"name": "pfsync/replicator", "state": "failed", "error": "no socket"}]


def _backup(cluster: Cluster) -> None:
    cluster.one.role, cluster.two.role = "BACKUP", "MASTER"


def _half(cluster: Cluster) -> None:
    cluster.file.write_bytes(cluster.file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_key, "fw2: the signature is wrong"),
        (_ill, "fw2 is not ready: service pfsync/replicator is failed: no socket"),
        (_backup, "fw1 is BACKUP; the upgrade begins with the node that carries nothing"),
        (_half, "is no complete upgrade"),
    ],
)
async def test_it_does_not_begin_with_a_doubt(cluster: Cluster, spoil: Callable[[Cluster], None], message: str) -> None:
    spoil(cluster)
    async with cluster.running("fw2"), cluster.running("fw1") as one:
        with pytest.raises(ApplianceError, match=message):
            await begun(one, cluster)
    assert cluster.two.machine.boot_state() == grubenv.BootState()


async def test_a_second_node_that_falls_back_takes_the_first_one_along(cluster: Cluster) -> None:
    cluster.one.is_sick = True
    async with cluster.running("fw2"), cluster.running("fw1") as one:
        await begun(one, cluster)
        told = await ended(one)
    assert told["phase"] == "failed"
    assert "fw1 went back" in told["why"]
    assert (cluster.one.machine.slot, cluster.two.machine.slot) == ("a", "a")
    assert cluster.one.role == "MASTER"


async def test_what_is_sent_and_is_not_what_was_signed_never_boots(cluster: Cluster) -> None:
    content = bytearray(cluster.file.read_bytes())
    content[2 << 20] ^= 1
    cluster.file.write_bytes(content)
    async with cluster.running("fw2"), cluster.running("fw1") as one:
        await begun(one, cluster)
        told = await ended(one)
    assert "not the one that was signed" in told["why"]
    assert cluster.two.machine.boot_state().next_slot == "a"
    assert cluster.two.restarts == 0


def test_pieces_come_in_order_or_not_at_all(tmp_path: Path) -> None:
    box = Box(tmp_path, "fw1", "MASTER")
    local = box.local()
    with pytest.raises(ApplianceError, match="no upgrade is under way"):
        local.take(0, b"x")
    with bundle.opened(upgrade(tmp_path), slots.trusted(box.machine)) as found:
        local.offer(found.manifest, found.signature)
    local.take(0, b"hsqs")
    with pytest.raises(ApplianceError, match="4 is next"):
        local.take(8, b"x")
    with pytest.raises(ApplianceError, match="not the one that was signed"):
        local.finish()
    local.close()
    assert replace(box.machine).boot_state().boots_left("b") == 0
