"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.events import Request
from appliance.plugin import CrashPolicy, Service
from appliance.testing import LogicalInterfaces
from appliance_carp import events, service, settings
from appliance_carp.config import CarpConfig
from appliance_carp.heartbeat import LAST_WORDS_S
from appliance_carp.plugin import Carp

VIP = {"name": "lan", "interface": "lan", "vhid": 1, "addresses": ["192.168.1.1/24"]}


def config(**values: Any) -> Config:
    carp = CarpConfig.model_validate({"password": "secret", "vip": [VIP]} | values)
    tables = {"carp": carp, "interfaces": LogicalInterfaces.of(lan="192.168.1.2/24")}
    return Config(tables, node=NodeTable(name="fw1"))


def heartbeat(**values: Any) -> Service:
    (made,) = Carp().appliance_services(config(**values))
    return made


def test_the_one_service_crosses_to_a_process_of_its_own() -> None:
    made = heartbeat()
    assert made.isolation is not None
    assert pickle.loads(pickle.dumps((made.run, made.config))) == (service.run, made.config)
    assert isinstance(made.config, settings.CarpSettings)


def test_it_starts_after_the_interfaces_and_is_restarted_after_a_crash() -> None:
    made = heartbeat()
    assert (made.needs, made.provides, made.on_crash) == ({"interfaces"}, {"roles"}, CrashPolicy.RESTART)
    assert made.grace_s > LAST_WORDS_S, "the last words are spoken before it is cancelled"


@pytest.mark.parametrize(("realtime", "expected"), [(True, (50, True)), (False, (None, False))])
def test_real_time_is_asked_for_only_when_it_is_configured(realtime: bool, expected: tuple[int | None, bool]) -> None:
    isolation = heartbeat(realtime=realtime).isolation
    assert isolation is not None
    assert (isolation.realtime_priority, isolation.lock_memory) == expected


def test_an_unchanged_configuration_makes_an_equal_service() -> None:
    assert heartbeat() == heartbeat()
    assert heartbeat() != heartbeat(preempt=False)


def test_every_request_of_its_own_is_declared() -> None:
    own = {kind for _, kind in inspect.getmembers(events, inspect.isclass) if kind.__module__ == events.__name__}
    assert own
    declared = set(Carp().appliance_events())
    assert own <= declared
    assert all(issubclass(kind, Request) for kind in declared)
    assert [pickle.loads(pickle.dumps(kind())) for kind in own] == [kind() for kind in own]


def test_the_table_has_the_plugins_name_and_its_rules_are_asked() -> None:
    carp = Carp()
    assert carp.appliance_config().name == "carp"
    assert carp.appliance_verify(config()) == []
    twice = config(vip=[VIP, VIP | {"name": "two", "addresses": ["192.168.1.9/24"]}])
    assert [problem.path for problem in carp.appliance_verify(twice)] == [("carp", "vip", 1, "vhid")]


def test_an_image_brings_what_the_data_path_needs() -> None:
    part = Carp().appliance_image()
    assert "nftables" in part.packages
    assert set(part.kernel_modules) == {"macvlan", "nf_tables"}
