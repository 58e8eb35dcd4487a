"""A pool's settings as Kea's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance_dhcp_failover.kea import Endpoint, configuration
from tests.unit.plugins.dhcp_failover.samples import lan, pool_of


def made(*, serving: bool = True, **values: Any) -> Any:
    endpoint = Endpoint(port=4711, password="secret")
    where = {"directory": Path("/state/lan"), "hooks": Path("/hooks")}
    return configuration(pool_of(lan(**values)), endpoint, serving=serving, **where)["Dhcp4"]  # type: ignore[arg-type]


def test_only_a_master_hears_clients_and_only_at_the_virtual_address() -> None:
    assert made()["interfaces-config"]["interfaces"] == ["lan0.v1/192.168.1.1"]
    assert made(serving=False)["interfaces-config"]["interfaces"] == []
    assert {**made(), "interfaces-config": None} == {**made(serving=False), "interfaces-config": None}


def test_kea_asks_us_before_it_answers_and_shows_a_password() -> None:
    *_, hook = made()["hooks-libraries"]
    (parameters,) = hook["parameters"]["high-availability"]
    assert (parameters["mode"], parameters["wait-backup-ack"]) == ("passive-backup", True)
    (us,) = [peer for peer in parameters["peers"] if peer["role"] == "backup"]
    assert (us["url"], us["basic-auth-password"]) == ("http://127.0.0.1:4711/", "secret")


def test_leases_and_control_socket_are_in_the_directory_of_the_pool() -> None:
    assert made()["lease-database"]["name"] == "/state/lan/leases4.csv"
    assert made()["lease-database"]["persist"] is True
    assert made()["control-socket"]["socket-name"] == "kea.sock"


def test_options_are_bytes_and_ranges_pools() -> None:
    (subnet,) = made(domain="x.y")["subnet4"]
    assert subnet["subnet"] == "192.168.1.0/24"
    assert subnet["pools"] == [{"pool": "192.168.1.100 - 192.168.1.199"}]
    assert [(each["code"], each["data"]) for each in subnet["option-data"]] == [
        (3, "c0a80101"), (6, "c0a80101"), (15, "782e79"),
    ]  # fmt: skip
    assert all(each["csv-format"] is False for each in subnet["option-data"])


def test_static_mappings_are_reservations() -> None:
    static = [
        {"address": "192.168.1.20", "mac": "02:00:00:00:00:01", "hostname": "printer"},
        {"address": "192.168.1.21", "client_id": "01:02"},
    ]
    (subnet,) = made(static=static, deny_unknown=True)["subnet4"]
    assert subnet["reservations"] == [
        {"ip-address": "192.168.1.20", "hw-address": "02:00:00:00:00:01", "hostname": "printer"},
        {"ip-address": "192.168.1.21", "client-id": "01:02"},
    ]
    assert subnet["pools"][0]["client-class"] == "KNOWN"


def test_times_and_boot_files() -> None:
    (subnet,) = made(lease_time=600, max_lease_time=1200, tftp_server="192.168.1.7", boot_file="pxe.0")["subnet4"]
    assert (subnet["min-valid-lifetime"], subnet["valid-lifetime"], subnet["max-valid-lifetime"]) == (60, 600, 1200)
    assert (subnet["next-server"], subnet["boot-file-name"]) == ("192.168.1.7", "pxe.0")
    assert "next-server" not in made()["subnet4"][0]
