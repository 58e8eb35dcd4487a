"""Counters of virtual hosts become metrics."""

from __future__ import annotations

from appliance.metrics import MetricsRegistry
from appliance_carp.host import VirtualHost
from appliance_carp.ledger import Ledger
from appliance_carp.numbers import TURNS, Numbers
from tests.unit.plugins.carp.fakes import VIPS


def test_every_host_is_told_once_in_a_round_and_only_what_changed() -> None:
    registry = MetricsRegistry()
    numbers = Numbers(registry.scoped("carp"))
    hosts = {each.key: VirtualHost(each, slot, Ledger()) for slot, each in enumerate(VIPS)}
    for host in hosts.values():
        host.counters["sent"] = 7

    def told() -> set[float]:
        return {each.value for each in registry.samples() if each.labels[2] == "sent"}

    numbers.tell(hosts)
    assert told() == {7.0}
    assert len([each for each in registry.samples() if each.labels[2] == "sent"]) == 1
    for _ in range(TURNS - 1):
        numbers.tell(hosts)
    assert len([each for each in registry.samples() if each.labels[2] == "sent"]) == len(hosts)
    for host in hosts.values():
        host.counters["sent"] = 9
    for _ in range(TURNS):
        numbers.tell(hosts)
    assert told() == {9.0}


def test_a_host_that_is_gone_is_forgotten_and_begins_anew() -> None:
    registry = MetricsRegistry()
    numbers = Numbers(registry.scoped("carp"))
    host = VirtualHost(VIPS[0], 0, Ledger())
    host.counters["sent"] = 7
    numbers.tell({VIPS[0].key: host})
    for _ in range(TURNS):
        numbers.tell({})
    again = VirtualHost(VIPS[0], 0, Ledger())
    for _ in range(TURNS):
        numbers.tell({VIPS[0].key: again})
    assert {each.value for each in registry.samples()} == {0.0}
