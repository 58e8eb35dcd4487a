"""Log entries go to the node whose tasks wrote them, and logging is as before afterwards."""

from __future__ import annotations

import structlog
import trio

from appliance.logs import logger
from appliance.testing.capture import Entries, capturing, logging_to


def test_entries_go_where_the_task_belongs_also_from_tasks_it_started() -> None:
    a, b = Entries(), Entries()

    async def say(name: str) -> None:
        await trio.lowlevel.checkpoint()
        logger(service=name).info("said", name=name)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            with logging_to(a):
                nursery.start_soon(say, "a")
            with logging_to(b):
                nursery.start_soon(say, "b")

    with capturing():
        trio.run(main)
    assert [(entry["name"], entry["service"], entry["level"]) for entry in [*a, *b]] == [
        ("a", "a", "info"),
        ("b", "b", "info"),
    ]


def test_every_level_is_kept() -> None:
    entries = Entries()
    with capturing(), logging_to(entries):
        logger().debug("fine_grained")
        logger().error("bad")
    assert [entry["level"] for entry in entries] == ["debug", "error"]


def test_the_configuration_comes_back_when_the_last_capture_ends() -> None:
    before = structlog.get_config()
    with capturing():
        with capturing():
            assert structlog.get_config()["processors"] != before["processors"]
        assert structlog.get_config()["processors"] != before["processors"]
    assert structlog.get_config()["processors"] == before["processors"]
