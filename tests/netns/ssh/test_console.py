"""People log in over SSH: they are who they are, may do what they may, and are out when they are no longer wanted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.lab import Lab, Topology, netns
from appliance.lab.lab import unique_name
from appliance.lab.waiting import is_all, wait_until
from appliance_ssh.accounts import number_of
from appliance_ssh.server import STRANGERS_MAX
from tests.netns.ssh.scenes import INSIDE, OUTSIDE, PEOPLE, VIP, SshLab, Terminal, argv, make_key, settings, ssh, tables

pytestmark = [pytest.mark.netns, pytest.mark.slow]

WAIT_S = 60.0
PROMPT = r"fw1\[\w+\]>"
HOLDER = """
import socket, sys, time
held = [socket.create_connection((sys.argv[1], 22)) for _ in range(int(sys.argv[2]))]
print("held", flush=True)
time.sleep(60)
"""
Rows = list[dict[str, object]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of everybody."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, list[str]]:
    return {name: [make_key(folder, name)] for name in PEOPLE}


@pytest.fixture(scope="module")
def lab(keys: dict[str, list[str]]) -> Iterator[Lab]:
    with SshLab(Topology(name=unique_name("t")), settings=settings(keys)) as made:
        made.wait_settled("fw1")
        wait_until(lambda: all(row["listening"] for row in listening(made)), "fw1 listens", WAIT_S)
        yield made


def status(lab: Lab, node: str = "fw1") -> dict[str, Rows]:
    return lab.request(node, "show", "ssh")  # type: ignore[return-value]


def listening(lab: Lab) -> Rows:
    return status(lab)["listening"]


def users(lab: Lab) -> list[object]:
    """Who is in."""
    return [row["user"] for row in status(lab)["sessions"]]


def nobody_is_in(lab: Lab) -> None:
    wait_until(lambda: not users(lab), "all sessions have ended", WAIT_S)


def told(lab: Lab, kind: str) -> list[str]:
    """Events of a type, as people see them."""
    return lab.exec("fw1", "appliance", "events", "--type", kind, "--count", "100").stdout.splitlines()


def change(lab: Lab, before: str, after: str) -> None:
    """Edit the file of fw1, and reload it."""
    path = lab.config_path("fw1")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    lab.request("fw1", "config", "reload")


def test_a_key_opens_the_console_with_the_role_of_the_node_in_its_prompt(lab: Lab, folder: Path) -> None:
    with Terminal(lab, folder, "olga") as olga:
        olga.sees(r"fw1\[MASTER\]>")
        (session,) = status(lab)["sessions"]
        assert (session["user"], session["source"], session["interface"]) == ("olga", "192.168.1.100", "lan")
        olga.types("show ssh")
        olga.sees("olga  192.168.1.100")
        olga.types("exit")
        assert olga.is_gone()
    nobody_is_in(lab)


def test_one_command_is_run_and_its_status_is_that_of_ssh(lab: Lab, folder: Path) -> None:
    shown = ssh(lab, folder, "eve", "show", "ha")
    assert (shown.returncode, shown.stdout.startswith("fw1 is MASTER")) == (0, True), shown
    assert '"node": "fw1"' in ssh(lab, folder, "eve", "show", "version", "--json").stdout
    wrong = ssh(lab, folder, "eve", "show", "nothing")
    assert (wrong.returncode, "unknown command" in wrong.stderr) == (2, True), wrong


def test_everybody_may_do_what_the_role_allows_and_history_has_the_name(lab: Lab, folder: Path) -> None:
    refused = ssh(lab, folder, "eve", "config", "reload")
    assert "the user eve may only look; `config reload` changes something" in refused.stderr
    second = make_key(folder, "second")
    lines = f'configure\nset users eve description night\nset users eve ssh_keys "{second}"\ncommit\nexit\n'
    command = lab.argv("client", argv(folder, "eve", "eve"))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0, "the user eve may only look" in done.stderr) == (True, True), done
    command = lab.argv("client", argv(folder, "olga", "olga"))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert 'description = "night"' in lab.config_path("fw1").read_text()
    assert "olga" in ssh(lab, folder, "eve", "config", "history", key="second").stdout
    assert ssh(lab, folder, "eve", "show", "ha").returncode == 0
    change(lab, f', "{second}"]', "]")


def test_a_session_is_a_process_of_a_user_of_its_own_in_the_sandbox_of_the_node(lab: Lab, folder: Path) -> None:
    def owners() -> set[int]:
        return {os.stat(f"/proc/{pid}").st_uid for pid in netns.pids(lab.topology.namespace("fw1"))}

    with Terminal(lab, folder, "eve") as eve:
        eve.sees(PROMPT)
        assert owners() == {0, number_of("eve")}
    nobody_is_in(lab)
    wait_until(lambda: owners() == {0}, "nothing of eve is left", WAIT_S)


def test_nobody_else_gets_in(lab: Lab, folder: Path) -> None:
    before = told(lab, "LoginRefused")
    for who, key in (("eve", "olga"), ("root", "olga"), ("mallory", "olga")):
        done = ssh(lab, folder, who, "show", "ha", key=key)
        assert (done.returncode, done.stdout, "Permission denied" in done.stderr) == (255, "", True), done
    after = told(lab, "LoginRefused")
    assert len(after) - len(before) == 3
    assert "mallory" in after[-1]
    nobody_is_in(lab)


def test_there_is_a_console_and_nothing_else(lab: Lab, folder: Path) -> None:
    through = lab.exec("client", *argv(folder, "olga", "olga")[:-1], "-W", "127.0.0.1:22", INSIDE["fw1"], check=False)
    assert (through.returncode, "forwarding failed" in through.stderr) == (255, True), through
    files = lab.exec("client", *argv(folder, "olga", "olga")[:-1], "-s", INSIDE["fw1"], "sftp", check=False)
    assert (files.returncode != 0, "subsystem request failed" in files.stderr) == (True, True), files
    assert "unknown command" in ssh(lab, folder, "olga", "sh", "-c", "id").stderr
    nobody_is_in(lab)


def test_only_own_addresses_of_chosen_interfaces_answer(lab: Lab, folder: Path) -> None:
    assert "Connection refused" in ssh(lab, folder, "olga", "show", "ha", address=VIP).stderr
    for host in ("client", "server"):
        assert ssh(lab, folder, "olga", "show", "ha", address=OUTSIDE, host=host).returncode == 255
    assert ssh(lab, folder, "olga", "show", "ha", address=INSIDE["fw2"]).stdout.startswith("fw2 is BACKUP")


def test_who_is_removed_is_out_at_once_and_others_notice_nothing(
    lab: Lab, folder: Path, keys: dict[str, list[str]]
) -> None:
    with Terminal(lab, folder, "olga") as olga, Terminal(lab, folder, "bob") as bob:
        olga.sees(PROMPT)
        bob.sees(PROMPT)
        change(lab, f'[users.bob]\nrole = "operator"\nssh_keys = {keys["bob"]!r}\n', "")
        assert bob.is_gone()
        assert ssh(lab, folder, "bob", "show", "ha").returncode == 255
        olga.types("show version")
        olga.sees("kernel")
        # Another key for the same person: what the old one opened ends, too.
        make_key(folder, "new", "ecdsa")
        new = folder.joinpath("new.pub").read_text().strip()
        change(lab, repr(keys["olga"]), repr([new]))
        assert olga.is_gone()
    assert ssh(lab, folder, "olga", "show", "ha").returncode == 255
    assert ssh(lab, folder, "olga", "show", "ha", key="new").returncode == 0
    restored = tables(keys).partition("[users.olga]")
    text = lab.config_path("fw1").read_text().partition("[users.olga]")[0]
    lab.config_path("fw1").write_text(text + restored[1] + restored[2])
    lab.request("fw1", "config", "reload")
    assert ssh(lab, folder, "bob", "show", "ha").returncode == 0


def test_strangers_who_hold_connections_keep_nobody_out(lab: Lab, folder: Path) -> None:
    log = folder / "holder.log"
    holder = lab.spawn("client", [sys.executable, "-c", HOLDER, INSIDE["fw1"], str(2 * STRANGERS_MAX)], log=log)
    wait_until(lambda: "held" in log.read_text(), "the strangers are there", WAIT_S)
    with Terminal(lab, folder, "olga") as olga:
        olga.sees(PROMPT)
        assert users(lab) == ["olga"]
    os.kill(holder, signal.SIGKILL)
    nobody_is_in(lab)


def test_a_session_can_be_ended_and_one_that_dies_takes_nobody_along(lab: Lab, folder: Path) -> None:
    nobody_is_in(lab)
    with Terminal(lab, folder, "olga") as olga, Terminal(lab, folder, "bob") as bob:
        olga.sees(PROMPT)
        bob.sees(PROMPT)
        number = next(row["number"] for row in status(lab)["sessions"] if row["user"] == "bob")
        answer = ssh(lab, folder, "eve", "ssh", "disconnect", str(number))
        assert "the user eve may only look" in answer.stderr
        assert "of bob from" in lab.exec("fw1", "appliance", "ssh", "disconnect", str(number)).stdout
        assert bob.is_gone()
        monitor = next(
            pid for pid in netns.pids(lab.topology.namespace("fw1")) if "olga [priv]" in netns.command_line(pid)
        )
        os.kill(monitor, signal.SIGKILL)
        wait_until(lambda: not users(lab), "the session is over", WAIT_S)
    assert ssh(lab, folder, "bob", "show", "ha").returncode == 0


def test_who_says_nothing_for_too_long_is_let_go(lab: Lab, folder: Path) -> None:
    change(lab, 'listen = ["lan"]\n\n', 'listen = ["lan"]\nidle = 1\n\n')
    before = len(told(lab, "SessionClosed"))
    with Terminal(lab, folder, "olga") as olga:
        assert olga.is_gone()
    wait_until(lambda: len(told(lab, "SessionClosed")) == before + 1, "it was a session, and is none", WAIT_S)
    change(lab, "idle = 1\n", "")


def test_whoever_would_close_the_door_behind_himself_has_to_confirm(lab: Lab, folder: Path) -> None:
    command = lab.argv("client", argv(folder, "olga", "olga"))
    lines = "configure\ndelete ssh\ncommit\n"
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0, "ssh (tcp port 22) at lan goes" in done.stderr) == (True, True), done
    assert ssh(lab, folder, "olga", "show", "ha").returncode == 0


def test_a_bad_key_is_refused_at_its_line(lab: Lab, folder: Path, keys: dict[str, list[str]]) -> None:
    good = lab.config_path("fw1").read_text()
    path, cut = folder / "bad.toml", " ".join(keys["eve"][0].split()[:2])[:-8]
    path.write_text(good.replace(keys["eve"][0], cut))
    number = 1 + next(i for i, line in enumerate(path.read_text().splitlines()) if cut in line)
    done = lab.exec("fw1", "appliance", "check", "-c", str(path), check=False)
    assert (done.returncode, f"bad.toml:{number}:" in done.stderr) == (2, True), done
    assert "copy the line of the .pub file again" in done.stderr


def test_a_session_stays_where_it_is_when_the_addresses_move(lab: Lab, folder: Path) -> None:
    with Terminal(lab, folder, "olga") as olga:
        olga.sees(PROMPT)
        lab.exec("fw1", "appliance", "ha", "switchover", check=False, timeout_s=WAIT_S)
        lab.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 has everything", WAIT_S)
        olga.types("show ha")
        olga.sees("fw1 is BACKUP")
        assert users(lab) == ["olga"]


def test_after_a_restart_of_the_node_it_is_the_same_host(lab: Lab, folder: Path) -> None:
    before = status(lab, "fw2")["host_key"]
    lab.kill("fw2")
    wait_until(
        lambda: ssh(lab, folder, "olga", "show", "version", address=INSIDE["fw2"]).returncode == 0, "fw2 is back", 60
    )
    assert status(lab, "fw2")["host_key"] == before
