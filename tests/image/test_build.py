"""An image is built from a configuration: the same bytes twice, only the chosen plugins, a manifest that says all."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from appliance_images import bundle, lock, signing, slotfile
from appliance_images.build import build
from appliance_images.inspect import inspect
from tests.image.conftest import Built

PLUGINS = [
    "carp",
    "firewall",
    "gateways",
    "images",
    "interfaces",
    "outbound-nat",
    "pfsync",
    "ssh",
    "users",
    "xmlrpc-sync",
]
"""Those of the example, and those that were named besides."""


@pytest.fixture(scope="module")
def site(built: Built, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every path in the system of the slot."""
    system = tmp_path_factory.mktemp("slot") / "system"
    tar = subprocess.run(["tar", "-xOf", built.file(".upgrade"), bundle.SLOT], check=True, capture_output=True)
    _, (start, size) = slotfile.parts(io.BytesIO(tar.stdout))
    system.write_bytes(tar.stdout[start : start + size])
    listing = subprocess.run(["rdsquashfs", "-d", system], check=True, capture_output=True, text=True).stdout
    return {line.split()[1] for line in listing.splitlines() if " " in line}


@pytest.mark.timeout(600)
def test_the_same_inputs_make_the_same_bytes(built: Built, tmp_path: Path) -> None:
    again = build(replace(built.order, output=tmp_path, lock=built.order.output / "vm.lock.json"), print)
    assert again["sha256"] == built.summary["sha256"]
    for suffix in (".manifest.json", ".manifest.sig", ".upgrade", ".sbom.json"):
        assert Path(again["image"]).with_suffix(suffix).read_bytes() == built.file(suffix).read_bytes()


@pytest.mark.timeout(600)
def test_only_the_chosen_plugins_are_in_it(built: Built, site: set[str]) -> None:
    assert built.summary["plugins"] == PLUGINS
    folder = "usr/lib/appliance/site"
    assert f"{folder}/appliance_carp/plugin.py" in site
    assert f"{folder}/appliance_notify/plugin.py" not in site
    assert f"{folder}/pytest/__init__.py" not in site


@pytest.mark.timeout(600)
def test_compiled_modules_are_in_one_file(site: set[str]) -> None:
    assert "usr/lib/appliance/modules" in site
    folder = "usr/lib/appliance/site/appliance"
    assert f"{folder}/cli.py" in site
    assert f"{folder}/__pycache__/cli.cpython-311.pyc" not in site
    assert f"{folder}_images/imports/__pycache__/finder.cpython-311.pyc" in site


@pytest.mark.timeout(600)
def test_nothing_secret_and_nothing_of_this_machine_is_in_it(site: set[str]) -> None:
    assert not [path for path in site if path.startswith("etc/ssh/ssh_host") or path.endswith(".key")]
    assert "usr/bin/dpkg" not in site
    assert "usr/lib/appliance/keys/build.pub" in site


@pytest.mark.timeout(600)
def test_the_manifest_beside_it_is_signed_and_complete(built: Built) -> None:
    text = built.file(".manifest.json").read_bytes()
    public = built.order.output / "build.pub"
    assert built.order.key is not None
    public.write_text(signing.public_text(signing.read_private(built.order.key)))
    signing.verify(text, built.file(".manifest.sig").read_bytes(), [public])
    about = json.loads(text)
    assert [each["name"] for each in about["plugins"]] == PLUGINS
    assert all(each["sha256"] and each["licence"] for each in about["debian"])
    assert {"nftables", "chrony", "python3", "systemd"} <= {each["name"] for each in about["debian"]}
    assert all(each["sha256"] for each in about["python"] if each["name"] != "ha-appliance")
    assert about["disk"]["sha256"] == lock.sha256_of(built.file(".raw"))


@pytest.mark.timeout(600)
def test_the_disk_says_what_is_on_it(built: Built) -> None:
    seen = inspect(built.file(".raw"))
    assert [each["name"] for each in seen["partitions"]] == ["bios", "esp", "slot-a", "slot-b", "config"]
    assert seen["next"] == "a"
    assert seen["configured"]
    first, second = seen["slots"]
    assert (first["plugins"], first["boots_left"]) == (PLUGINS, 3)
    assert (second["version"], second["boots_left"]) == ("", 0)


@pytest.mark.timeout(600)
def test_it_is_small(built: Built) -> None:
    assert built.file(".qcow2").stat().st_size < 120 << 20
