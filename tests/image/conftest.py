"""What all tests of this tier share: an image, built once, and a cluster of two machines from it, booted once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance_images import bundle, session, signing
from appliance_images.build import Order, build
from appliance_images.hub import Hub, Segment
from appliance_images.qemu import Hardware, VirtualMachine
from appliance_images.session import NODES, SEGMENTS
from tests.image.nodes import Saved, cards_on, pair

MOMENT = "cluster"
ACCOUNTS = """
[ssh]
listen = ["lan"]

[users.olga]
role = "operator"
ssh_keys = ["{key}"]

[users.eve]
role = "viewer"
ssh_keys = ["{key}"]
"""


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made."""

    summary: dict[str, Any]
    order: Order

    def file(self, suffix: str) -> Path:
        """One of the files, such as ``.raw``."""
        return Path(self.summary["image"]).with_suffix(suffix)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Two machines that have become a cluster, as they were saved then."""

    first: Saved
    """It is MASTER."""
    second: Saved
    ssh_key: Path
    """Of the users olga, who is an operator, and eve, who may only look."""
    config: str
    """Of the first one, as in the file."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """An image of the example cluster's first node, signed."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "fw1.toml").write_text(session.example_config("fw1"))
    signing.make(folder / "key")
    order = Order(output=folder / "out", config=folder / "fw1.toml", plugins=("ssh", "users"), key=folder / "key")
    yield Built(build(order, print), order)
    for path in (folder / "out").iterdir():
        path.unlink()


@pytest.fixture(scope="session")
def forged(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The upgrade that was built, signed by somebody else."""
    folder = tmp_path_factory.mktemp("forged")
    subprocess.run(["tar", "-xf", built.file(".upgrade"), "-C", folder], check=True, timeout=60)
    signing.make(folder / "stranger")
    manifest = (folder / bundle.MANIFEST).read_bytes()
    signature = signing.sign(signing.read_private(folder / "stranger"), manifest)
    bundle.write(folder / "forged.upgrade", manifest, signature, folder / bundle.SLOT, 0)
    return folder / "forged.upgrade"


def node_of(built: Built, disks: list[Path], folder: Path, hub: Hub, node: str, accounts: str) -> Hardware:
    """A node of the example, with accounts."""
    config = session.write_example(folder, node)
    # An upgrade goes through the segment between the nodes, and an emulated machine feels each frame.
    text = config.read_text().replace("[interfaces.sync]", "[interfaces.sync]\nmtu = 9000")
    config.write_text(text + accounts)
    cards, disk = cards_on(hub, node), built.file(".qcow2")
    return Hardware(disk=disk, folder=folder, name=node, netdevs=cards, config=config, disks=disks)


@pytest.fixture(scope="session")
def cluster(built: Built, forged: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two machines from one image, each with a configuration from outside, paired and healthy."""
    folder = tmp_path_factory.mktemp("cluster")
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "desk", "-f", str(folder / "key")]
    subprocess.run(make, check=True)
    accounts = ACCOUNTS.format(key=(folder / "key.pub").read_text().strip())
    with Hub(Segment(folder, name, NODES) for name in SEGMENTS) as hub:
        hardware = [node_of(built, [built.file(".upgrade"), forged], folder, hub, node, accounts) for node in NODES]
        with VirtualMachine(hardware[0]) as first, VirtualMachine(hardware[1]) as second:
            pair(first, second)
            for machine in (first, second):
                machine.pause()  # what one has sent the other has not to hear from it again
            for machine in (first, second):
                machine.save(MOMENT)
    saved = [Saved(each, MOMENT) for each in hardware]
    yield Cluster(*saved, ssh_key=folder / "key", config=(folder / "fw1.toml").read_text())
    shutil.rmtree(folder)
