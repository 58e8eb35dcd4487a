"""The models of ``[interfaces]``, through the loader that operators meet."""

from __future__ import annotations

import tomllib
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from appliance.config import LogicalInterface, ProvidesInterfaces, Scope, scope_of
from appliance.config.loader import load
from appliance.errors import ConfigError
from appliance.plugin import ConfigTable
from appliance_interfaces.config import InterfacesConfig, InterfaceTable, VlanTable, settings_of
from appliance_interfaces.plugin import Interfaces
from appliance_interfaces.settings import VlanSettings, WantedInterface, WantedRoute

README = Path(__file__).parents[4] / "plugins" / "interfaces" / "README.md"


def loaded(text: str) -> InterfacesConfig:
    table: ConfigTable = Interfaces().appliance_config()
    config = load('[node]\nname = "fw1"\n' + text, path="a.toml", tables={"interfaces": table})
    return config[InterfacesConfig]


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    return str(caught.value)


def test_the_example_of_the_readme_is_valid() -> None:
    text = README.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    config = loaded(text)
    assert list(config.root) == list(tomllib.loads(text)["interfaces"])
    assert config.root["dmz"].device_name == "lan0.20"


def test_it_provides_interfaces_to_other_plugins() -> None:
    config = loaded('[interfaces.wan]\ndevice = "wan0"\naddresses = ["192.0.2.1/24"]\n')
    assert isinstance(config, ProvidesInterfaces)
    wan = LogicalInterface(name="wan", device="wan0", addresses=(ip_interface("192.0.2.1/24"),))
    assert config.logical_interfaces() == {"wan": wan}


def test_settings_have_the_kernels_defaults_filled_in() -> None:
    config = loaded(
        """
[interfaces.wan]
device = "wan0"
addresses = ["192.0.2.1/24"]
routes = [
  { to = "default", via = "192.0.2.9" },
  { to = "default", via = "2001:db8::9" },
  { to = "default", via = "fe80::9", metric = 7 },
  { to = "10.0.0.0/8" },
]
[interfaces.dmz]
vlan = { parent = "wan0", id = 20 }
device = "dmz0"
foreign_addresses = "remove"
"""
    )
    wan, dmz = settings_of(config).interfaces
    any4, any6 = ip_network("0.0.0.0/0"), ip_network("::/0")
    assert wan.routes == (
        WantedRoute(to=any4, via=ip_address("192.0.2.9"), metric=0, onlink=False),
        # There is no IPv6 address that would make the gateway reachable.
        WantedRoute(to=any6, via=ip_address("2001:db8::9"), metric=1024, onlink=True),
        WantedRoute(to=any6, via=ip_address("fe80::9"), metric=7, onlink=False),
        WantedRoute(to=ip_network("10.0.0.0/8"), via=None, metric=0, onlink=False),
    )
    vlan = VlanSettings(parent="wan0", id=20)
    assert dmz == WantedInterface(name="dmz", device="dmz0", vlan=vlan, remove_foreign=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[interfaces.wan]", "a.toml:3:1: interfaces.wan: an interface needs device"),
        ('[interfaces.wan]\ndevice = "a b"', "a.toml:4:1: interfaces.wan.device: must be a device name"),
        ('[interfaces.wan]\ndevise = "a"', 'a.toml:4:1: interfaces.wan.devise: unknown key; did you mean "device"?'),
        ('[interfaces.WAN]\ndevice = "a"', "interfaces.WAN: must be a lower-case letter"),
        ('[interfaces]\ndevice = "a"', "a.toml:4:1: interfaces.device: needs a table"),
        ('[interfaces.wan]\ndevice = "a"\naddresses = ["10.0.0.1"]', "addresses[0]: an address with its prefix length"),
        ('[interfaces.wan]\ndevice = "a"\nmtu = 100', "interfaces.wan.mtu: must be at least 576"),
        ('[interfaces.wan]\nvlan = { parent = "a", id = 4095 }', "interfaces.wan.vlan.id: must be at most 4094"),
        ('[interfaces.wan]\ndevice = "a"\nroutes = [{ to = "default" }]', "routes[0]: a default route needs a gateway"),
        ('[interfaces.wan]\ndevice = "a"\nroutes = [{ to = "10.0.0.1/8" }]', "interfaces.wan.routes[0].to"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, message: str) -> None:
    assert message in refused(text + "\n")


def test_devices_and_addresses_stay_on_their_node() -> None:
    local = {name for name in InterfaceTable.model_fields if scope_of(InterfaceTable, name) is Scope.LOCAL}
    assert local == {"device", "addresses"}
    assert scope_of(VlanTable, "parent") is Scope.LOCAL
    assert scope_of(VlanTable, "id") is Scope.SHARED
