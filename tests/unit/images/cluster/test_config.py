"""`[upgrade]` as operators write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces
from appliance_images.cluster.config import UpgradeConfig, settings_of, verify
from appliance_images.cluster.settings import PORT, Settings


class Pairs(Model):
    """A table whose plugin pairs the nodes."""

    def pairs_nodes(self) -> bool:
        return True


def config(more: Mapping[str, Model], **table: Any) -> Config:
    tables: dict[str, Model] = {"upgrade": UpgradeConfig.model_validate(table), **more}
    tables["interfaces"] = LogicalInterfaces.of(sync="172.16.1.2/24", empty=())
    return Config(tables, node=NodeTable(name="fw1"))


def test_the_service_is_told_where_to_listen() -> None:
    found = config({"pairs": Pairs()}, interface="sync", patience=120)
    assert verify(found) == []
    assert settings_of(found) == Settings(device="sync", addresses=("172.16.1.2",), port=PORT, patience_s=120.0)
    (traffic,) = found[UpgradeConfig].own_traffic({})
    assert (traffic.interface, traffic.protocol, traffic.port) == ("sync", "tcp", PORT)
    assert found[UpgradeConfig].cluster_link().interface == "sync"


@pytest.mark.parametrize(
    ("more", "interface", "message"),
    [
        ({"pairs": Pairs()}, "dmz", "there is no interface 'dmz'; [interfaces] has empty, sync"),
        ({"pairs": Pairs()}, "empty", "empty has no address of its own"),
        ({}, "sync", "nothing pairs the nodes"),
    ],
)
def test_what_cannot_work_is_refused_at_its_key(more: Mapping[str, Model], interface: str, message: str) -> None:
    (problem,) = verify(config(more, interface=interface))
    assert message in problem.message
    assert problem.path[0] == "upgrade"


@pytest.mark.parametrize("table", [{}, {"interface": "sync", "patience": 5}, {"interface": "sync", "port": 0}])
def test_nonsense_is_no_table(table: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UpgradeConfig.model_validate(table)
