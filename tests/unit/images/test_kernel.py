"""Modules of a kernel: what they need, and what a kernel does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import kernel
from appliance_images.tools import run


@pytest.fixture
def modules(tmp_path: Path) -> kernel.Modules:
    version = tmp_path / "usr/lib/modules/6.1.0"
    version.mkdir(parents=True)
    (version / "modules.dep").write_text(
        "kernel/top-one.ko: kernel/mid.ko kernel/low.ko\nkernel/mid.ko: kernel/low.ko\nkernel/low.ko:\n"
    )
    (version / "modules.builtin").write_text("kernel/fs/fat/fat.ko\n")
    return kernel.Modules(tmp_path)


def test_what_a_module_needs_comes_before_it_and_once(modules: kernel.Modules) -> None:
    assert [path.name for path in modules.needed(["mid", "fat", "top_one"])] == ["low.ko", "mid.ko", "top-one.ko"]


def test_missing_modules_are_named(modules: kernel.Modules) -> None:
    modules.require(["fat", "top-one"])
    with pytest.raises(ApplianceError, match=r"6\.1\.0 has no bonding, ppp"):
        modules.require(["fat", "bonding", "ppp"])


def test_what_is_dropped_is_gone_and_the_rest_stays(tmp_path: Path) -> None:
    for name in ("drivers/gpu/x.ko", "drivers/net/y.ko", "lib/test_bpf.ko"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    kernel.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.ko")) == ["y.ko"]


def test_firmware_is_unpacked_without_that_of_drivers_that_are_left_out(tmp_path: Path) -> None:
    for name in ("rtl_nic/one.fw", "rtlwifi/two.fw"):
        path = tmp_path / "package/lib/firmware" / name
        path.parent.mkdir(parents=True)
        path.write_text("firmware")
    control = tmp_path / "package/DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        "Package: firmware-x\nVersion: 1\nArchitecture: all\nMaintainer: M <m@example.org>\nDescription: d\n"
    )
    deb = tmp_path / "firmware-x_1_all.deb"
    run("dpkg-deb", "--root-owner-group", "-b", tmp_path / "package", deb)
    made = kernel.unpacked_firmware(tmp_path / "cache", [deb])
    assert [path.name for path in made.rglob("*.fw")] == ["one.fw"]
    assert kernel.unpacked_firmware(tmp_path / "cache", [deb]) == made
