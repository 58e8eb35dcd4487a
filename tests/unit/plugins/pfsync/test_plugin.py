"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from typing import Any

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.plugin import CrashPolicy, Service
from appliance.testing import LogicalInterfaces, check_plugin
from appliance_pfsync import events, service, settings
from appliance_pfsync.config import PfsyncConfig
from appliance_pfsync.plugin import Pfsync

TABLE = {"interface": "sync", "key_file": "/etc/appliance/pfsync.key"}
INTERFACES = LogicalInterfaces.of(sync="172.16.1.2/24")


def replicator(**values: Any) -> Service:
    tables = {"pfsync": PfsyncConfig.model_validate(TABLE | values), "interfaces": INTERFACES}
    (made,) = Pfsync().appliance_services(Config(tables, node=NodeTable(name="fw1")))
    return made


def test_it_is_a_good_citizen() -> None:
    check_plugin(Pfsync, config=TABLE, tables={"interfaces": INTERFACES}, start=False)  # it needs a kernel


def test_the_one_service_crosses_to_a_process_of_its_own() -> None:
    made = replicator()
    assert made.isolation is not None
    assert made.isolation.realtime_priority is None, "states never delay CARP"
    assert pickle.loads(pickle.dumps((made.run, made.config))) == (service.run, made.config)
    assert isinstance(made.config, settings.PfsyncSettings)


def test_it_starts_after_the_interfaces_and_is_restarted_after_a_crash() -> None:
    made = replicator()
    assert (set(made.needs), set(made.provides)) == ({"interfaces"}, {"states"})
    assert made.on_crash is CrashPolicy.RESTART


def test_an_unchanged_configuration_makes_an_equal_service() -> None:
    assert replicator() == replicator()
    assert replicator() != replicator(defer=True)


def test_every_request_of_its_own_is_declared() -> None:
    own = {kind for _, kind in inspect.getmembers(events, inspect.isclass) if kind.__module__ == events.__name__}
    assert own == set(Pfsync().appliance_events())


def test_its_process_is_spared_pydantic_and_the_node_numpy() -> None:
    def loaded(module: str, unwanted: str) -> str:
        program = f"import sys, {module}; print({unwanted!r} in sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()

    assert loaded("appliance_pfsync.replicator", "pydantic") == "False"
    assert loaded("appliance_pfsync.plugin", "numpy") == "False"
    assert loaded("appliance_pfsync.plugin", "cryptography") == "False"


def test_it_waits_for_whoever_gives_keys_only_if_it_needs_them() -> None:
    assert set(replicator().after) == set()
    assert set(replicator(plain=True, key_file=None).after) == set()
    assert set(replicator(key_file=None).after) == {"keys"}
