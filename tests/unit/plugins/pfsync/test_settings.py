"""What follows from the settings alone."""

from __future__ import annotations

import pickle
from dataclasses import replace
from ipaddress import ip_address
from typing import Literal, get_args

import pytest

from appliance_pfsync.config import PfsyncConfig
from appliance_pfsync.settings import BSD_VERSIONS, GROUP_V4, GROUP_V6, Version
from tests.unit.plugins.pfsync.fakes import SETTINGS


@pytest.mark.parametrize(("family", "group"), [(4, GROUP_V4), (6, GROUP_V6)])
def test_without_peers_everybody_in_the_group_of_the_family_is_told(family: Literal[4, 6], group: str) -> None:
    settings = replace(SETTINGS, family=family)
    assert (settings.group, settings.destinations) == (group, (group,))
    assert ip_address(group).is_multicast


def test_with_peers_each_of_them_is_told_and_nobody_else() -> None:
    settings = replace(SETTINGS, peers=(ip_address("172.16.1.3"), ip_address("172.16.1.4")))
    assert settings.destinations == ("172.16.1.3", "172.16.1.4")


def test_only_the_form_of_our_own_nodes_is_native() -> None:
    assert {version for version in get_args(Version) if replace(SETTINGS, version=version).is_native} == {"native"}
    assert set(BSD_VERSIONS) == set(get_args(Version)) - {"native"}


def test_settings_reach_the_service_process_unchanged() -> None:
    assert pickle.loads(pickle.dumps(SETTINGS)) == SETTINGS
    assert replace(SETTINGS, defer=True) != SETTINGS


def test_what_is_not_said_is_what_the_table_says() -> None:
    table = PfsyncConfig.model_validate({"interface": "sync"})
    assert (SETTINGS.defer, SETTINGS.maxupd, SETTINGS.max_states) == (table.defer, table.maxupd, table.max_states)
    assert (SETTINGS.bulk_timeout_s, SETTINGS.audit_s) == (table.bulk_timeout, table.audit)
