"""What the service is told is compared by value: what does not change disturbs nothing."""

from __future__ import annotations

import pickle

from appliance_outbound_nat.listing import settings_of
from appliance_outbound_nat.settings import NatSettings
from tests.unit.plugins.outbound_nat.fakes import config

RULE = 'mode = "manual"\n[[rule]]\ninterface = "wan"\ntranslation = "vip:wan"\n'


def test_equal_configurations_are_equal_settings_and_others_are_not() -> None:
    assert settings_of(config(RULE)) == settings_of(config(RULE))
    assert settings_of(config(RULE)) != settings_of(config(RULE + 'description = "x"\n'))


def test_they_are_plain_values() -> None:
    settings = settings_of(config(RULE))
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert NatSettings(node="fw1", mode="disabled").rules == ()
