"""A push at the receiving node: all of it, confirmed, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from appliance.events import Alarm
from appliance.events.config import GetConfig
from appliance.rpc import Fault, FaultCode
from appliance.testing import eventually
from appliance_xmlrpc_sync.events import SectionsReceived
from appliance_xmlrpc_sync.kept import DIRECTORY, copies
from tests.unit.plugins.xmlrpc_sync.nodes import Pair, Rules, Start, rule, send


async def refusal(paired: Pair, items: str = "", **more: object) -> Fault:
    with pytest.raises(Fault) as error:
        await paired.restore(items, **more)
    return error.value


async def unconfirmed_s(paired: Pair) -> float | None:
    return (await paired.two.call(GetConfig())).unconfirmed_s


def drift_alarm(paired: Pair) -> str:
    """What the alarm about drift says; empty while there is none."""
    return next((each.what for each in paired.two.retained(Alarm) if each.key == "sync/drift" and each.active), "")


def state(paired: Pair) -> Path:
    return paired.folder / "fw2" / "xmlrpc_sync"


async def test_a_push_is_in_force_at_once_and_for_good_when_it_is_confirmed(pair: Start) -> None:
    async with pair(rules={"fw2": rule("old") + rule("mine", nosync=True)}) as paired:
        await paired.introduce()
        done = await paired.restore("web dns", reason="commit 7")
        assert paired.rules() == ["web", "dns", "mine"], "its own item stays"
        assert paired.two.config[Rules].device == "fw2-lan", "its local field stays"
        assert await unconfirmed_s(paired) is not None
        assert await paired.confirm(done["txn"]) == {"revision": done["revision"], "applied": ["rules"]}
        assert await unconfirmed_s(paired) is None
        (received,) = paired.two.events(SectionsReceived)
        assert (received.sender, received.sections) == ("fw1", ("rules",))


async def test_a_push_that_is_not_confirmed_goes_away_by_itself(pair: Start) -> None:
    async with pair(rules={"fw2": rule("old")}) as paired:
        await paired.introduce()
        done = await paired.restore("web", confirm_timeout=1)
        await eventually(lambda: paired.rules() == ["old"])
        with pytest.raises(Fault) as error:
            await paired.confirm(done["txn"])
        assert error.value.code == FaultCode.NO_TRANSACTION
        assert drift_alarm(paired) == ""
        await paired.push("web")
        assert paired.rules() == ["web"]


async def test_a_push_can_be_taken_back_by_its_sender(pair: Start) -> None:
    async with pair(rules={"fw2": rule("old")}) as paired:
        await paired.introduce()
        done = await paired.restore("web")
        async with paired.client() as client:
            await client.call("appliance.rollback_config", done["txn"])
            assert paired.rules() == ["old"]
            with pytest.raises(Fault, match="taken back"):
                await client.call("appliance.rollback_config", done["txn"])


async def test_a_confirmation_may_be_repeated_when_its_answer_was_lost(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        done = await paired.push("web")
        assert (await paired.confirm(done["txn"]))["applied"] == ["rules"]


async def test_a_confirmation_that_is_repeated_before_the_first_has_ended_is_confirmed_once(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        done = await paired.restore("web")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(paired.confirm, done["txn"])
        assert len(paired.two.events(SectionsReceived)) == 1
        assert paired.rules() == ["web"]


async def test_a_node_may_replace_its_own_change_at_once(pair: Start) -> None:
    async with pair(rules={"fw2": rule("old")}, sync='on_drift = "refuse"') as paired:
        await paired.introduce()
        first = await paired.restore("web", confirm_timeout=120)
        async with paired.client() as client:
            seen = await client.call("appliance.config_digest")
            assert isinstance(seen, dict)
            assert seen["unconfirmed"] == ["rules"]
        second = await paired.restore("dns", base=seen["sections"])
        assert (paired.rules(), second["kept"]) == (["dns"], []), "its own change is no drift"
        with pytest.raises(Fault) as error:
            await paired.confirm(first["txn"])
        assert error.value.code == FaultCode.NO_TRANSACTION
        await paired.confirm(second["txn"])
        assert paired.rules() == ["dns"]
        assert drift_alarm(paired) == ""


async def test_a_sender_that_was_cut_off_in_the_middle_sends_again_at_once(pair: Start) -> None:
    async with pair(rules={"fw2": rule("old")}) as paired:
        await paired.introduce()
        await paired.restore("web", confirm_timeout=120)
        with trio.fail_after(30):
            await paired.push("web")
        assert await unconfirmed_s(paired) is None
        assert paired.rules() == ["web"]


async def test_a_push_waits_for_an_operator_who_has_not_confirmed_his_change(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.restore("web", confirm_timeout=60)
        with pytest.raises(Exception, match="waits to be confirmed"):
            await paired.edit("mine")


async def test_what_a_plugin_refuses_is_refused_whole_with_its_text(pair: Start) -> None:
    async with pair(rules={"fw2": rule("old")}) as paired:
        await paired.introduce()
        bad = {"rules": {"rule": [{"name": "web"}, {"name": "bad", "port": 666}]}}
        refused = await refusal(paired, data=bad)
        assert refused.code == FaultCode.VALIDATION
        assert "port 666 is not for us" in refused.message
        refused = await refusal(paired, data={"rules": {"rule": [{"name": "x", "port": "80"}]}})
        assert refused.code == FaultCode.VALIDATION
        assert paired.rules() == ["old"]
        await paired.push("web")


async def test_a_section_with_more_than_its_own_tables_changes_nothing_else(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        stray = {"rules": {"rule": []}, "node": {"name": "evil", "role": "primary"}}
        refused = await refusal(paired, data=stray)
        assert refused.code == FaultCode.DIGEST, "what is read back would not be what was sent"
        assert paired.two.config.node.name == "fw2"


async def test_the_same_again_needs_no_transaction_of_the_core(pair: Start) -> None:
    async with pair(rules={"fw2": rule("web")}) as paired:
        await paired.introduce()
        done = await paired.push("web")
        assert done["revision"] == 1
        async with paired.client() as client:
            again = await send(client, "web")
            assert await client.call("appliance.rollback_config", again["txn"]) == {"revision": 1}


async def test_a_change_here_in_a_received_section_is_warned_about_and_kept_when_overwritten(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.push("web")
        await paired.edit("web mine")
        await eventually(lambda: "changed here and not on fw1, which will overwrite it: rules" in drift_alarm(paired))
        assert [entry["sections"] for entry in paired.two.log("sync_drift")] == [["rules"]]
        async with paired.client() as client:
            digests = await client.call("appliance.config_digest")
            assert isinstance(digests, dict)
            assert isinstance(digests["drift"], dict)
            assert set(digests["drift"]) == {"rules"}
        done = await paired.push("web dns", base=digests["sections"])
        assert done["kept"] == copies(state(paired))
        content = json.loads((state(paired) / DIRECTORY / done["kept"][0]).read_text())
        assert content["data"] == {"rules": {"rule": [{"name": "web"}, {"name": "mine"}]}}
        await eventually(lambda: drift_alarm(paired) == "")


async def test_a_change_here_that_is_undone_ends_the_warning(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.push("web")
        await paired.edit("mine")
        await eventually(lambda: drift_alarm(paired))
        await paired.edit("web")
        await eventually(lambda: drift_alarm(paired) == "")


async def test_a_change_that_the_sender_has_not_seen_is_kept(pair: Start) -> None:
    async with pair(rules={"fw2": rule("old")}) as paired:
        await paired.introduce()
        done = await paired.push("web", base={"rules": "0" * 64})
        assert len(done["kept"]) == 1


async def test_the_policy_refuse_leaves_the_change_in_force_until_the_sender_insists(pair: Start) -> None:
    async with pair(sync='on_drift = "refuse"') as paired:
        await paired.introduce()
        await paired.push("web")
        await paired.edit("mine")
        await eventually(lambda: "it is refused there until this is undone" in drift_alarm(paired))
        refused = await refusal(paired, "web dns")
        assert (refused.code, paired.rules()) == (FaultCode.DRIFT, ["mine"])
        await paired.push("web dns", force=True)
        assert paired.rules() == ["web", "dns"]


async def test_a_primary_refuses_with_an_alarm(pair: Start) -> None:
    async with pair(role="primary") as paired:
        await paired.introduce()
        refused = await refusal(paired, "web")
        assert refused.code == FaultCode.LOOP
        assert "fw2 is a primary too" in refused.message
        (alarm,) = [each for each in paired.two.retained(Alarm) if each.key == "sync/loop"]
        assert (alarm.active, alarm.what) == (True, refused.message)


async def test_a_node_that_sends_to_its_sender_refuses_the_circle(pair: Start) -> None:
    async with pair(role="primary", sync='peers = ["127.0.0.1"]\npolicy = "manual"') as paired:
        await paired.introduce()
        refused = await refusal(paired, "web")
        assert refused.code == FaultCode.LOOP
        assert "fw2 sends its configuration to 127.0.0.1, which is fw1" in refused.message


async def test_origins_survive_a_restart_and_a_change_while_the_node_was_down_is_a_drift(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.push("web")
    async with pair(rules={"fw2": rule("mine")}) as paired:
        await eventually(lambda: "not on fw1" in drift_alarm(paired))


async def test_a_damaged_ledger_costs_only_the_knowledge_about_drift(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.push("web")
        ledger = state(paired) / "received.json"
    ledger.write_bytes(b"{")
    async with pair(rules={"fw2": rule("mine")}) as paired:
        await paired.listening()
        (entry,) = paired.two.log("sync_ledger_unusable")
        assert entry["path"] == str(ledger)
        await paired.push("web")
        assert paired.rules() == ["web"]


async def test_without_room_for_the_copy_nothing_is_overwritten(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        await paired.push("web")
        await paired.edit("mine")
        (state(paired) / DIRECTORY).write_text("a file where the directory should be")
        refused = await refusal(paired, "web", base={"rules": "0" * 64})
        assert refused.code == FaultCode.INTERNAL
        assert "no copy of what would be overwritten" in refused.message
        assert paired.rules() == ["mine"]


async def test_a_sender_that_hangs_up_in_the_middle_leaves_no_transaction(pair: Start) -> None:
    async with pair() as paired:
        await paired.introduce()
        with trio.move_on_after(0.01):
            await paired.restore("web", confirm_timeout=1)

        async def push() -> int:
            try:
                await paired.push("dns")
            except Fault as fault:
                return fault.code
            return 0

        with trio.fail_after(10):
            while code := await push():
                assert code == FaultCode.BUSY
                await trio.sleep(0.1)
        assert paired.rules() == ["dns"]
