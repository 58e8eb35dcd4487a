"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys

from appliance.plugin import CrashPolicy
from appliance.testing import check_plugin
from appliance_gateways import events
from appliance_gateways.plugin import Gateways
from appliance_gateways.ruleset import fragment
from appliance_gateways.service import refill
from tests.unit.plugins.gateways.samples import EXAMPLE, Network, config_of


def test_it_is_a_good_citizen() -> None:
    check_plugin(Gateways, config=EXAMPLE, tables={"interfaces": Network()}, start=False)  # it needs a kernel


def test_it_starts_after_interfaces_and_the_ruleset_and_is_restarted_after_a_crash() -> None:
    (made,) = Gateways().appliance_services(config_of())
    assert (set(made.needs), set(made.after), set(made.provides)) == ({"interfaces"}, {"ruleset"}, {"gateways"})
    assert made.on_crash is CrashPolicy.RESTART
    assert pickle.loads(pickle.dumps(made.config)) == made.config


def test_an_unchanged_configuration_makes_an_equal_service() -> None:
    (first,), (second,) = (Gateways().appliance_services(config_of()) for _ in range(2))
    assert first == second
    (other,) = Gateways().appliance_services(config_of({**EXAMPLE, "kill_states": True}))
    assert first != other


def test_it_contributes_its_rules() -> None:
    assert Gateways().appliance_ruleset(config_of()) == fragment(config_of())


def test_every_event_and_request_of_its_own_is_declared() -> None:
    own = {kind for _, kind in inspect.getmembers(events, inspect.isclass) if kind.__module__ == events.__name__}
    assert own == set(Gateways().appliance_events())


def test_the_command_line_is_spared_the_service() -> None:
    program = "import sys, appliance_gateways.plugin; print('appliance_gateways.service' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_maps_change_in_one_transaction() -> None:
    where = {"family": "inet", "table": "appliance", "name": "gw_group_a"}
    empty = {**where, "name": "gw_group_b"}
    assert refill({"gw_group_a": (7, 9), "gw_group_b": ()}) == {
        "nftables": [
            {"flush": {"map": where}},
            {"add": {"element": {**where, "elem": [[0, 7], [1, 9]]}}},
            {"flush": {"map": empty}},
        ]
    }
