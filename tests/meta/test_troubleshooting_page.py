"""The page of troubles is what the checks find, and no entry of the handbook is without one."""

from __future__ import annotations

import functools
import tomllib

from appliance.config.loader import load
from appliance.host.discovery import discover
from appliance.host.plugins import Plugins
from appliance_carp.alarms import TEXTS
from tests.meta.source import ROOT
from tests.meta.troubleshooting_page import SYMPTOMS, checks_of, name_of, page, sources

NAMES = {name_of(check) for source in sources() for check in checks_of(source)}


def test_the_page_of_troubles_is_made_from_the_checks() -> None:
    assert (ROOT / "docs" / "troubleshooting.md").read_text() == page(), (
        "python -m tests.meta.troubleshooting_page > docs/troubleshooting.md"
    )


def test_every_entry_of_the_handbook_has_a_check_or_an_alarm_that_exists() -> None:
    known = NAMES | {f"alarm {trouble}" for trouble in TEXTS} | {"appliance check"}
    assert {place for _, places in SYMPTOMS for place in places} <= known


def test_the_page_has_every_check_of_a_whole_configuration() -> None:
    text = (ROOT / "appliance.toml").read_text()
    plugins = Plugins(discover())
    plugins.enable(tomllib.loads(text))
    verify = functools.partial(plugins.verify, old=None)
    config = load(text, path="appliance.toml", tables=plugins.tables(), verify=verify)
    made = {check.name for _, check in plugins.checks(config)}
    assert made
    assert made <= NAMES
