"""Logs are JSON for machines, lines for people, and never a reason to fail."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
import structlog

from appliance.errors import UsageError
from appliance.logs import configure, logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def untouched_configuration() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def test_a_stream_that_is_no_terminal_gets_one_json_object_per_line() -> None:
    stream = io.StringIO()
    early = logger(service="carp/lan")
    configure(node="fw1", level="info", stream=stream)
    early.debug("hidden")
    early.warning("advert_rejected", vhid=10, why="hmac", peer=IPv4Address("192.0.2.1"))
    logger(node="fw2").info("started")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "advert_rejected",
        "level": "warning",
        "node": "fw1",
        "peer": "192.0.2.1",
        "service": "carp/lan",
        "vhid": 10,
        "why": "hmac",
    }
    assert second["node"] == "fw2"


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    configure(node="fw1", level="debug", stream=stream)
    logger(service="carp/lan").debug("advert_rejected", vhid=10)
    line = stream.getvalue()
    assert "advert_rejected" in line
    assert not line.startswith("{")


def test_the_form_can_be_chosen() -> None:
    stream = io.StringIO()
    configure(node="fw1", level="info", stream=stream, json=False)
    logger().info("started", n=1)
    assert stream.getvalue().rstrip().endswith("n=1 node=fw1")


def test_exceptions_are_part_of_the_entry() -> None:
    stream = io.StringIO()
    configure(node="fw1", level="info", stream=stream)
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        logger().error("service_crashed", exc_info=True)
    (line,) = stream.getvalue().splitlines()
    assert "ZeroDivisionError: by zero" in json.loads(line)["exception"]


def test_an_unknown_level_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown log level 'loud'"):
        configure(node="fw1", level="loud")


def test_a_stream_that_fails_does_not_take_the_service_down() -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails, which is the point
    closed = io.StringIO()
    for stream in (full, closed):
        configure(node="fw1", level="info", stream=stream)
        if stream is closed:
            closed.close()
        logger().info("started")
    with pytest.raises(OSError, match="No space left"):
        full.close()  # what the service would have died of


def test_unconfigured_logs_warn_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logger().info("hidden")
    logger().warning("shown")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "shown"


def test_importing_the_module_does_not_import_structlog() -> None:
    code = "import appliance.logs, sys; sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
