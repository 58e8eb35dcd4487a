"""One node per state directory, for as long as its process lives."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.host.statedir import locked_state_dir


def test_it_is_made_for_its_owner_only_and_held_while_the_block_lasts(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with locked_state_dir(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        with pytest.raises(ApplianceError, match=f"process {os.getpid()}"), locked_state_dir(path):
            pass
    with locked_state_dir(path):
        pass


def test_the_kernel_frees_it_when_its_holder_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, signal\nfrom pathlib import Path\nfrom appliance.host.statedir import locked_state_dir\n"
        "with locked_state_dir(Path(sys.argv[1])):\n    print('held', flush=True)\n    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ApplianceError, match=f"process {holder.pid}"), locked_state_dir(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked_state_dir(tmp_path):
        pass


def test_a_child_that_outlives_the_node_does_not_hold_it(tmp_path: Path) -> None:
    with locked_state_dir(tmp_path):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        with locked_state_dir(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
