"""Captures of every link."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.lab import Lab, Software, Topology
from appliance.lab.lab import unique_name

pytestmark = pytest.mark.netns


def test_captures_of_all_links_and_logs_are_kept_when_asked(tmp_path: Path) -> None:
    lab = Lab(Topology(name=unique_name("t")), software=Software.ROUTER, pcap=True, keep_logs=tmp_path)
    with lab:
        lab.exec("client", "ping", "-c", "1", "-W", "2", "198.51.100.1")
    files = sorted(path.name for path in (tmp_path / lab.name / "pcap").glob("*.pcap"))
    assert files == [
        "lansw-client.pcap", "lansw-fw1.pcap", "lansw-fw2.pcap", "synccable-fw1.pcap", "synccable-fw2.pcap",
        "wansw-fw1.pcap", "wansw-fw2.pcap", "wansw-server.pcap",
    ]  # fmt: skip
    read = ["tcpdump", "-n", "-r", str(tmp_path / lab.name / "pcap" / "lansw-client.pcap"), "icmp"]
    shown = subprocess.run(read, capture_output=True, text=True, timeout=10, check=True).stdout
    assert "192.168.1.100 > 198.51.100.1: ICMP echo request" in shown
    assert (tmp_path / lab.name / "fw1" / "appliance.toml").exists()
