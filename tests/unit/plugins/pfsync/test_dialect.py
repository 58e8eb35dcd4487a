"""Whatever version is configured, the replicator gets the same calls."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from appliance_pfsync.bsd.peering import BsdPeering
from appliance_pfsync.dialect import Dialect, make
from appliance_pfsync.native.keys import Key, Keyring
from appliance_pfsync.native.peering import Peering
from appliance_pfsync.settings import BSD_VERSIONS, Version
from tests.unit.plugins.pfsync.fakes import SETTINGS, flows

ALL: tuple[Version, ...] = ("native", *BSD_VERSIONS)
KEYS = Keyring((Key("k", bytes(range(32))),))


def made(version: Version) -> Dialect:
    return make(replace(SETTINGS, version=version), KEYS if version == "native" else None)


METHODS = {name: member for name, member in inspect.getmembers(Dialect, inspect.isfunction) if name[0] != "_"}
FACTS = ("states", "is_owner", "counters", "peers", "bulk_targets")


def test_the_version_chooses_who_speaks() -> None:
    assert isinstance(made("native"), Peering)
    assert all(isinstance(made(version), BsdPeering) for version in BSD_VERSIONS)


@pytest.mark.parametrize("version", ALL)
def test_every_call_of_the_contract_is_there_with_its_parameters(version: Version) -> None:
    dialect = made(version)
    assert len(METHODS) > 10
    for name, contract in METHODS.items():
        own = list(inspect.signature(getattr(dialect, name)).parameters)
        assert own == list(inspect.signature(contract).parameters)[1:], name
    for name in FACTS:
        assert hasattr(dialect, name), name


@pytest.mark.parametrize("version", ALL)
def test_a_dialect_can_be_driven_before_anybody_is_there(version: Version) -> None:
    dialect = made(version)
    dialect.states, dialect.is_owner = 3, False
    assert (dialect.states, dialect.is_owner) == (3, False)
    assert dialect.deadline() <= 100.0, "it wants to begin at once"
    dialect.tick(100.0)
    dialect.receive(b"", "172.16.1.3", 100.0)
    dialect.receive(bytes(range(256)), "172.16.1.3", 100.0)
    dialect.offer(flows(1, 2), 100.0)
    dialect.injected("nobody", 1, 100.0)
    dialect.lost_events(100.0)
    dialect.request_bulk(100.0)
    dialect.room_for_bulk("nobody")
    dialect.offer_bulk("nobody", flows(3), 100.0)
    dialect.end_bulk("nobody", 100.0)
    dialect.request_audit(100.0)
    dialect.audit_snapshot(np.zeros(0, np.uint64), 100.0)
    dialect.offer_repair("nobody", flows(4), 100.0)
    dialect.clear(100.0)
    dialect.set_keyring(KEYS if version == "native" else None, 100.0)
    dialect.tick(101.0)
    assert all(isinstance(datagram, bytes) and len(to) < 64 for to, datagram in dialect.outgoing())
    assert dialect.deadline() > 100.0
    assert list(dialect.peers) == []
    assert all(isinstance(count, int) for count in dialect.counters.values())


@pytest.mark.parametrize("version", ALL)
def test_two_nodes_do_not_begin_alike(version: Version) -> None:
    """Sessions and creator ids are drawn from a secure source."""
    one, other = made(version), made(version)
    for each in (one, other):
        each.tick(100.0)
        each.offer(flows(1), 100.0)
        each.tick(101.0)
    assert list(one.outgoing()) != list(other.outgoing())
