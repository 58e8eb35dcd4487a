"""The greeter alone, on a node of its own."""

from __future__ import annotations

from appliance.events import Health, Role, RoleChanged
from appliance_hello.events import Greeted, GreetingHeard
from appliance_hello.plugin import Hello


def became(role: Role, vhid: int = 1) -> RoleChanged:
    return RoleChanged(interface="lan", vhid=vhid, role=role, reason="test")


async def test_greets_a_new_master(run_service, autojump_clock):
    async with run_service(Hello, config={"greeting": "hi"}) as node:
        node.publish(became(Role.MASTER))
        await node.settled()
    assert [entry["text"] for entry in node.log("greeting")] == ["hi"]


async def test_greets_nobody_else(run_service, autojump_clock):
    async with run_service(Hello) as node:
        for role in (Role.INIT, Role.BACKUP, Role.DISABLED):
            node.publish(became(role))
        await node.settled()
    assert node.events(Greeted) == []


async def test_a_master_that_was_there_first_is_greeted_too(run_service, autojump_clock):
    # RoleChanged is retained: whoever subscribes later is told what holds now.
    async with run_service(Hello) as node:
        await node.supervisor.apply([])
        node.publish(became(Role.MASTER, vhid=7))
        await node.reload({"greeting": "late"})
        await node.settled()
    assert [(event.vhid, event.text) for event in node.events(Greeted)] == [(7, "late")]


async def test_a_changed_greeting_is_used_without_a_restart(run_service, autojump_clock):
    async with run_service(Hello, config={"greeting": "hello"}) as node:
        await node.reload({"greeting": "good evening"})
        node.publish(became(Role.MASTER))
        await node.settled()
        assert [(report.name, report.restarts) for report in node.services()] == [("hello/greeter", 0)]
    assert [event.text for event in node.events(Greeted)] == ["good evening"]


async def test_show_hello_tells_what_was_greeted(run_service, autojump_clock):
    async with run_service(Hello, node="fw1") as node:
        node.publish(became(Role.MASTER))
        await node.settled()
        shown = await node.command("show hello")
    assert shown == {
        "node": "fw1",
        "greeted": [{"interface": "lan", "vhid": 1, "text": "hello"}],
        "heard": [],
    }


async def test_the_check_warns_about_a_lonely_node_and_says_what_to_do(run_service, autojump_clock):
    async with run_service(Hello) as node:
        assert (await node.check("hello-audience")).health is Health.OK
        node.publish(became(Role.MASTER))
        await node.settled()
        finding = await node.check("hello-audience")
        assert (finding.health, "share_on" in finding.fix) == (Health.WARN, True)
        node.publish(GreetingHeard(node="fw2", text="hello"))
        assert (await node.check("hello-audience")).health is Health.OK
