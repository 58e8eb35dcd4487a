"""What a paired node can call, over real TLS, and how its mistakes are answered."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.config.sections import digest
from appliance.rpc import Fault, FaultCode
from appliance_xmlrpc_sync.methods import Methods, parse_offer
from appliance_xmlrpc_sync.receiver import Sender
from tests.unit.plugins.xmlrpc_sync.nodes import Pair, Start, rule, section, send, user_table

FW1 = Sender(name="fw1", fingerprint="f" * 64, address="127.0.0.1")


async def fault(paired: Pair, method: str, *params: Any, user: str = "", password: str = "") -> Fault:
    async with paired.client(user, password) as client:
        with pytest.raises(Fault) as error:
            await client.call(f"appliance.{method}", *params)
    return error.value


async def test_a_node_says_who_it_is_and_what_it_understands(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        async with paired.client() as client:
            said: Any = await client.call("appliance.host_firmware_version")
    assert (said["product"], said["node"], said["role"], said["api"]) == ("ha-appliance", "fw2", "secondary", [1, 0])
    assert said["addresses"] == {"lo": ["127.0.0.2/8"]}
    assert set(said["schemas"]) == {"interfaces", "rules", "users", "xmlrpc_sync"}
    assert abs(said["time"] - time.time()) < 10
    assert re.fullmatch("([0-9A-F]{4}:){15}[0-9A-F]{4}", said["fingerprint"])


async def test_the_difference_of_the_clocks_is_told(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        async with paired.client() as client:
            said: Any = await client.call("appliance.ping", time.time() - 100)
    assert 90 < said["skew"] < 110


async def test_sections_can_be_read_back_as_they_are_in_force(pair: Start) -> None:
    async with pair(rules={"fw2": rule("web") + rule("mine", nosync=True)}) as paired:
        await paired.introduce()
        async with paired.client() as client:
            data: Any = await client.call("appliance.backup_config_section", ["rules"])
            digests: Any = await client.call("appliance.config_digest")
    assert data == {"rules": b'{"rules":{"rule":[{"name":"web"}]}}'}
    assert digests["sections"] == {"rules": digest({"rules": {"rule": [{"name": "web"}]}})}
    assert (digests["revision"], digests["drift"]) == (1, {})


async def test_what_was_received_is_told_with_its_origin(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.push("web")
        async with paired.client() as client:
            said: Any = await client.call("appliance.sync_status")
    row = said["sections"]["rules"]
    assert (said["node"], said["phase"], row["origin"], row["drift"]) == ("fw2", "idle", "fw1", False)


async def test_nothing_else_can_be_called(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        for method in ("exec_shell", "pair", "_sender", "table"):
            assert (await fault(paired, method)).code == FaultCode.NO_METHOD


async def test_wrong_parameters_are_named(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        wrong = [
            await fault(paired, "ping", "now"),
            await fault(paired, "config_digest", 1),
            await fault(paired, "restore_config_section", {}),
            await fault(paired, "confirm_config", 7),
        ]
        assert [each.code for each in wrong] == [FaultCode.PARAMETERS] * 4
        assert (await fault(paired, "backup_config_section", ["nat"])).code == FaultCode.SECTION
        assert (await fault(paired, "backup_config_section", [7])).code == FaultCode.SECTION


async def test_the_second_factor_is_asked_for_and_a_viewer_changes_nothing(pair: Start) -> None:
    async with pair(sync=user_table(admin="sync", eye="viewer")) as paired:
        await paired.introduce()
        async with paired.client("admin", "right") as client:
            assert (await send(client, "web"))["applied"] == ["rules"]
        async with paired.client("eye", "right") as client:
            assert await client.call("appliance.config_digest")
        for method, params in (
            ("restore_config_section", (section("x"), {})),
            ("backup_config_section", (["rules"],)),
            ("confirm_config", ("t",)),
            ("rollback_config", ("t",)),
        ):
            refused = await fault(paired, method, *params, user="eye", password="right")
            assert (refused.code, "the user eye may not" in refused.message) == (FaultCode.PRIVILEGE, True)


@pytest.mark.parametrize(
    ("sections", "meta", "said"),
    [
        ({}, {"forse": True}, "no member 'forse'"),
        ({}, {"confirm_timeout": True}, "confirm_timeout has to be a number"),
        ({}, {"confirm_timeout": 0}, "1 to 120 seconds, not 0"),
        ({}, {"confirm_timeout": 1000}, "1 to 120 seconds, not 1000"),
        ({}, {"force": 1}, "force has to be a boolean"),
        ({}, {"reason": 1}, "reason a string"),
        ({}, {"base": []}, "base a struct of digests"),
        ({}, {"base": {"rules": "abc"}}, "base of 'rules' has to be 64 hexadecimal digits"),
        ({}, {"node": "fw9"}, "node is 'fw9', and the certificate is that of fw1"),
        ({"rules": b""}, {}, "'rules' has to be a struct of data and sha256"),
        ({"rules": {"data": "text", "sha256": "0" * 64}}, {}, "data of 'rules' have to be base64"),
        ({"rules": {"data": b"", "sha256": 7}}, {}, "sha256 of 'rules' has to be 64 hexadecimal digits"),
    ],
)
def test_each_mistake_in_an_offer_has_its_sentence(sections: Any, meta: Any, said: str) -> None:
    with pytest.raises(Fault, match=re.escape(said)) as error:
        parse_offer(sections, meta, FW1)
    assert error.value.code == FaultCode.PARAMETERS


def test_an_offer_without_wishes_waits_ten_seconds_and_forces_nothing() -> None:
    offer = parse_offer({"rules": {"data": b"{}", "sha256": "AB" * 32}}, {}, FW1)
    assert (offer.confirm_s, offer.force, offer.base, offer.reason) == (10.0, False, {}, "")
    assert offer.parts["rules"].sha256 == "ab" * 32
    assert len(parse_offer({}, {"reason": "x" * 1000}, FW1).reason) == 200


README = (Path(__file__).parents[4] / "plugins" / "xmlrpc-sync" / "README.md").read_text(encoding="utf-8")


def test_every_fault_is_documented_by_its_number() -> None:
    documented = {int(number) for number in re.findall(r"^\| (-\d+) \|", README, re.MULTILINE)}
    assert documented == {int(code) for code in FaultCode}


async def test_every_method_that_is_served_is_documented_and_no_other(pair: Start) -> None:
    documented = set(re.findall(r"^\| `(\w+)\(", README, re.MULTILINE)) - {"pair"}
    async with pair() as paired:
        await paired.introduce()
        for name in documented:
            refused = await fault(paired, name, 1, 2, 3)
            assert refused.code == FaultCode.PARAMETERS, name
        assert (await fault(paired, "pair", {})).code == FaultCode.NO_METHOD, "it has a port of its own"
    served = Methods.__new__(Methods).table()
    assert documented == {"rotate", "doctor", *(method.removeprefix("appliance.") for method in served)}
