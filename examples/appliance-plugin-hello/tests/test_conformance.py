"""Hello is a good citizen, with and without sharing."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from appliance.testing import Lan, LogicalInterfaces
from appliance_hello.plugin import Hello


def test_is_a_good_citizen(check_plugin):
    check_plugin(Hello)


def test_is_a_good_citizen_when_it_shares(check_plugin):
    @asynccontextmanager
    async def in_memory(settings):
        yield Lan().port(settings.node)

    tables = {"interfaces": LogicalInterfaces.of(lan="192.168.1.2/24")}
    check_plugin(lambda: Hello(in_memory), config={"share_on": "lan"}, tables=tables)


async def test_an_unknown_interface_is_refused(run_service, autojump_clock):
    with pytest.raises(AssertionError, match="'dmz' is no logical interface"):
        async with run_service(Hello, config={"share_on": "dmz"}):
            pass
