"""Devices, bundles and VLANs as people write them."""

import pytest

from appliance.console.wizard.ports import Port, port, read
from appliance.errors import UsageError


@pytest.mark.parametrize(
    ("text", "members", "vlan"),
    [
        ("eth0", ("eth0",), None),
        ("eth0.20", ("eth0",), 20),
        ("eth0+eth1", ("eth0", "eth1"), None),
        ("eth0+eth1.4094", ("eth0", "eth1"), 4094),
        ("br.lan", ("br.lan",), None),
        ("eth0.12345", ("eth0.12345",), None),
    ],
)
def test_what_is_read_is_written_the_same_way(text: str, members: tuple[str, ...], vlan: int | None) -> None:
    found = read(text)
    assert (found.members, found.vlan, found.is_bundle) == (members, vlan, len(members) > 1)
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`` cannot be the name"),
        ("a/b", "`a/b` cannot be the name"),
        ("eth0+", "`` cannot be the name"),
        ("eth0+eth0", "cannot be bundled"),
        ("+".join(f"e{n}" for n in range(17)), "cannot be bundled"),
        ("eth0.0", "0 is no VLAN"),
        ("eth0.4095", "4095 is no VLAN"),
    ],
)
def test_what_cannot_be_a_port_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(text)
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("text", "taken", "message"),
    [
        ("eth3", "eth1", "no device `eth3`"),
        ("eth0+eth3", "eth1", "no device `eth3`"),
        ("eth0", "eth0", "`eth0` already carries another network"),
        ("eth0.5", "eth0.5", "`eth0.5` already carries another network"),
        ("eth0", "eth0+eth1", "`eth0` already carries another network, as eth0+eth1"),
        ("eth1+eth2", "eth1.5", "`eth1` already carries another network, as eth1.5"),
    ],
)
def test_a_device_carries_one_network_or_vlans(text: str, taken: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        port(text, ["eth0", "eth1", "eth2"], [read(taken)], can_bundle=True)
    assert message in refused.value.message


def test_vlans_share_a_device_also_with_what_has_no_tag() -> None:
    taken = [read("eth0"), read("eth0.5")]
    assert port("eth0.6", ["eth0"], taken, can_bundle=False) == Port(members=("eth0",), vlan=6)


def test_without_the_plugin_nothing_is_bundled() -> None:
    with pytest.raises(UsageError, match="devices cannot be bundled here"):
        port("eth0+eth1", [], [], can_bundle=False)
