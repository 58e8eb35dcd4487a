"""Start order of services."""

from __future__ import annotations

import pytest

from appliance.errors import PluginError
from appliance.host.order import ranks
from appliance.plugin.contributions import Service


async def _run(ctx: object, started: object) -> None: ...


def _service(*, needs: str = "", provides: str = "") -> Service:
    return Service(key="x", run=_run, needs=frozenset(needs.split()), provides=frozenset(provides.split()))


def test_independent_services_share_the_first_rank_in_their_order() -> None:
    assert ranks({"b/1": _service(), "a/1": _service()}) == (("b/1", "a/1"),)


def test_a_service_comes_after_everything_that_provides_what_it_needs() -> None:
    services = {
        "carp/lan": _service(needs="addresses gate"),
        "interfaces/main": _service(provides="addresses"),
        "firewall/gate": _service(needs="addresses", provides="gate"),
    }
    assert ranks(services) == (("interfaces/main",), ("firewall/gate",), ("carp/lan",))


def test_a_capability_nobody_provides_is_not_waited_for() -> None:
    assert ranks({"a/1": _service(needs="nothing-has-this")}) == (("a/1",),)


def test_a_service_may_need_what_it_provides_itself() -> None:
    assert ranks({"a/1": _service(needs="x", provides="x")}) == (("a/1",),)


def test_a_circle_is_refused_and_names_its_members() -> None:
    with pytest.raises(PluginError, match="a/1, b/1"):
        ranks({"a/1": _service(needs="y", provides="x"), "b/1": _service(needs="x", provides="y")})
