"""The light logger of isolated services against the real one."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
from collections.abc import Iterator

import pytest
import structlog

from appliance import logs
from appliance.host.frames import LogSettings
from appliance.host.plainlog import PlainLogger
from appliance.plugin.context import Logger

TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{6}")


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def say_things(log: Logger) -> None:
    log.debug("not_shown")
    log.info("plain")
    log.warning("advert_rejected", vhid=10, why="hmac", nested={"a": (1, 2)}, who=ValueError("x"))
    log.error("own_node", node="other", text="ünï 'quoted' text", nothing=None, empty="")


def both(as_json: bool) -> tuple[list[str], list[str]]:
    real, light = io.StringIO(), io.StringIO()
    logs.configure(node="fw1", level="info", stream=real, json=as_json)
    say_things(logs.logger(service="carp/lan"))
    say_things(PlainLogger(LogSettings(logs.LEVELS["info"], as_json), node="fw1", stream=light, service="carp/lan"))
    return real.getvalue().splitlines(), light.getvalue().splitlines()


def test_json_lines_equal_those_of_the_node_but_for_the_time() -> None:
    real, light = both(as_json=True)
    assert len(light) == 3
    for ours, theirs in zip(light, real, strict=True):
        mine, other = json.loads(ours), json.loads(theirs)
        assert list(mine) == list(other)
        stamp, reference = mine.pop("timestamp"), other.pop("timestamp")
        assert re.sub(r"\d", "0", stamp) == re.sub(r"\d", "0", reference)
        assert mine == other


def test_lines_for_people_look_alike() -> None:
    real, light = both(as_json=False)
    assert [TIME.sub("time", line).split() for line in light] == [TIME.sub("time", line).split() for line in real]


def test_a_broken_stream_loses_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    stream.close()
    PlainLogger(LogSettings(10, True), node="fw1", stream=stream).error("lost")


def test_a_reader_that_stands_still_is_not_waited_for_and_told_how_much_it_has_missed() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as read, os.fdopen(writer, "w") as stream:
        fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 4096)
        log = PlainLogger(LogSettings(10, True), node="fw1", stream=stream)
        for number in range(200):  # far more than fits
            log.info("line", number=number)
        kept = read.read(1 << 16).count(b"\n")
        assert 0 < kept < 200
        log.info("line", number=200)
        lost, last = map(json.loads, read.read(1 << 16).splitlines())
        assert (lost["event"], lost["lines"], lost["level"]) == ("log_lines_lost", 200 - kept, "warning")
        assert last["number"] == 200
