"""`appliance capture` on a real device, in a network namespace of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
set -e
ip link add ct0 type veth peer name ct1
ip link set ct0 up
ip link set ct1 up
{appliance} capture ct1 --json --count 3 --seconds 15 > "$1" &
capture=$!
for _ in $(seq 250); do
  kill -0 $capture
  # A header line, and a line for every packet socket of this namespace.
  if [ "$(wc -l < /proc/net/packet)" -gt 1 ]; then break; fi
  sleep 0.02
done
{python} - <<'END'
import socket
advert = bytes.fromhex("21010007000100000011223344556677") + bytes(20)
header = bytes.fromhex("45e00038 00004000 ff700000") + socket.inet_aton("192.168.1.2") + socket.inet_aton("224.0.0.18")
arp = bytes.fromhex("0001080006040002" "00005e000101") + socket.inet_aton("192.168.1.1") + bytes(6)
mac = bytes.fromhex("01005e000012" "00005e000101")
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
    wire.bind(("ct0", 0))
    wire.send(mac + bytes.fromhex("88cc") + bytes(50))
    wire.send(mac + bytes.fromhex("0800") + header[:9] + bytes([17]) + header[10:] + advert)
    wire.send(mac + bytes.fromhex("0800") + header + advert)
    wire.send(mac + bytes.fromhex("0806") + arp + socket.inet_aton("192.168.1.1"))
    wire.send(mac + bytes.fromhex("0800") + header + advert)
END
wait $capture
"""


@pytest.mark.netns
def test_advertisements_and_arp_are_decoded_live_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "captured"
    code = "import sys; from appliance.cli import main; sys.exit(main())"
    script = SCRIPT.format(appliance=f"{sys.executable} -c '{code}'", python=sys.executable)
    subprocess.run(["unshare", "--net", "bash", "-c", script, "bash", str(out)], check=True, timeout=30)
    frames = [json.loads(line) for line in out.read_text().splitlines()]
    # The kernel announces the new devices by IPv6 as well; those are not what is asked for here.
    ours = [frame for frame in frames if frame["protocol"] in ("CARP", "GARP")]
    assert [frame["protocol"] for frame in ours] == ["CARP", "GARP", "CARP"]
    assert ours[0]["vhid"] == 1
    assert ours[0]["direction"] == "in"
    assert ours[1]["is_at"] == "00:00:5e:00:01:01"


@pytest.mark.netns
@pytest.mark.parametrize(("argv", "status"), [(["nonexistent0"], 1), (["lo", "--seconds", "0"], 2), ([], 2)])
def test_what_cannot_be_captured_is_said_in_two_lines(argv: list[str], status: int) -> None:
    code = "import sys; from appliance.cli import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", code, "capture", *argv], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == status
    assert len(result.stderr.splitlines()) == 2
