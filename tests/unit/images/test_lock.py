"""Lock files are read back, and fit only what they were made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import lock
from appliance_images.lock import Lock, Pin

PIN = Pin(name="acl", version="1:2.3", file="acl_1%3a2.3_amd64.deb", sha256="ab" * 32)
LOCK = Lock(date=1700000000, suite="bookworm", wanted=("acl",), debs=(PIN,), kernel=(), wheels=(PIN,))


def test_it_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(LOCK.text())
    assert lock.read(tmp_path / "lock") == LOCK
    assert sum("acl_1" in line for line in LOCK.text().splitlines()) == 2, "one pin a line"


def test_it_fits_only_the_same_wishes() -> None:
    assert LOCK.fits("bookworm", ["acl"])
    assert not LOCK.fits("bookworm", ["acl", "attr"])
    assert not LOCK.fits("trixie", ["acl"])


def test_another_package_is_another_base_system() -> None:
    other = Lock(date=LOCK.date, suite="bookworm", wanted=("acl",), debs=())
    assert other.base_key != LOCK.base_key
    pulled_in = Lock(date=LOCK.date, suite="bookworm", wanted=("attr",), debs=(PIN,))
    assert pulled_in.base_key != LOCK.base_key, "what is only needed by something else may not be installed"
    same = Lock(date=LOCK.date, suite="bookworm", wanted=("acl", "python:trio"), debs=(PIN,))
    assert same.base_key == LOCK.base_key, "wheels are not in it"
    assert same.site_key != LOCK.site_key, "and they are all that is in the folder of Python packages"
    other_kernel = Lock(date=LOCK.date, suite="bookworm", wanted=("acl",), debs=(PIN,), kernel=(PIN,))
    assert other_kernel.base_key == LOCK.base_key, "another kernel costs no new base system"


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "date": 1}'])
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    with pytest.raises(ApplianceError, match="is not a lock file"):
        lock.read(tmp_path / "lock")
