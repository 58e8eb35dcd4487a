"""The shell's connections to a node."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.console.shell import node
from appliance.errors import ApplianceError, UnreachableError


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_result_of_a_command_is_its_data(socket: str) -> None:
    assert node.data(socket, ["show", "version"])["node"] == "fw1"


def test_a_refusal_has_the_words_and_the_status_of_the_node(socket: str) -> None:
    with pytest.raises(node.NodeFailedError) as caught:
        node.data(socket, ["show", "nothing"])
    assert (caught.value.exit_code, caught.value.message) == (2, "unknown command `show nothing`")


def test_the_watch_knows_the_node_and_how_long_a_confirmation_takes(socket: str) -> None:
    watch = node.Watch(socket)
    watch.start()
    assert watch.first.wait(20)
    assert (watch.seen.node, watch.seen.role, watch.seen.deadline) == ("fw1", "NONE", None)
    link = node.EditingLink(socket, exclusive=True, notice=print)
    eventually(lambda: len(watch.seen.editors) == 1)
    link.line("set users bob role viewer")
    link.line("commit confirmed 10")
    eventually(lambda: watch.seen.deadline is not None)
    assert watch.seen.deadline is not None
    assert 590 < watch.seen.deadline - time.monotonic() <= 600
    link.line("commit")
    eventually(lambda: watch.seen.deadline is None)
    link.line("rollback 1")
    link.line("commit")
    link.close()
    eventually(lambda: watch.seen.editors == ())
    watch.stop()


def test_a_session_hears_of_others_and_ends_when_it_is_closed(socket: str) -> None:
    heard: list[str] = []
    link = node.EditingLink(socket, exclusive=False, notice=heard.append)
    other = node.EditingLink(socket, exclusive=False, notice=print)
    assert len(other.others) == 1
    other.line('set users admin description "heard"')
    revision = other.line("commit")["revision"]
    eventually(lambda: any(f"has put revision {revision} in force" in each for each in heard))
    other.close()
    eventually(lambda: len(node.data(socket, ["configure", "status"])["sessions"]) == 1)
    link.close()
    eventually(lambda: node.data(socket, ["configure", "status"])["sessions"] == [])
    with pytest.raises(ApplianceError, match="this editing session has ended"):
        link.line("show")


def test_large_files_are_sent_in_parts(socket: str) -> None:
    link = node.EditingLink(socket, exclusive=False, notice=print)
    text = "# " + "é𝄞" * (2 * node.PART_MAX) + '\n[node]\nname = "fw1"\n'
    assert "loaded" in link.load(text, "override")["text"]
    assert link.is_changed
    link.close()


def test_where_nothing_answers_that_is_said(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    with pytest.raises(UnreachableError):
        node.EditingLink(absent, exclusive=False, notice=print)
    watch = node.Watch(absent)
    watch.start()
    assert watch.first.wait(20)
    assert watch.seen == node.Seen()
    watch.stop()
