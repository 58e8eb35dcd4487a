"""What is refused beyond the table itself; each problem names the key and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance.testing import LogicalInterfaces
from appliance_pfsync.config import PfsyncConfig
from appliance_pfsync.verify import verify


class Pairing(Model):
    """A table whose plugin pairs the nodes, or not."""

    wanted: bool = True

    def pairs_nodes(self) -> bool:
        return self.wanted


def problems(*, with_interfaces: bool = True, pairing: Pairing | None = None, **values: Any) -> list[Problem]:
    table = PfsyncConfig.model_validate({"interface": "sync", "key_file": "/etc/appliance/pfsync.key"} | values)
    tables: dict[str, Model] = {"pfsync": table}
    if with_interfaces:
        tables["interfaces"] = LogicalInterfaces.of(sync="172.16.1.2/24", lan="192.168.1.2/24")
    if pairing is not None:
        tables["pairing"] = pairing
    return verify(Config(tables, node=NodeTable(name="fw1")))


def only(found: list[Problem]) -> tuple[tuple[str | int, ...], str]:
    assert len(found) == 1, found
    return found[0].path, found[0].message


def test_the_example_cluster_has_no_problems() -> None:
    assert problems() == []
    assert problems(peers=["172.16.1.3"]) == []
    assert problems(version="1400", plain=True, key_file=None) == []


def test_without_a_secret_replication_is_refused_unless_asked_for() -> None:
    path, message = only(problems(key_file=None))
    assert path == ("pfsync",)
    assert "appliance pfsync key FILE" in message
    assert "[xmlrpc_sync]" in message
    assert problems(key_file=None, plain=True) == []


def test_without_a_key_file_the_nodes_have_to_be_paired_by_some_table() -> None:
    assert problems(key_file=None, pairing=Pairing()) == []
    assert only(problems(key_file=None, pairing=Pairing(wanted=False)))[0] == ("pfsync",)


def test_a_bsd_dialect_stays_plain_where_nodes_are_paired() -> None:
    assert only(problems(key_file=None, version="1400", pairing=Pairing()))[0] == ("pfsync", "version")


@pytest.mark.parametrize("version", ["1301", "1400", "1500", "openbsd"])
def test_a_bsd_dialect_has_to_be_called_plain(version: str) -> None:
    path, message = only(problems(version=version))
    assert path == ("pfsync", "version")
    assert "plain = true" in message


def test_plain_and_a_key_file_contradict_each_other() -> None:
    assert only(problems(plain=True))[0] == ("pfsync", "plain")


def test_an_interface_that_does_not_exist_is_named_with_those_that_do() -> None:
    path, message = only(problems(interface="snc"))
    assert path == ("pfsync", "interface")
    assert "lan, sync" in message


def test_without_an_interfaces_table_there_is_nothing_to_send_through() -> None:
    assert "needs an [interfaces] table" in only(problems(with_interfaces=False))[1]


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        ("172.16.1.2", "this node itself"),
        ("224.0.0.240", "multicast"),
        ("10.0.0.1", "not routed"),
    ],
)
def test_a_peer_that_cannot_be_one_is_refused(peer: str, said: str) -> None:
    path, message = only(problems(peers=[peer]))
    assert path == ("pfsync", "peers", 0)
    assert said in message


def test_peers_of_two_families_are_refused() -> None:
    found = problems(peers=["172.16.1.3", "fe80::3"])
    assert ("pfsync", "peers") in [problem.path for problem in found]
