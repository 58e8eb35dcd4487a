"""The plugin as the host sees it, and what its command prints."""

from __future__ import annotations

import json

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.events import Health
from appliance.net.rtfacts import LinkInfo
from appliance.plugin import NoProvider
from appliance.testing.conformance import check_plugin
from appliance_interfaces import checks, commands, report
from appliance_interfaces.config import InterfacesConfig, settings_of
from appliance_interfaces.plan import Actual, Owned, make_plan
from appliance_interfaces.plugin import Interfaces

TABLE = {
    "wan": {"device": "wan0", "addresses": ["192.0.2.1/24"], "routes": [{"to": "default", "via": "192.0.2.9"}]},
    "dmz": {"device": "dmz0", "addresses": ["10.0.0.1/24", "fd00::1/64"]},
}


def test_it_is_a_good_citizen() -> None:
    check_plugin(Interfaces, config=TABLE, start=False)  # it needs a kernel: see tests/netns/interfaces


def shown() -> dict[str, object]:
    settings = settings_of(InterfacesConfig.model_validate(TABLE))
    actual = Actual(links={"wan0": LinkInfo(2, "wan0", "", "02:00:00:00:00:01", 0, True, False, 1500, 0, 0, "")})
    return report.document(settings, actual, make_plan(settings, actual, Owned(), {}).troubles)


def test_people_see_a_table_and_what_is_wrong() -> None:
    assert commands.render(shown()) == "\n".join(
        [
            "NAME  DEVICE  LINK        MTU   ADDRESSES",
            "wan   wan0    no carrier  1500  192.0.2.1/24 (not in the kernel)",
            "dmz   dmz0    missing     -     10.0.0.1/24 (not in the kernel)",
            "                                fd00::1/64 (not in the kernel)",
            "route default via 192.0.2.9 through wan  (not in the kernel)",
            "the device dmz0 of dmz does not exist",
            "  Plug it in, load its driver, or name another one in [interfaces.dmz]; there are: wan0.",
        ]
    )
    assert commands.render({"interfaces": []}) == "no interfaces are configured"


class _Answers:
    """A command's or check's context whose service answers with a document, or is absent."""

    def __init__(self, answer: dict[str, object] | None, links: str = "") -> None:
        self._answer = answer
        self._links = links

    async def output(self, *argv: str) -> str:
        await trio.lowlevel.checkpoint()
        assert argv == ("ip", "-j", "-d", "link", "show")
        return self._links

    async def call(self, request: object) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        if self._answer is None:
            raise NoProvider
        return self._answer

    def read(self, path: str) -> str:
        return "0\n" if path.endswith("ip_forward") else "1\n"


def test_an_unknown_interface_and_an_absent_service_are_clear_errors() -> None:
    async def main() -> None:
        with pytest.raises(ApplianceError, match="no interface 'lan'") as caught:
            await commands.show_interfaces(_Answers(shown()), name="lan")  # type: ignore[arg-type]
        assert caught.value.hint == "Configured are: wan, dmz."
        with pytest.raises(ApplianceError, match="is not running"):
            await commands.show_interfaces(_Answers(None))  # type: ignore[arg-type]

    trio.run(main)


PORT = '[{"ifname": "wan0", "master": "br0", "linkinfo": {"info_slave_kind": "bridge"}}]'


@pytest.mark.parametrize(("ports", "stp", "health"), [(2, 0, Health.WARN), (2, 1, Health.OK), (1, 0, Health.OK)])
def test_a_bridge_of_several_ports_needs_spanning_tree(ports: int, stp: int, health: Health) -> None:
    bridge = {"ifname": "wan0", "linkinfo": {"info_kind": "bridge", "info_data": {"stp_state": stp}}}
    links = [bridge, *({"ifname": f"eth{number}", "master": "wan0"} for number in range(ports))]
    answers = _Answers(shown(), json.dumps(links))
    finding = trio.run(checks.bridges, answers)
    assert finding.health is health
    assert bool(finding.fix) is (health is not Health.OK)


def test_checks_name_what_is_wrong_and_what_to_do() -> None:
    async def main() -> None:
        there, absent = _Answers(shown(), PORT), _Answers(None)
        findings = {check.name: await check.run(there) for check in checks.CHECKS}  # type: ignore[arg-type]
        assert {name: finding.health.value for name, finding in findings.items()} == dict.fromkeys(findings, "fail")
        assert findings["interfaces-links"].what == "no link: wan (wan0)"
        assert "dmz lacks fd00::1/64; wan lacks the route to default" in findings["interfaces-addresses"].what
        assert findings["interfaces-bridges"].what == "bridged: wan (wan0) is a port of br0"
        assert "net.ipv4.ip_forward is 0" in findings["interfaces-forwarding"].what
        for check in checks.CHECKS[:4]:
            assert (await check.run(absent)).what == "the interfaces service does not run"  # type: ignore[arg-type]

    trio.run(main)
